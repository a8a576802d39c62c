"""The HTTP server: OpenAI's and Anthropic's APIs, and a page to chat in, over the schedulers of one or more models."""
