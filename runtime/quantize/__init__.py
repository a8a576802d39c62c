"""Writing quantized files: file types, mixtures, recipes, encoders."""
