"""Files, tokenizers, templates, sessions, sampling and evaluation: everything around the forward pass."""

import logging

logging.getLogger("subbyte").addHandler(logging.NullHandler())  # else Python writes warnings to stderr by itself
