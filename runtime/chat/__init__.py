"""Conversations: messages, reasoning switched on and off, presets, the KV cache kept from turn to turn."""
