"""Model files written anew, their tensors byte for byte as they were: split, merged, with other metadata."""
