"""Models by name: built-in ones, files of the Hugging Face hub, and where they are cached."""
