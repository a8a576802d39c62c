"""subbyte runs GGUF language models on a CPU, straight from their quantized blocks."""
