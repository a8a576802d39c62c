"""Chat templates of models that reason."""

from template_conversations import source

EXAONE_DEEP = source("exaone-deep")
EXAONE4 = source("exaone-4")
GEMMA4 = source("gemma-4")
GLM_4_7 = source("glm-4.7-flash")
GPT_OSS = source("gpt-oss")
GRANITE = source("granite-3.3")
LFM2_5 = source("lfm2.5-8b-a1b")
NEMOTRON = source("nemotron-super-49b")
NEMOTRON_3 = source("nemotron-3-nano")
NEMOTRON_NANO_2 = source("nemotron-nano-v2")
QWEN3 = source("qwen3")
QWEN3_5 = source("qwen3.5")
SEED_OSS = source("seed-oss")
