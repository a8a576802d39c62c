"""Chat templates of models that reason."""

from template_conversations import source

EXAONE_DEEP = source("exaone-deep")
EXAONE4 = source("exaone-4")
GPT_OSS = source("gpt-oss")
GRANITE = source("granite-3.3")
NEMOTRON = source("nemotron-super-49b")
QWEN3 = source("qwen3")
SEED_OSS = source("seed-oss")
