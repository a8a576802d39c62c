"""The command line: commands, terminal output, exit codes. No maths, no file format; only subbyte.runtime is called."""
