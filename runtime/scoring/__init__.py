"""Scoring: how probable a model finds texts, and which of several it finds the most probable."""
