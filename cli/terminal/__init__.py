"""What every command shows and reads: streams, tables, progress, Ctrl-C."""
