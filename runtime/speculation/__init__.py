"""Speculative decoding: guesses of the next tokens, and how many of them are worth to be computed."""
