"""The interactive chat: its loop, its input line with completion, and the line below."""
