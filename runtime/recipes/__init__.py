"""Which block type each matrix of a model takes: file types, recipes, and recipes read out of files."""
