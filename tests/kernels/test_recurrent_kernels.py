"""The kernels of recurrent layers against float64 numpy: linear attention over a state, and the short convolution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from subbyte.kernels import _testing as kernels
from subbyte.kernels import isas

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

COLUMNS = 32  # values of a state that lie side by side
U = 2.0**-24
SIZES = [*itertools.product((1, 16, 64, 128), (1, 5, 16, 64, 96, 128))]
LENGTHS = (1, 2, 7, 33)
pytestmark = pytest.mark.thorough
each_isa = pytest.mark.parametrize("isa", isas())


def aligned(values: Floats) -> Floats:
    """A copy that lies at a multiple of 64 bytes."""
    raw = np.zeros(values.size + 16, np.float32)
    start = -raw.ctypes.data % 64 // 4
    raw[start : start + values.size] = values
    return raw[start : start + values.size]


def laid_out(state: Doubles) -> Floats:
    """[n_keys, n_values] as the kernels have it: blocks of COLUMNS values, zeros behind the last."""
    n_keys, n_values = state.shape
    padded = np.zeros((n_keys, -(-n_values // COLUMNS) * COLUMNS), np.float32)
    padded[:, :n_values] = state
    return aligned(padded.reshape(n_keys, -1, COLUMNS).transpose(1, 0, 2).ravel())


def plain(state: Floats, n_keys: int, n_values: int) -> Floats:
    """A state of the kernels as [n_keys, n_values]; nothing lies behind its values."""
    columns: Floats = state.reshape(-1, n_keys, COLUMNS).transpose(1, 0, 2).reshape(n_keys, -1)
    assert not columns[:, n_values:].any()
    return columns[:, :n_values]


class Tokens:
    """Random inputs of one head, with keys of about length 1, and a state that it begins with."""

    def __init__(self, n: int, n_keys: int, n_values: int) -> None:
        rng = np.random.default_rng(n * 1000003 + n_keys * 1009 + n_values)
        self.q, self.k = (rng.normal(size=(n, n_keys)).astype(np.float32) for _ in range(2))
        self.k /= np.float32(n_keys**0.5)
        self.v = rng.normal(size=(n, n_values)).astype(np.float32)
        self.decay = rng.uniform(0.2, 1, n).astype(np.float32)
        self.rate = rng.uniform(0, 1, n).astype(np.float32)
        self.state = rng.normal(size=(n_keys, n_values)).astype(np.float32)

    def run(self, isa: str, delta: bool, cuts: list[int] | None = None) -> tuple[Floats, Floats]:
        """Results [n, n_values] and the state at the end, in pieces that end at `cuts`."""
        state, pieces = laid_out(self.state.astype(np.float64)), []
        for rows in (slice(*ends) for ends in itertools.pairwise([0, *(cuts or []), len(self.q)])):
            out = np.empty_like(self.v[rows])
            kernels.linear_attention(
                isa, self.q[rows], self.k[rows], self.v[rows], self.decay[rows], self.rate[rows], delta, state, out
            )
            pieces.append(out)
        return np.concatenate(pieces), plain(state, self.k.shape[1], self.v.shape[1])

    def exact(self, delta: bool) -> tuple[Doubles, Doubles]:
        """The same in float64, by the formula."""
        s, out = self.state.astype(np.float64), []
        for q, k, v, decay, rate in zip(self.q, self.k, self.v, self.decay, self.rate, strict=True):
            q, k = q.astype(np.float64), k.astype(np.float64)
            s = decay * s
            s = s + np.outer(k, rate * (v - s.T @ k if delta else v))
            out.append(s.T @ q)
        return np.array(out), s


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "plain"])
@each_isa
def test_linear_attention_is_the_recurrence(isa: str, delta: bool) -> None:
    for (n_keys, n_values), n in itertools.product(SIZES, LENGTHS):
        tokens = Tokens(n, n_keys, n_values)
        for actual, exact in zip(tokens.run(isa, delta), tokens.exact(delta), strict=True):
            bound = 64 * U * (n_keys**0.5 + 1) * max(1.0, np.abs(exact).max())
            assert np.abs(actual - exact).max() < bound, (n_keys, n_values, n)


@pytest.mark.parametrize("delta", [True, False], ids=["delta", "plain"])
@each_isa
def test_pieces_give_the_same_bits(isa: str, delta: bool) -> None:
    for n_keys, n_values in SIZES:
        tokens = Tokens(33, n_keys, n_values)
        whole = tokens.run(isa, delta)
        for cuts in ([1], [32], [7, 8, 20], list(range(1, 33))):
            for one, other in zip(tokens.run(isa, delta, cuts), whole, strict=True):
                np.testing.assert_array_equal(one, other)


@each_isa
def test_a_state_that_forgets_all_is_that_of_the_last_token(isa: str) -> None:
    tokens = Tokens(7, 16, 48)
    tokens.decay[:] = 0
    out, state = tokens.run(isa, delta=True)
    np.testing.assert_array_equal(state, np.outer(tokens.k[-1], tokens.rate[-1] * tokens.v[-1]).astype(np.float32))
    assert np.isfinite(out).all()


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "none"])
@each_isa
def test_convolution(isa: str, bias: bool) -> None:
    rng = np.random.default_rng(3)
    for width, n in itertools.product((1, 2, 3, 4, 16), (1, 5, 8, 31, 64, 100)):
        rows = rng.normal(size=(width, n)).astype(np.float32)
        weight = rng.normal(size=(width, n + 3)).astype(np.float32)  # of channels of which n are convolved
        added = rng.normal(size=n).astype(np.float32) if bias else None
        out = np.empty(n, np.float32)
        kernels.convolve(isa, rows, weight, added, out)
        products = rows.astype(np.float64) * weight[:, :n]
        exact = products.sum(0) + (0 if added is None else added)
        assert (np.abs(out - exact) <= (width + 1) * U * (np.abs(products).sum(0) + 4)).all()


@each_isa
def test_gate(isa: str) -> None:
    gate = np.linspace(-80, 80, 4099, dtype=np.float32)
    x, out = np.random.default_rng(5).normal(size=gate.size).astype(np.float32), np.empty_like(gate)
    kernels.sigmoid_mul(isa, gate, x, out)
    np.testing.assert_allclose(out, x / (1 + np.exp(-gate.astype(np.float64))), rtol=1e-6)
