"""Constrained decoding: grammars over a vocabulary, as masks of the tokens that may come next; by llguidance."""
