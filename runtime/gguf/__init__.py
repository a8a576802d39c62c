"""The GGUF file: mapped shards, checked reading of header, metadata and tensor table."""
