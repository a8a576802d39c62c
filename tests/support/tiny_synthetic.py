"""The least shapes of synthetic models that every block type fits: a dense one and a mixture of experts."""

from subbyte.runtime.synthetic.shapes import ExpertShape, LayerShape, VocabularySize
from subbyte.runtime.synthetic.write import Shape

LAYER = LayerShape(4, 2, 512)
WORDS = VocabularySize("gpt-2", 300, 2, 42)
TINY = Shape("tiny", "llama", (LAYER, LAYER), 256, 64, WORDS, 512, 1e4, 1e-5, tied=True)
SPARSE = LayerShape(4, 2, 0, ExpertShape(4, 2, 256))
TINY_MOE = Shape("tiny-moe", "qwen3moe", (SPARSE, SPARSE), 256, 64, WORDS, 512, 1e4, 1e-5)
