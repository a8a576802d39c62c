"""Batch inference from the command line: lines of JSON in, lines of JSON out."""
