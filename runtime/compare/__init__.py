"""Divergence of models from a base, by token, layer and tensor."""
