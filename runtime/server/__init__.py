"""The HTTP server: models behind OpenAI's and Anthropic's APIs, and a page to chat in."""
