"""Sessions: what a sequence of tokens remembers, and what extends it."""
