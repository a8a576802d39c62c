"""What is in a GGUF file (summary, heatmap of block types) and what differs between two."""
