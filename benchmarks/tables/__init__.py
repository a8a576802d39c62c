"""Results of the benchmarks: records kept in files, and tables in the pages of docs/."""
