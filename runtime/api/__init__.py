"""Wire formats of OpenAI's and Anthropic's APIs, without HTTP: requests to the library's calls, answers to JSON."""
