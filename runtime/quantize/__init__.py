"""Quantized files: planned by a recipe, encoded, written."""
