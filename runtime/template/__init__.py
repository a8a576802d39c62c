"""Chat templates: rendered by jinja2 in a sandboxed process of their own."""
