"""Logits of a model for one text however it is cut, and how far two of them are apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_models import N_VOCAB

import subbyte as sb
from subbyte.runtime.types import Activations

TOKENS = [int(t) for t in np.random.default_rng(7).integers(0, N_VOCAB, 50)]


def logits(
    path: Path,
    tokens: list[int],
    steps: list[int] | None = None,
    *,
    activations: Activations = "int8",
    isa: str | None = None,
    threads: int = 2,
) -> np.ndarray:
    """All logits of tokens over an F32 cache, evaluated in pieces of the given lengths (default: in one go)."""
    with sb.load(path, threads=threads, isa=isa) as model, model.session(len(tokens), "f32", activations) as session:
        out, at = [], 0
        for n in steps or [len(tokens)]:
            out.append(session.eval(tokens[at : at + n], "all"))
            at += n
        return np.concatenate(out)


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of each row of log-probabilities."""
    rows: np.ndarray = (np.exp(p) * (p - q)).sum(-1)
    return rows


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted: np.ndarray = x.astype(np.float64) - x.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted
