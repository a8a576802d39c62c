"""A model with zero columns added, and zero heads where these are the rows: wider rows, the same function.

    python benchmarks/widen.py MODEL OUT [--width 768]

SmolLM2-135M's rows have 576 weights, Gemma-3-270m's 640, and blocks of K-quants and IQ types hold 256, so that few of
their matrices can take such a type. With rows of 768 all can. What is added is zero: columns of the embeddings and of
all that reads the residual stream, and rows of all that writes to it; of `llama` also heads, whose dimensions together
are a row. So the stream's new part stays zero. A norm over it then divides by the mean square over 768 values, 576/768
of what it was over 576: its epsilon is scaled by that ratio and its weight by the ratio's root. Gemma multiplies
embeddings by the root of their length, and they are its output, too: embeddings and the last norm are scaled against
it; its norms of heads get the smaller epsilon, too, which changes logits by less than 1e-3. What is written is F32.
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
NORMS = ("attn_norm", "ffn_norm", "output_norm", "post_attention_norm", "post_ffw_norm")
NORMS_OF_HEADS = ("attn_q_norm", "attn_k_norm")
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
    """From a model's sizes to those with rows of `width`."""

    def __init__(self, model: sb.Model, width: int) -> None:
        c, a = model.config, model.config.architecture
        if a not in ("llama", "gemma3"):
            raise ValueError(f"{model.path} is of architecture {a}; only llama and gemma3 can be widened")
        n_head = model.metadata.u32(f"{a}.attention.head_count")
        n_head_kv = model.metadata.u32(f"{a}.attention.head_count_kv", n_head)
        d, gqa = c.head_dim, n_head // n_head_kv
        self.old = Sizes(c.n_embd, n_head * d, n_head_kv * d)
        unit, least = (gqa * d, max(c.n_embd, n_head * d)) if a == "llama" else (1, c.n_embd)
        if width < least or width % unit:
            raise ValueError(f"a width of {width}; it must be a multiple of {unit} and at least {least}")
        self.new = Sizes(width, width, width // gqa) if a == "llama" else Sizes(width, self.old.q, self.old.kv)
        ratio = c.n_embd / width
        self.factors = dict.fromkeys(NORMS, ratio**0.5)
        if a == "gemma3":
            self.factors |= {"token_embd": ratio**0.5, "output_norm": 1.0}
        self.metadata = {
            f"{a}.embedding_length": width,
            f"{a}.attention.head_count": self.new.q // d,
            f"{a}.attention.head_count_kv": self.new.kv // d,
            f"{a}.attention.layer_norm_rms_epsilon": c.eps * ratio,
            "general.name": f"{model.info.name}, rows of {width}",
        }

    def change(self, name: str, shape: list[int], values: Floats) -> tuple[Floats, gguf.GGMLQuantizationType]:
        """One tensor with its zeros, as `rewrite` asks for it."""
        kind = name.removesuffix(".weight").split(".")[-1]
        if kind in NORMS_OF_HEADS:
            return values, F32
        axes = "embd" if kind in NORMS else MATRICES.get(kind)
        if axes is None:
            raise ValueError(f"tensor {name}: not known how to widen it")
        more = [0 if axis == "-" else getattr(self.new, axis) - getattr(self.old, axis) for axis in axes.split()]
        return np.pad(values * np.float32(self.factors.get(kind, 1.0)), [(0, n) for n in more]), F32


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
