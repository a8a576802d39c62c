"""The least shapes of synthetic models that every block type fits: dense, a mixture of experts, with states."""

from subbyte.runtime.synthetic.shapes import DeltaNetShape, ExpertShape, LayerShape, ShortConvShape, VocabularySize
from subbyte.runtime.synthetic.write import Shape

LAYER = LayerShape(4, 2, 512)
WORDS = VocabularySize("gpt-2", 300, 2, 42)
TINY = Shape("tiny", "llama", (LAYER, LAYER), 256, 64, WORDS, 512, 1e4, 1e-5, tied=True)
SPARSE = LayerShape(4, 2, 0, ExpertShape(4, 2, 256))
TINY_MOE = Shape("tiny-moe", "qwen3moe", (SPARSE, SPARSE), 256, 64, WORDS, 512, 1e4, 1e-5)
DELTA_NET, SHORT_CONV = (
    LayerShape(0, 0, 512, state=DeltaNetShape(2, 4, 64)),
    LayerShape(0, 0, 512, state=ShortConvShape(3)),
)
TINY_QWEN35 = Shape("tiny-qwen35", "qwen35", (DELTA_NET, LAYER), 256, 64, WORDS, 512, 1e4, 1e-6, tied=True, n_rot=16)
TINY_LFM2 = Shape("tiny-lfm2", "lfm2", (SHORT_CONV, LAYER), 256, 64, WORDS, 512, 1e4, 1e-5, tied=True)
