"""Conversations kept as they go: one SQLite file in the user's data folder, listed, searched, resumed, exported."""
