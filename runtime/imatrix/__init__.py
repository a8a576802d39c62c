"""Importance matrices: collected as llama-imatrix does, read and written in its formats."""
