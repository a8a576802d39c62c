"""A model with zero heads and zero columns added: wider rows, the same function.

    python benchmarks/widen.py MODEL OUT [--width 768]

SmolLM2-135M's rows have 576 weights, and blocks of K-quants and IQ types hold 256, so that few of its matrices can take
such a type. With rows of 768 all can. What is added is zero: columns of the embeddings and of all that reads the
residual stream, rows of all that writes to it, and heads; so the stream's new part stays zero. A norm then divides by
the mean square over 768 values, 576/768 of what it was over 576: its epsilon is scaled by that ratio and its weight by
the ratio's root. For files of the architecture `llama`; what is written is F32.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
from numpy.typing import NDArray
from rewritten import rewrite

import subbyte as sb

Floats = NDArray[np.float32]
F32 = gguf.GGMLQuantizationType.F32
NORMS = ("attn_norm", "ffn_norm", "output_norm")
# Of each matrix, what its rows and its columns stand for; a dash: for what is not widened.
MATRICES = {
    "token_embd": "- embd", "output": "- embd", "attn_q": "q embd", "attn_k": "kv embd", "attn_v": "kv embd",
    "attn_output": "embd q", "ffn_gate": "- embd", "ffn_up": "- embd", "ffn_down": "embd -",
}  # fmt: skip


class Sizes(NamedTuple):
    """Of the residual stream, and of all query heads and all KV heads together."""

    embd: int
    q: int
    kv: int


class Widening:
    """From a model's sizes to those with rows of `width` and as many heads as these hold, grouped as they were."""

    def __init__(self, model: sb.Model, width: int) -> None:
        meta, c = model.metadata, model.config
        if c.architecture != "llama":
            raise ValueError(f"{model.path} is of architecture {c.architecture}; only llama can be widened")
        n_head = meta.u32("llama.attention.head_count")
        n_head_kv = meta.u32("llama.attention.head_count_kv", n_head)
        gqa, d = n_head // n_head_kv, c.head_dim
        least = max(c.n_embd, n_head * d)
        if width < least or width % (gqa * d):
            raise ValueError(f"a width of {width}; it must be a multiple of {gqa * d} and at least {least}")
        self.old = Sizes(c.n_embd, n_head * d, n_head_kv * d)
        self.new = Sizes(width, width, width // gqa)
        self.ratio = c.n_embd / width
        self.metadata = {
            "llama.embedding_length": width,
            "llama.attention.head_count": width // d,
            "llama.attention.head_count_kv": width // d // gqa,
            "llama.attention.layer_norm_rms_epsilon": c.eps * self.ratio,
            "general.name": f"{model.info.name}, rows of {width}",
        }

    def change(self, name: str, shape: list[int], values: Floats) -> tuple[Floats, gguf.GGMLQuantizationType]:
        """One tensor with its zeros, as `rewrite` asks for it."""
        kind = name.removesuffix(".weight").split(".")[-1]
        if kind in NORMS:
            return np.pad(values * np.float32(self.ratio**0.5), (0, self.new.embd - self.old.embd)), F32
        if kind not in MATRICES:
            raise ValueError(f"tensor {name}: not known how to widen it")
        more = [getattr(self.new, axis) - getattr(self.old, axis) if axis != "-" else 0
                for axis in MATRICES[kind].split()]  # fmt: skip
        return np.pad(values, [(0, n) for n in more]), F32


def widen(source: str | Path, target: Path, width: int) -> None:
    """source: a path or a built-in name. Raises ValueError for a model that can't be widened so."""
    with sb.load(source) as model:
        widening, path = Widening(model, width), model.path
    rewrite(path, target, widening.change, widening.metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=768)
    a = parser.parse_args()
    widen(a.model, a.out, a.width)


if __name__ == "__main__":
    main()
