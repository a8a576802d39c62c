"""Chat templates of models that reason."""

from template_conversations import source

EXAONE_DEEP = source("exaone-deep")
EXAONE4 = source("exaone-4")
NEMOTRON = source("nemotron-super-49b")
QWEN3 = source("qwen3")
