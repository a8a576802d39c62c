"""The interactive chat: prompt, slash commands, streamed answers."""
