"""Tokens of answers as they are shown: by surprise, with their alternatives, beside those of another model."""
