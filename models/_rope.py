"""Rotary position embedding (Su et al., "RoFormer", 2021), and the ways of stretching it to longer contexts.

Pairs of a head's values are turned by an angle that grows with the position, the first pairs fast, the last slowly. To
reach further than a model was trained for, frequencies are lowered: all alike (linear: position interpolation, Chen et
al., 2023), only those of slow pairs (yarn: Peng et al., 2023), or each divided by a factor of its own from the file:
rope_freqs (Llama 3.1), rope_factors_short and rope_factors_long (longrope: Ding et al., 2024).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import FormatError, UnsupportedError
from subbyte.models._metadata import HINT, Metadata
from subbyte.models._weights import Vector, Weights

KINDS = ("none", "linear", "yarn", "longrope")
MIN_FREQ_BASE = 2.0  # with 1, all pairs turn alike, and yarn divides by the logarithm
MAX_FACTOR = 2.0**20  # how many times a context may be stretched
MAX_ATTN_FACTOR = 100.0
FAST_TURNS, SLOW_TURNS = 32.0, 1.0  # yarn: pairs that turn so often over the original context stay, or are slowed
MAX_TURNS = 2.0**20


class Angles(NamedTuple):
    """A pair turns by pos * frequency radians; frequencies are float64 [n_rot / 2].

    long: the frequencies in contexts of more than n_ctx_short positions. magnitude: multiplies cosines and sines.
    """

    short: NDArray[np.float64]
    long: NDArray[np.float64]
    n_ctx_short: int
    magnitude: float


@dataclass(frozen=True)
class Rope:
    """What a file says of its rotary embedding.

    n_rot: how many values of a head are turned. factor: how many times the context was stretched, from n_ctx_orig.
    yarn: fast_turns, slow_turns: of the pairs at the ends of its ramp (beta_fast, beta_slow, heeded as in transformers,
    in llama.cpp by mistral3 alone); extrapolation: how much of their frequency the fast pairs keep (ext_factor), 0: as
    linear; sharpness: what queries and keys are multiplied by where a file says it (attn_factor, which llama.cpp passes
    over) in place of yarn's own number, of which log_multiplier takes so much back (mscale_all_dim).
    """

    n_rot: int
    freq_base: float
    kind: str = "none"
    factor: float = 1.0
    n_ctx_orig: int = 1
    attn_factor: float = 1.0
    fast_turns: float = FAST_TURNS
    slow_turns: float = SLOW_TURNS
    extrapolation: float = 1.0
    sharpness: float | None = None
    log_multiplier: float = 0.0

    def angles(self, w: Weights | None = None, *, must_have_factors: bool = False) -> Angles:
        """The frequencies, divided by the factors among the tensors w, rope_freqs if it must have some.

        Raises FormatError for a factor that is not a positive finite number, and when factors are missing.
        """
        plain = self.frequencies()
        short = long = plain
        if w is not None and ("rope_freqs" in w or must_have_factors):
            short = long = plain / self.factors(w, "rope_freqs")
        elif w is not None and ("rope_factors_short" in w or "rope_factors_long" in w or self.kind == "longrope"):
            # Files of phi3 have these tensors, but don't name the kind.
            short, long = (plain / self.factors(w, f"rope_factors_{which}") for which in ("short", "long"))
        return Angles(short, long, self.n_ctx_orig, self.magnitude)

    def factors(self, w: Weights, name: str) -> Vector:
        """A tensor of factors, checked."""
        factors = w.vector(name, self.n_rot // 2)
        bad = factors[~(np.isfinite(factors) & (factors > 0))]
        if bad.size:
            raise FormatError(f"tensor {name}.weight holds {bad[0]}; positive finite numbers are allowed: {HINT}")
        return factors

    def frequencies(self) -> NDArray[np.float64]:
        """Radians per position of each pair before factors of the file's tensors, float64 [n_rot / 2]."""
        pair = np.arange(self.n_rot // 2, dtype=np.float64)
        theta = self.freq_base ** (-2.0 * pair / self.n_rot)
        kept = self.kept(pair) if self.kind == "yarn" else 0.0
        return theta * (kept + (1.0 - kept) / self.factor)

    def kept(self, pair: NDArray[np.float64]) -> NDArray[np.float64]:
        """yarn: how much of a pair's frequency stays: all of the fast ones, 0 of the slow ones, a ramp between them."""

        def pair_turning(turns: float) -> float:
            """Which pair turns so often over the original context."""
            turns_of_first = self.n_ctx_orig / (2 * math.pi)
            return self.n_rot * math.log(turns_of_first / turns) / (2 * math.log(self.freq_base))

        fast = max(0, math.floor(pair_turning(self.fast_turns)))
        slow = min(self.n_rot - 1, math.ceil(pair_turning(self.slow_turns)))
        return self.extrapolation * (1.0 - np.clip((pair - fast) / max(0.001, slow - fast), 0.0, 1.0))

    @property
    def magnitude(self) -> float:
        """yarn makes attention sharper, so that it does not blur over the longer context."""
        if self.sharpness is not None:
            return self.attn_factor * self.sharpness
        if self.kind != "yarn" or self.extrapolation == 0.0:
            return self.attn_factor
        stretch = 0.1 * math.log(max(1.0, self.factor))
        return self.attn_factor * (1.0 + stretch) / (1.0 + self.log_multiplier * stretch)


def read_rope(meta: Metadata, a: str, head_dim: int, n_ctx_train: int, *, partial: bool) -> Rope:
    """The rope of architecture prefix a. partial: whether it may turn only the first part of a head."""
    n_rot = meta.u32(a + "rope.dimension_count", head_dim, lo=2 if partial else head_dim, hi=head_dim)
    if n_rot % 2:
        raise FormatError(f"{a}rope.dimension_count = {n_rot} is odd; rope rotates pairs: {HINT}")
    kind = meta.str(a + "rope.scaling.type", "linear")
    if kind not in KINDS:
        raise UnsupportedError(f"{a}rope.scaling.type = {kind[:40]!r}; supported are {', '.join(KINDS)}")
    key = a + ("rope.scaling.factor" if a + "rope.scaling.factor" in meta else "rope.scale_linear")  # the older name
    factor = 1.0 if kind == "none" else meta.f32(key, 1.0, lo=1 / MAX_FACTOR, hi=MAX_FACTOR)
    scaling = a + "rope.scaling."
    extrapolation = meta.f32(scaling + "yarn_ext_factor", -1.0, lo=-1.0, hi=1.0)  # below 0: the kind's own
    if kind != "yarn" and extrapolation > 0.0:
        raise UnsupportedError(
            f"{scaling}yarn_ext_factor = {extrapolation:g} with {scaling}type = {kind!r}; only yarn has it"
        )
    attn_factor, yarn_attn_factor = (
        meta.f32(scaling + name, 1.0, lo=1 / MAX_ATTN_FACTOR, hi=MAX_ATTN_FACTOR)
        for name in ("attn_factor", "yarn_attn_factor")
    )
    return Rope(
        n_rot=n_rot,
        freq_base=meta.f32(a + "rope.freq_base", 10000.0, lo=MIN_FREQ_BASE),
        kind=kind,
        factor=factor,
        n_ctx_orig=meta.u32(scaling + "original_context_length", n_ctx_train, lo=1),
        attn_factor=attn_factor,
        fast_turns=meta.f32(scaling + "yarn_beta_fast", FAST_TURNS, lo=1 / MAX_TURNS, hi=MAX_TURNS),
        slow_turns=meta.f32(scaling + "yarn_beta_slow", SLOW_TURNS, lo=1 / MAX_TURNS, hi=MAX_TURNS),
        extrapolation=extrapolation if extrapolation >= 0.0 else 1.0,
        sharpness=yarn_attn_factor if scaling + "yarn_attn_factor" in meta else None,
    )
