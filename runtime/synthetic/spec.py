"""Names of random models, SHAPE:TYPE[:LAYERS], and the tensors they stand for."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from subbyte.kernels import FORMATS
from subbyte.runtime.recipes.matrices import is_matrix, locate
from subbyte.runtime.recipes.published_mixes import MIXES
from subbyte.runtime.synthetic.layer_tensors import Shapes, embeddings_of_layers, layer_tensors
from subbyte.runtime.synthetic.shapes import SHAPES, LayerShape, Shape
from subbyte.runtime.text import did_you_mean

ALIGNMENT = 32  # of tensors in a GGUF file


@dataclass(frozen=True)
class Synthetic:
    """A random model: a shape, and the type or mixture of types that its matrices take."""

    shape: Shape
    mix: str

    @property
    def description(self) -> str:
        """For people: `qwen3-14b's shape, Q4_K, 8 layers`."""
        n = len(self.shape.layers)
        return f"{self.shape.name}'s shape, {self.mix}, {n} layer{'s' if n > 1 else ''}"

    def tensors(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Of each tensor the numpy shape (rows first) and the block type, in the order of the file."""
        s = self.shape
        norm = "token_embd_norm.weight" if s.architecture == "lfm2" else "output_norm.weight"
        shapes: Shapes = {norm: (s.n_embd,), "token_embd.weight": (s.vocabulary.n_tokens, s.n_embd)}
        if not s.tied:
            shapes["output.weight"] = shapes["token_embd.weight"]
        if (rope_freqs := s.rope_freqs()) is not None:
            shapes["rope_freqs.weight"] = rope_freqs.shape
        if s.n_embd_layer:
            shapes |= embeddings_of_layers(s)
        for i, layer in enumerate(s.layers):
            shapes |= {f"blk.{i}.{name}": shape for name, shape in layer_tensors(s, layer).items()}
        matrices = [(name, shape[-1]) for name, shape in shapes.items() if is_matrix(name, shape[::-1])]
        types = {of.name: MIXES[self.mix](of.context) for of in locate(matrices, s.traits, imatrix=True)}
        kept = {"per_layer_model_proj.weight": "BF16"}  # as it was trained
        return {name: (shape, types.get(name) or kept.get(name, "F32")) for name, shape in shapes.items()}

    def n_bytes(self) -> int:
        """Of all tensors with the gaps between them: the size of the file but for its header."""
        return sum(padded(tensor_bytes(*tensor)) for tensor in self.tensors().values())


def parse(text: str) -> Synthetic:
    """The model that SHAPE:TYPE[:LAYERS] names; ValueError tells what is allowed."""
    name, _, rest = text.partition(":")
    mix, _, layers = rest.partition(":")
    if name.lower() not in SHAPES:
        raise ValueError(
            f"no shape {name!r}{did_you_mean(name, SHAPES)}; SHAPE:TYPE[:LAYERS] has one of {', '.join(SHAPES)}"
        )
    mixture = next((known for known in MIXES if known.lower() == mix.lower()), None)
    if mixture is None:
        raise ValueError(
            f"no type {mix!r}{did_you_mean(mix, MIXES)}; SHAPE:TYPE[:LAYERS] has a block type "
            f"({', '.join(FORMATS)}) or a mixture such as Q4_K_M, DynamicGate-IQ2_XS or card-q4_k"
        )
    shape = SHAPES[name.lower()]
    if layers or rest.count(":"):
        most = len(shape.layers)
        if not (layers.isascii() and layers.isdigit() and len(layers) < 5 and 1 <= int(layers) <= most):
            raise ValueError(f"{layers!r} layers; {shape.name} has 1 to {most}")
        shape = cut(shape, int(layers))
    return Synthetic(shape, mixture)


def cut(shape: Shape, n_layer: int) -> Shape:
    """The shape with some of its layers, in their order: one of each kind first, then of each kind its share."""
    total, met = Counter(shape.layers), Counter[LayerShape]()
    rank = {}
    for i, layer in enumerate(shape.layers):
        rank[i] = met[layer] / total[layer], i
        met[layer] += 1
    kept = sorted(sorted(rank, key=rank.__getitem__)[:n_layer])
    return replace(shape, layers=tuple(shape.layers[i] for i in kept))


def padded(n_bytes: int) -> int:
    """Up to where the next tensor may begin."""
    return -n_bytes % ALIGNMENT + n_bytes


def tensor_bytes(shape: tuple[int, ...], format: str) -> int:
    """Bytes of a tensor of that numpy shape."""
    f = FORMATS[format]
    n_weights = int(np.prod(shape, dtype=np.int64))
    return n_weights // f.block_size * f.block_bytes
