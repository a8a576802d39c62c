"""The mixture of block types that loses least for its size, found by measuring what each tensor costs."""
