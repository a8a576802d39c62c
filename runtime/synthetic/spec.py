"""Names of random models, SHAPE:TYPE[:LAYERS], and the tensors they stand for."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from subbyte.kernels import FORMATS
from subbyte.runtime.quantize.published_mixes import MIXES, TensorContext
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
        shapes = {"output_norm": (s.n_embd,), "token_embd": (s.vocabulary.n_tokens, s.n_embd)}
        if not s.tied:
            shapes["output"] = shapes["token_embd"]
        if s.rope_factor is not None:
            shapes["rope_freqs"] = (s.head_dim // 2,)
        for i, layer in enumerate(s.layers):
            shapes |= {f"blk.{i}.{name}": shape for name, shape in _block(s, layer).items()}
        met: Counter[str] = Counter()
        return {f"{name}.weight": (shape, self._type(name, shape, met)) for name, shape in shapes.items()}

    def n_bytes(self) -> int:
        """Of all tensors with the gaps between them: the size of the file but for its header."""
        return sum(padded(tensor_bytes(*tensor)) for tensor in self.tensors().values())

    def _type(self, name: str, shape: tuple[int, ...], met: Counter[str]) -> str:
        """The type of the next tensor, which is counted. Those of attention are counted as the layers that have it."""
        if len(shape) == 1:
            return "F32"
        s, kind = self.shape, name.rpartition(".")[2]
        n_attention = sum(layer.n_head > 0 for layer in s.layers)
        count = n_attention if kind.startswith("attn") else len(s.layers)
        met[kind] += 1
        return MIXES[self.mix](TensorContext(kind, met[kind] - 1, count, shape[1], s.gqa, s.tied, s.is_70b))


def _block(s: Shape, layer: LayerShape) -> dict[str, tuple[int, ...]]:
    """Names and numpy shapes of a layer's tensors."""
    n, q, kv = s.n_embd, layer.n_head * s.head_dim, layer.n_head_kv * s.head_dim
    shapes: dict[str, tuple[int, ...]] = {}
    if q:
        shapes |= {"attn_norm": (n,), "attn_q": (q, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q)}
        if s.architecture == "qwen3":
            shapes |= {"attn_q_norm": (s.head_dim,), "attn_k_norm": (s.head_dim,)}
    if layer.n_ff:
        f = layer.n_ff
        shapes |= {"ffn_norm": (n,), "ffn_gate": (f, n), "ffn_up": (f, n), "ffn_down": (n, f)}
    return shapes


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
