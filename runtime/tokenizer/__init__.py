"""Text to token ids and back: byte-level BPE and SentencePiece vocabularies, special tokens, streaming decoder."""
