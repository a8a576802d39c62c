"""Engines in processes of their own: subbyte, llama.cpp by its bindings, llama-bench programs; and their protocol."""
