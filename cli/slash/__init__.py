"""The slash commands of the chat: their table, and a file for each subject."""
