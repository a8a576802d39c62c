"""Model files whose values make no sense: refused in one clear line when loaded, or when their output is not finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from number_cases import MATRICES, NORMS, damaged
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import NumericError
from subbyte.kernels import Engine, Plan, Weight

NAN, INF = math.nan, math.inf
EPS, BASE = "attention.layer_norm_rms_epsilon", "rope.freq_base"
TOKENS = list(range(40))


@pytest.mark.parametrize("name", ["extra.weight", "blk.2.attn_q.weight"])
def test_a_tensor_of_no_layer_is_left_out_with_a_warning(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path / "m.gguf", tensors={name: np.zeros(64, np.float32)})
    with sb.load(tmp_path / "m.gguf") as model, model.session(8) as session:
        session.eval(TOKENS[:8])
    assert caplog.messages == [f"{tmp_path / 'm.gguf'}: 1 tensors are not used, such as {name!r}"]


def test_a_context_length_of_4_billion_costs_nothing(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", context_length=2**32 - 1)
    with sb.load(tmp_path / "m.gguf") as model, model.session() as session:
        assert session.n_ctx <= 2**31 - 1
        session.eval(TOKENS)


@pytest.mark.parametrize("window", [0, 1, 2, 2**32 - 1])
def test_any_sliding_window_runs(window: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "gemma3", **{"attention.sliding_window": window})
    with sb.load(tmp_path / "m.gguf") as model, model.session(64, "f32") as session:
        whole = session.eval(TOKENS, "all")
        session.rewind(0)
        single = np.stack([session.eval([t]) for t in TOKENS])
    np.testing.assert_array_equal(single, whole)


# ---- damage that only shows in the numbers ----


@pytest.mark.parametrize("name", MATRICES + NORMS)
@pytest.mark.thorough
def test_numbers_that_are_not_finite_are_an_error(name: str, tmp_path: Path) -> None:
    kinds = ["F32"] if name in NORMS else ["F32", "Q8_0", "Q4_1"]
    for kind, bad in [(k, b) for k in kinds for b in (NAN, INF, -INF)]:
        path = tmp_path / "m.gguf"
        write_model(path, types=[kind], tensors={f"{name}.weight": damaged(name, kind, bad, slice(3, 4))})
        for activations in ("int8", "int8x2", "float32"):
            with sb.load(path) as model, model.session(64, activations=activations) as session:
                what = f"{name} {kind} {bad} {activations}"
                for tokens in ([3], TOKENS[:20]):
                    with pytest.raises(NumericError):
                        session.eval(tokens)
                        pytest.fail(what)
                    with pytest.raises(NumericError):
                        session.logprobs(tokens, [5] * len(tokens))
                        pytest.fail(what)
                    assert session.n_past == 0


def test_a_session_is_as_good_as_new_after_numbers_that_are_not_finite(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={"token_embd.weight": damaged_token(200)})
    good = TOKENS[:37]
    for n in (1, 5, 37):
        with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
            with pytest.raises(NumericError):
                session.eval([*good, 200, *good[:10]], "all")
            session.eval([*good, 200], "none")  # nothing is looked at, nothing said
            with pytest.raises(NumericError):
                session.eval([1])
            session.rewind(0)
            again = session.eval(good[:n])
        with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
            assert np.array_equal(session.eval(good[:n]), again)


def damaged_token(token: int) -> np.ndarray:
    matrix = np.random.default_rng(1).standard_normal((N_VOCAB, 64)).astype(np.float32)
    matrix[token] = NAN
    return matrix


def test_every_way_to_a_result_refuses_damaged_weights(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={"output_norm.weight": np.full(64, NAN, np.float32)})
    text = "the thing and another " * 20
    with sb.load(tmp_path / "m.gguf") as model:
        with pytest.raises(NumericError):
            model.generate(text, max_tokens=3).run()
        with pytest.raises(NumericError):
            model.score(text)
        with pytest.raises(NumericError):
            sb.perplexity(model, text, n_ctx=8)
        with model.chat(max_tokens=3) as chat:
            for _ in range(2):
                with pytest.raises(NumericError):
                    chat.send("hello")


def test_an_infinite_logit_is_not_softened(tmp_path: Path) -> None:
    damaged = np.random.default_rng(1).standard_normal((N_VOCAB, 64)).astype(np.float32)
    damaged[7] = 3e38 * np.sign(damaged[7])
    path = tmp_path / "m.gguf"
    write_model(path, "gemma3", final_logit_softcapping=30.0, tensors={"output.weight": damaged})
    with sb.load(path) as model, model.session(64) as session:
        with pytest.raises(NumericError):
            session.eval(TOKENS)
        with pytest.raises(NumericError):
            session.logprobs(TOKENS, [5] * 40)


def test_a_zero_norm_is_allowed(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={"output_norm.weight": np.zeros(64, np.float32)})
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        assert not session.eval(TOKENS).any()


ROUTED = {  # tensors of a mixture that every token meets
    "qwen2moe": ["ffn_gate_inp", "ffn_gate_inp_shexp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_up_shexp",
                 "ffn_down_shexp"],
    "bailingmoe2": ["ffn_gate_inp", "exp_probs_b.bias"],
    "gpt-oss": ["ffn_gate_inp", "ffn_gate_inp.bias", "ffn_down_exps.bias"],
}  # fmt: skip
DAMAGED = [(arch, name, bad) for arch, names in ROUTED.items() for name in names for bad in (NAN, INF, -INF)]
DAMAGED += [("gpt-oss", f"ffn_{name}_exps.bias", NAN) for name in ("gate", "up")]  # whose activation clamps infinities


@pytest.mark.parametrize(("arch", "name", "bad"), DAMAGED)
def test_experts_that_are_not_finite_are_an_error(arch: str, name: str, bad: float, tmp_path: Path) -> None:
    full = f"blk.1.{name}" if name.endswith(".bias") else f"blk.1.{name}.weight"
    damaged = write_model(tmp_path / "m.gguf", arch)[f"blk.1.{name}"].copy()
    damaged[..., -1] = bad
    write_model(tmp_path / "m.gguf", arch, tensors={full: damaged})
    with sb.load(tmp_path / "m.gguf") as model, model.session(64) as session:
        for tokens in ([3], TOKENS):
            with pytest.raises(NumericError):
                session.eval(tokens, "all")


# ---- a plan that C could not run ----


def weight(rows: int, cols: int) -> Weight:
    return Weight(np.zeros(4 * rows * cols, np.uint8), "F32", rows, cols)


def plan(n_rope: int = 2) -> Plan:
    return Plan([8, 8, 4, 4, 8, 16], [(np.ones(n_rope), np.ones(n_rope), 8, 1.0, False)])


HEADS = {
    "n_head": 2, "n_head_kv": 1, "head_dim": 4, "rope": -1, "window": 0, "scale": 1.0, "q_norm": None, "k_norm": None,
    "head_eps": 0.0, "softcap": 0.0, "norm_after_rope": False, "sinks": None, "v_norm": None, "keys_of": -1,
    "rope_start": 0, "one_row": False,
    "temperature_scale": 0.0, "temperature_length": 0,
}  # fmt: skip


def linear(dst: list[int], *matrices: Any, norm: Any = None, add: bool = False) -> None:
    plan().add("linear", [0], dst, matrices, norm=norm, eps=1e-5, accumulate=add, scale=1.0)


def glu(dst: int, gate: Weight, up: Weight, activation: str = "silu") -> None:
    plan().add("glu", [0], [dst], [(gate, None), (up, None)], activation=activation, column=0)


def gated(reads: list[int], *matrices: Weight, column: int = 0) -> None:
    plan().add("glu", reads, [2], [(matrix, None) for matrix in matrices], activation="gelu", column=column)


def norm(dst: int, weights: Any, n_groups: int = 1) -> None:
    plan().add("norm", [0], [dst], norm=weights, accumulate=False, n_groups=n_groups, scale=1.0)


def attention(reads: list[int], dst: int, n_rope: int = 2, **wrong: Any) -> None:
    plan(n_rope).add("attention", reads, [dst], **{**HEADS, **wrong})


def keys_of(of: int, reads: tuple[int, ...] = (0,), **wrong: Any) -> None:
    """An attention that reads what operation `of` left: embeddings, or an attention of one kind or another."""
    p = plan()
    p.add("embed", [], [0], [(weight(5, 8), None)], scale=1.0)
    p.add("attention", [0, 2, 3], [1], **HEADS)
    p.add("attention", [0], [1], **{**HEADS, "keys_of": 1})
    p.add("attention", [0, 2], [1], **{**HEADS, "one_row": True})
    p.add("attention", reads, [1], **{**HEADS, "keys_of": of, **wrong})


def head_linear(*matrices: Any, reads: Any = (0,), writes: Any = (1,), norm: Any = None, **wrong: Any) -> None:
    """Two heads of 4 values, of which 3 become 3 and one is passed."""
    right = {"n_head": 2, "first_row": 0, "n_rows": 3}
    plan().add("head_linear", reads, writes, matrices or [(weight(6, 3), None)], norm=norm, **{**right, **wrong})


ROUTER = {
    "n_expert": 4, "n_used": 2, "gating": "softmax", "n_group": 1, "n_group_used": 1, "renormalize": True,
    "weights_scale": 1.0, "selection_bias": None, "activation": "silu", "fused": False, "gate_scale": None,
    "up_scale": None,
}  # fmt: skip
X, Z, HIDDEN, ROUTING, SHARED, GATE, OUT = range(7)
EXPERTS, NETWORK = (
    (weight(4 * 6, 8), None),
    (weight(3, 8), None),
)  # gate or up, of 4 with 6 hidden values and of the shared
DOWN, DOWN_SHARED = (weight(4 * 8, 6), None), (weight(8, 3), None)


def routed_plan() -> Plan:
    return Plan([8, 4, 2 * 6, 2 * 2 + 1, 3, 1, 8])


def experts_up(
    *matrices: Any, reads: Any = (X, Z), writes: Any = (HIDDEN, ROUTING), norm: Any = None, **wrong: Any
) -> None:
    routed_plan().add("experts_up", reads, writes, matrices or [EXPERTS] * 2, norm=norm, **{**ROUTER, **wrong})


def experts_down(*matrices: Any, reads: Any = (HIDDEN, ROUTING), writes: Any = (OUT,), **wrong: Any) -> None:
    right = {"n_expert": 4, "n_used": 2, "accumulate": True, "scale": 1.0, "down_scale": None}
    routed_plan().add("experts_down", reads, writes, matrices or [DOWN], **{**right, **wrong})


# Two key heads and four value heads of 3 values; two heads of Mamba-2 of 4 values, one group of 5 keys.
DELTA: dict[str, Any] = {
    "n_key_heads": 2, "n_heads": 4, "head_dim": 3, "order": "tiled", "width": 2, "head_eps": 1e-5,
    "convolution": np.ones(2 * 24), "a": np.ones(4), "dt": np.ones(4), "q_norm": np.ones(3), "k_norm": np.ones(3),
    "head_norm": np.ones(3),
}  # fmt: skip
MAMBA: dict[str, Any] = {
    "n_heads": 2, "head_dim": 4, "n_groups": 1, "n_keys": 5, "width": 2, "group_eps": 1e-5,
    "convolution": np.ones(2 * 18), "bias": None, "a": np.ones(2), "dt": np.ones(2), "skip": np.ones(2),
    "group_norm": None,
}  # fmt: skip
HUGE = (0, -1, 3, 2**31, 2**62, 2**63 - 1)


def delta_net(reads: Any = (0, 1, 2, 3), widths: Any = (24, 12, 4, 4, 12), **wrong: Any) -> None:
    Plan(widths).add("delta_net", reads, [4], **{**DELTA, **wrong})


def mamba2(widths: Any = (28, 8), **wrong: Any) -> None:
    Plan(widths).add("mamba2", [0], [1], **{**MAMBA, **wrong})


def short_conv(widths: Any = (12, 4), width: int = 3, n: int = 12) -> None:
    Plan(widths).add("short_conv", [0], [1], width=width, convolution=np.ones(n))


def split(widths: Any = (12, 8, 4), n_heads: int = 2, writes: Any = (1, 2)) -> None:
    Plan(widths).add("split", [0], writes, n_heads=n_heads)


def gate(widths: Any = (4, 4), **wrong: Any) -> None:
    Plan(widths).add("gate", [0], [1], **wrong)


def test_plans_of_right_shapes_are_not_refused() -> None:
    delta_net()
    mamba2()
    mamba2(bias=np.ones(18), group_norm=np.ones(8))
    short_conv()
    split()
    gate()
    experts_up(norm=np.ones(8), selection_bias=np.ones(4), gate_scale=np.ones(4), up_scale=np.ones(4))
    experts_up(EXPERTS, activation="relu", n_group=2, n_group_used=1)
    experts_up(*[(weight(4 * 12, 8), None)] * 2, fused=True)
    experts_up(EXPERTS, EXPERTS, NETWORK, NETWORK, reads=(X, Z, GATE), writes=(HIDDEN, ROUTING, SHARED))
    experts_down(down_scale=np.ones(4))
    experts_down(DOWN, DOWN_SHARED, reads=(HIDDEN, ROUTING, SHARED))
    linear([1], (weight(8, 8), np.ones(8)), norm=np.ones(8))
    glu(1, weight(8, 8), weight(8, 8))
    gated([0, 5], weight(4, 8), column=12)
    norm(1, np.ones(8), n_groups=4)
    head_linear()
    head_linear(writes=[2], n_rows=1, first_row=2)
    head_linear((weight(4, 4), None), writes=[2], n_rows=2)
    attention([0, 2], 1, rope=0, n_rope=1, rope_start=2, k_norm=np.ones(2), one_row=True)
    attention([0, 2, 3], 1, rope=0, q_norm=np.ones(4), sinks=np.ones(2), temperature_scale=0.1, temperature_length=8)
    attention([0, 2], 1, v_norm=np.ones(4))
    keys_of(1)
    ended = plan()
    ended.add("lm_head", [0], [], [(weight(5, 8), None)], softcap=0.0, scale=1.0)
    with pytest.raises(ValueError, match="the plan has its head"):
        ended.add("embed", [], [0], [(weight(5, 8), None)], scale=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Plan([0]),
        lambda: Plan([2**20 + 1]),
        lambda: Plan([2**40]),
        lambda: plan(0),
        lambda: Plan([8], [(np.ones(2), np.ones(3), 8, 1.0, False)]),
        lambda: plan().add("convolution", [0], [1]),
        lambda: plan().add("embed", [], [0], [(weight(5, 4), None)], scale=1.0),
        lambda: plan().add("embed", [], [6], [(weight(5, 8), None)], scale=1.0),
        lambda: plan().add("embed", [], [0], [(None, None)], scale=1.0),
        lambda: plan().add("embed", [], [0], [(weight(5, 8), None)]),
        lambda: plan().add("embed", [], [0], [(weight(5, 8), None)], scale=1.0, window=3),
        lambda: linear([0], (weight(8, 8), None), add=True),
        lambda: linear([1, 1], (weight(8, 8), None), (weight(8, 8), None)),
        lambda: linear([1], (None, None)),
        lambda: linear([-1], (weight(8, 8), None)),
        lambda: linear([1], (weight(8, 8), None), norm=np.ones(7)),
        lambda: linear([1], (weight(8, 8), np.ones(7))),
        lambda: linear([]),
        lambda: glu(1, weight(8, 8), weight(16, 8)),
        lambda: glu(0, weight(8, 8), weight(8, 8)),
        lambda: gated([0], weight(8, 8)),
        lambda: gated([0], weight(4, 8), weight(4, 8), weight(4, 8)),
        lambda: gated([0, 5], weight(4, 8), weight(4, 8)),
        lambda: gated([0, 3, 5]),
        lambda: gated([0, 3, 5], weight(4, 8)),
        *[lambda n=n: gated([0, 5], weight(4, 8), column=n) for n in (-1, 13, 2**62)],
        lambda: glu(1, weight(8, 8), weight(8, 8), "tanh"),
        lambda: norm(1, None),
        lambda: norm(2, np.ones(8)),
        *[lambda n=n: norm(1, np.ones(8), n_groups=n) for n in (0, -1, 3, 9)],
        lambda: attention([0, 2, 3], 0),
        lambda: attention([0, 2, 2], 1),
        lambda: attention([0, 2, 3], 1, n_head=3),
        lambda: attention([0, 2, 3], 1, head_dim=0),
        lambda: attention([0, 2, 3], 1, head_dim=2**31 - 1),
        lambda: attention([0, 2, 3], 1, window=-1),
        lambda: attention([0, 2, 3], 1, rope=1),
        lambda: attention([0, 2, 3], 1, n_rope=3, rope=0),
        lambda: attention([0, 2, 3], 1, q_norm=np.ones(5)),
        lambda: attention([0, 2, 3], 1, sinks=np.ones(1)),
        lambda: attention([0, 2, 3], 1, v_norm=np.ones(3)),
        lambda: attention([0], 1),
        lambda: attention([], 1),
        lambda: attention([0, 2, 3, 4], 1),
        lambda: attention([0, 5], 1),
        *[lambda n=n: keys_of(n) for n in (0, 2, 3, 4, 2**31, 2**63 - 1)],
        lambda: keys_of(1, reads=(0, 2, 3)),
        lambda: keys_of(1, n_head_kv=2),
        lambda: keys_of(1, n_head=1, head_dim=8),
        lambda: attention([0, 2, 3], 1, temperature_scale=0.1),
        lambda: attention([0], 1),
        lambda: attention([0, 4], 1),
        lambda: attention([0, 2], 1, rope=0, rope_start=1),
        *[lambda n=n: attention([0, 2], 1, rope=0, n_rope=1, rope_start=n) for n in (-1, 3, 5, 2**62)],
        *[lambda n=n: head_linear(n_head=n) for n in (0, -1, 3, 8, 2**62)],
        *[lambda n=n: head_linear(n_rows=n) for n in (0, -1, 4, 2**63 - 1)],
        *[lambda n=n: head_linear(first_row=n) for n in (-1, 1, 2**63 - 1)],
        lambda: head_linear(reads=[0, 4]),
        lambda: head_linear(writes=[3]),
        lambda: head_linear(writes=[5]),
        lambda: head_linear((weight(6, 5), None)),
        lambda: head_linear((weight(7, 3), None)),
        lambda: head_linear((weight(6, 3), np.ones(6))),
        lambda: head_linear((weight(6, 3), None), (weight(6, 3), None)),
        lambda: head_linear(norm=np.ones(8)),
        lambda: experts_up(reads=(X,)),
        lambda: experts_up(reads=(X, Z, GATE)),
        lambda: experts_up(writes=(HIDDEN,)),
        lambda: experts_up(writes=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_up(writes=(HIDDEN, ROUTING, SHARED, GATE)),
        lambda: experts_up(EXPERTS, EXPERTS, NETWORK),
        lambda: experts_up(EXPERTS, EXPERTS, EXPERTS),
        *[lambda n=n: experts_up(n_expert=n) for n in (0, -1, 3, 5, 2**24 + 1, 2**60 + 4, 2**63 - 1)],
        *[lambda n=n: experts_up(n_used=n) for n in (0, -1, 1, 3, 4, 5, 2**62, 2**63 - 1)],
        *[lambda n=n: experts_up(n_group=n) for n in (0, -1, 3, 8)],
        *[lambda n=n: experts_up(n_group=2, n_group_used=n) for n in (0, -1, 3)],
        lambda: experts_up(n_group=4, n_group_used=1),
        lambda: experts_up(reads=(X, OUT)),
        lambda: experts_up(writes=(SHARED, ROUTING)),
        lambda: experts_up(writes=(HIDDEN, OUT)),
        lambda: experts_up(EXPERTS, EXPERTS, NETWORK, NETWORK, reads=(X, Z, OUT), writes=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_up((weight(4 * 6, 4), None), EXPERTS),
        lambda: experts_up(EXPERTS, (weight(4 * 5, 8), None)),
        lambda: experts_up(EXPERTS, EXPERTS, NETWORK, (weight(4, 8), None), writes=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_up(EXPERTS, EXPERTS, NETWORK, (weight(3, 4), None), writes=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_up(fused=True),
        lambda: experts_up((weight(4 * 12, 8), None), fused=True),
        lambda: experts_up((weight(4 * 6, 8), np.ones(6)), EXPERTS),
        lambda: experts_up(norm=np.ones(4)),
        lambda: experts_up(gating="tanh"),
        lambda: experts_up(activation="tanh"),
        *[
            lambda name=name, n=n: experts_up(**{name: np.ones(n)})
            for name in ("selection_bias", "gate_scale", "up_scale")
            for n in (1, 5)
        ],
        lambda: experts_down(reads=(HIDDEN,)),
        lambda: experts_down(reads=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_down(writes=(OUT, X)),
        lambda: experts_down(DOWN, DOWN_SHARED),
        *[lambda n=n: experts_down(n_expert=n) for n in (0, 1, 5, 2**24 + 1, 2**61 + 4, 2**63 - 1)],
        *[lambda n=n: experts_down(n_used=n) for n in (0, 1, 3, 5, 2**62, 2**63 - 1)],
        lambda: experts_down(reads=(HIDDEN, SHARED)),
        lambda: experts_down(reads=(X, ROUTING)),
        lambda: experts_down((weight(4 * 7, 6), None)),
        lambda: experts_down((weight(4 * 8, 12), None)),
        lambda: experts_down(writes=(Z,)),
        lambda: experts_down(DOWN, (weight(8, 4), None), reads=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_down(DOWN, (weight(7, 3), None), reads=(HIDDEN, ROUTING, SHARED)),
        lambda: experts_down(down_scale=np.ones(3)),
        lambda: routed_plan().add(
            "experts_down", (HIDDEN, ROUTING), (OUT,), [DOWN], norm=np.ones(12), n_expert=4, n_used=2, accumulate=True,
            scale=1.0, down_scale=None,
        ),
        lambda: delta_net(reads=(0, 1, 2)),
        lambda: delta_net(norm=np.ones(24)),
        lambda: delta_net(order="wild"),
        *[lambda w=w: delta_net(widths=w) for w in ((23, 12, 4, 4, 12), (24, 13, 4, 4, 12), (24, 12, 5, 4, 12),
                                                    (24, 12, 4, 3, 12), (24, 12, 4, 4, 13))],
        *[lambda key=key, n=n: delta_net(**{key: n}) for key in ("n_key_heads", "n_heads") for n in HUGE],
        *[lambda key=key, n=n: delta_net(**{key: n}) for key in ("head_dim", "width") for n in HUGE if n != 3],
        *[lambda key=key, x=x: delta_net(**{key: x})
          for key in ("convolution", "a", "dt", "q_norm", "k_norm", "head_norm") for x in (None, np.ones(5))],
        *[lambda w=w: mamba2(widths=w) for w in ((27, 8), (28, 7), (29, 8))],
        *[lambda key=key, n=n: mamba2(**{key: n})
          for key in ("n_heads", "head_dim", "n_groups", "n_keys", "width") for n in HUGE],
        *[lambda key=key: mamba2(**{key: np.ones(7)})
          for key in ("convolution", "bias", "a", "dt", "skip", "group_norm")],
        *[lambda key=key: mamba2(**{key: None}) for key in ("convolution", "a", "dt", "skip")],
        *[lambda w=w: short_conv(widths=w) for w in ((11, 4), (12, 5))],
        *[lambda n=n: short_conv(width=n) for n in HUGE if n != 3],
        lambda: short_conv(n=11),
        lambda: short_conv(width=17, n=68),
        *[lambda n=n: split(n_heads=n) for n in HUGE],
        lambda: split(widths=(13, 8, 4)),
        lambda: split(widths=(8, 8, 4), writes=(1,)),
        lambda: gate(widths=(4, 5)),
        lambda: gate(norm=np.ones(4)),
        lambda: plan().add("lm_head", [0], [], [(weight(5, 4), None)], softcap=0.0, scale=1.0),
        lambda: plan().add("lm_head", [0], [], [(None, None)], softcap=0.0, scale=1.0),
        lambda: Engine(plan(), n_batch=1, n_threads=1, n_ctx=1),
        lambda: Weight(b"1234", "F32", 2, 1),
        lambda: Weight(b"1234", "F32", 2**62, 2**62),
        lambda: Weight(b"", "F32", 0, 1),
        lambda: weight(4, 4).slice(2, 5),
        lambda: weight(4, 4).slice(-1, 2),
    ],
)  # fmt: skip
def test_a_plan_of_wrong_shapes_is_refused_where_it_is_made(wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError, OverflowError)):
        wrong()
