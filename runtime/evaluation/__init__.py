"""Perplexity and what its measurements stand on: corpus, statistics, the tapped forward pass."""
