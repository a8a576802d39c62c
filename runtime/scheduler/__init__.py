"""Continuous batching: many answers at once, joined in every step."""
