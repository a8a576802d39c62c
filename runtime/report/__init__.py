"""The model-card table: perplexity, divergence, size and speed of several files."""
