"""The least shape of a synthetic model that every block type fits."""

from subbyte.runtime.synthetic.shapes import LayerShape, VocabularySize
from subbyte.runtime.synthetic.write import Shape

LAYER = LayerShape(4, 2, 512)
TINY = Shape("tiny", "llama", (LAYER, LAYER), 256, 64, VocabularySize("gpt-2", 300, 2, 42), 512, 1e4, 1e-5, tied=True)
