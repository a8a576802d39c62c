"""Files, tokenizers, templates, sessions, sampling and evaluation: everything around the forward pass."""
