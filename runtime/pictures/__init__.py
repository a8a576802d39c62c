"""Pictures for a model card, drawn by matplotlib: files by size, and what each tensor costs."""
