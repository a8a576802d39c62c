"""The text of an answer on a terminal: words wrapped, Markdown laid out as it comes, nothing in a pipe changed."""
