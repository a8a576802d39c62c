"""Model files whose values make no sense: refused in one clear line when loaded, or when their output is not finite."""

from __future__ import annotations

import math
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuts import assert_near
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from tiny_models import DECI, LLAMA, N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import FormatError, ModelRefused, NumericError, UnsupportedError
from subbyte.kernels import Engine, Plan, Weight

NAN, INF = math.nan, math.inf
EPS, BASE = "attention.layer_norm_rms_epsilon", "rope.freq_base"
TOKENS = list(range(40))

# architecture, key, value, words of the message; the key's name is always one of them
KEYS: list[tuple[str, str, Any, str]] = [
    *[("llama", "block_count", n, "1 to 1024") for n in (0, 1025, 2**31, 2**32 - 1)],
    ("llama", "block_count", None, "missing"),
    ("llama", "block_count", "two", "integer"),
    ("llama", "block_count", 2.0, "integer"),
    *[("llama", "embedding_length", n, "1 to 1048576") for n in (0, 2**20 + 1, 2**32 - 1)],
    *[("llama", "feed_forward_length", n, "1 to 1048576") for n in (0, 2**32 - 1)],
    ("llama", "feed_forward_length", [96, 100], "differs between layers"),
    ("llama", "feed_forward_length", [96, 96, 96], "2 integers"),
    *[("llama", "attention.head_count", n, "1 to 1048576") for n in (0, 2**32 - 1)],
    *[("llama", "attention.head_count_kv", n, "1 to 4") for n in (0, 5, 2**32 - 1)],
    ("llama", "attention.head_count_kv", 3, "does not divide"),
    *[("llama", "attention.key_length", n, "1 to 4096") for n in (0, 4097, 2**31)],
    ("llama", "attention.value_length", 32, "equal"),
    ("llama", "context_length", 0, "1 to"),
    ("llama", "context_length", None, "missing"),
    ("llama", "expert_count", 8, "experts"),
    *[("llama", EPS, x, "finite number from 1e-12 to 1") for x in (0.0, -1.0, NAN, INF, 1e30)],
    *[("llama", BASE, x, "finite number from 2 to inf") for x in (0.0, -1.0, NAN, INF, -INF, 1e-30, 1.0)],
    *[("llama", "rope.scaling.factor", x, "finite number") for x in (0.0, -2.0, NAN, INF, 1e-30, 1e30)],
    *[("llama", "rope.scale_linear", x, "finite number") for x in (0.0, NAN)],
    *[("llama", "rope.dimension_count", n, "16 to 16") for n in (0, 8, 18, 2**32 - 1)],
    *[("phi3", "rope.scaling.original_context_length", n, "1 to 4294967295") for n in (0, 2.5, "4k")],
    *[("qwen3", "rope.scaling.attn_factor", x, "0.01 to 100") for x in (0.0, -1.0, NAN, INF, 1e30)],
    ("llama", "rope.scaling.type", "wrong" * 1000, "none, linear, yarn, longrope"),
    ("phi3", "rope.dimension_count", 18, "2 to 16"),
    ("gemma3", "rope.dimension_count", 7, "odd"),
    ("gemma3", "rope.dimension_count", 34, "2 to 32"),
    *[("gemma3", "rope.freq_base_swa", x, "finite number") for x in (0.0, NAN)],
    *[("gemma3", "final_logit_softcapping", x, "finite number") for x in (-1.0, NAN, INF)],
    ("gemma3", "attention.sliding_window", 2.5, "integer"),
    *[("gemma3", "attention.sliding_window_pattern", x, "1 to") for x in (0, [True] * 6, [True] * 8, [1] * 7)],
    ("exaone4", "attention.sliding_window_pattern", [6] * 5, "5 bools"),
    ("exaone4", "attention.sliding_window", "wide", "integer"),
    ("exaone4", "attention.head_count", [4, 4, 4, 4, 0], "1 to 1048576"),
    ("exaone4", "nextn_predict_layers", 1, "not supported"),
    *[("deci", "attention.head_count", x, "9 integers") for x in ([4] * 8, [4] * 10, [4.0] * 9, ["4"] * 9)],
    *[("deci", "attention.head_count", [4] * 8 + [x], "0 to 1048576") for x in (-1, 2**20 + 1, 2**31 - 1, -(2**31))],
    ("deci", "attention.head_count", 0, "0 to 0"),  # the KV heads are still there
    ("deci", "attention.head_count", None, "missing"),
    *[("deci", "attention.head_count_kv", x, "0 to 8") for x in (9, 2**32 - 1, [2] * 8 + [9], [-1] * 9)],
    *[("deci", "attention.head_count_kv", [x, *[0] * 8], "in layer 0 does not divide") for x in (3, 5, 8)],
    ("deci", "attention.head_count_kv", 2, "= 2 in layer 1 does not divide deci.attention.head_count = 0"),
    *[("deci", "attention.head_count_kv", x, "0 in every layer") for x in (0, [0] * 9)],
    *[("deci", "feed_forward_length", x, "0 to 1048576") for x in (2**32 - 1, [-1] * 9, [96] * 8 + [2**31 - 1])],
    ("deci", "feed_forward_length", [96] * 3, "9 integers"),
    ("deci", "feed_forward_length", None, "missing"),
    ("deci", "attention.key_length", 2**13, "1 to 4096"),
    ("deci", "block_count", 0, "1 to 1024"),
]


def refused(path: Path, kind: type[ModelRefused] = ModelRefused) -> str:
    """The one line with which the file is refused, without having taken memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(kind) as caught:
        sb.load(path)
    message = str(caught.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert caught.value.exit_code == 3
    assert "\n" not in message and str(path) in message and len(message) < len(str(path)) + 400, message
    return message


@pytest.mark.parametrize(("arch", "key", "value", "words"), KEYS, ids=[f"{k[1]}={str(k[2])[:9]}" for k in KEYS])
@pytest.mark.thorough
def test_a_hyper_parameter_out_of_its_range(arch: str, key: str, value: Any, words: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch, **{key: value})
    message = refused(tmp_path / "m.gguf")
    assert f"{arch}.{key}" in message and words in message, message


@pytest.mark.parametrize(
    "change",
    [
        {"block_count": 3}, {"block_count": 1024}, {"embedding_length": 128}, {"embedding_length": 2**20},
        {"feed_forward_length": 2**20}, {"attention.key_length": 4096, "attention.value_length": 4096},
        {"attention.head_count": 2**10, "attention.head_count_kv": 2**10}, {"attention.head_count": 2},
    ],
    ids=str,
)  # fmt: skip
def test_hyper_parameters_that_the_tensors_do_not_bear_out(change: dict[str, int], tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", **change)
    message = refused(tmp_path / "m.gguf", FormatError)
    assert "tensor " in message or "does not divide" in message


@pytest.mark.parametrize(
    "change",
    [
        {"feed_forward_length": 96}, {"feed_forward_length": 2**20},
        {"attention.key_length": 32, "attention.value_length": 32},
        {"attention.head_count": DECI["n_head_kv"]}, {"attention.head_count_kv": [1, 0, 3, 1, 3, 0, 2, 0, 1]},
        {"attention.head_count": [4] * 9, "attention.head_count_kv": [4] * 9},
        {"attention.head_count": 4, "attention.head_count_kv": 2, "feed_forward_length": 96, "block_count": 1024},
    ],
    ids=str,
)  # fmt: skip
def test_layers_that_the_tensors_do_not_bear_out(change: dict[str, Any], tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "deci", **change)
    message = refused(tmp_path / "m.gguf", FormatError)
    assert "tensor blk." in message


def test_a_first_layer_without_heads_leaves_their_length_open(tmp_path: Path) -> None:
    shape = {**DECI, "n_head": [0, *DECI["n_head"][1:]], "n_head_kv": [0, *DECI["n_head_kv"][1:]]}
    write_model(tmp_path / "m.gguf", "deci", shape, **{"attention.key_length": None})
    message = refused(tmp_path / "m.gguf", FormatError)
    assert "'deci.attention.key_length' is missing and would be 0" in message


def test_a_model_without_any_attention(tmp_path: Path) -> None:
    change = {"attention.head_count": 0, "attention.head_count_kv": 0, "feed_forward_length": 0}
    write_model(tmp_path / "m.gguf", "deci", **change)
    assert "head_count_kv is 0 in every layer" in refused(tmp_path / "m.gguf", FormatError)


def test_heads_that_are_too_wide_together(tmp_path: Path) -> None:
    change = {"attention.head_count": 2**19, "attention.key_length": 4096, "attention.value_length": 4096}
    write_model(tmp_path / "m.gguf", **change)
    assert "1048576" in refused(tmp_path / "m.gguf", FormatError)


def blocks(kind: str, shape: tuple[int, ...]) -> tuple[np.ndarray, str]:
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return quantize(values, GGMLQuantizationType[kind]), kind


ONES = np.ones(64, np.float32)
TENSORS: list[tuple[str, Any, str]] = [
    ("blk.1.attn_q.weight", None, "missing"),
    ("blk.0.ffn_norm.weight", None, "missing"),
    ("token_embd.weight", None, "missing"),
    ("output_norm.weight", None, "missing"),
    ("blk.0.attn_q.weight", np.zeros((64, 32), np.float32), "[32, 64]"),
    ("blk.0.ffn_up.weight", np.zeros((64, 96), np.float32), "[96, 64]"),  # transposed
    ("blk.0.attn_k.weight", np.zeros((1, 32, 64), np.float32), "[64, 32, 1]"),
    ("blk.0.attn_q.bias", np.zeros(63, np.float32), "[63]"),
    ("output.weight", np.zeros((N_VOCAB + 1, 64), np.float32), "[64, 269]"),
    ("output_norm.weight", ONES[:63], "[63]"),
    ("output_norm.weight", blocks("Q8_0", (1, 64)), "[64, 1]"),
    ("output_norm.weight", (blocks("Q8_0", (1, 64))[0].reshape(-1), "Q8_0"), "Q8_0"),
    ("blk.0.attn_norm.weight", ONES.astype(np.int32), "I32"),
    ("blk.0.attn_norm.weight", ONES.astype(np.float64), "F64"),
    ("rope_freqs.weight", np.ones(9, np.float32), "[9]"),
    *[("rope_freqs.weight", np.array([1] * 7 + [x], np.float32), "positive") for x in (0.0, -1.0, NAN, INF)],
]


@pytest.mark.parametrize(("name", "tensor", "words"), TENSORS, ids=[f"{t[0]} {t[2]}" for t in TENSORS])
def test_a_wrong_tensor(name: str, tensor: Any, words: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={name: tensor})
    message = refused(tmp_path / "m.gguf")
    assert name in message and words in message, message


PHI3_TENSORS: list[tuple[str, Any, str]] = [
    ("blk.0.attn_qkv.weight", np.zeros((127, 64), np.float32), "[64, 128]"),
    ("blk.0.ffn_up.weight", np.zeros((191, 64), np.float32), "[64, 192]"),
    ("blk.0.ffn_up.weight", None, "[64, 192]"),
    ("rope_factors_short.weight", None, "missing"),
    ("rope_factors_long.weight", None, "missing"),
    ("rope_factors_long.weight", np.ones(5, np.float32), "[6]"),
    *[("rope_factors_short.weight", np.array([1] * 5 + [x], np.float32), "positive") for x in (0.0, -1.0, NAN, INF)],
]


@pytest.mark.parametrize(("name", "tensor", "words"), PHI3_TENSORS, ids=[f"{t[0]} {t[2]}" for t in PHI3_TENSORS])
def test_a_wrong_tensor_of_phi3(name: str, tensor: Any, words: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "phi3", tensors={name: tensor})
    message = refused(tmp_path / "m.gguf", FormatError)
    assert name in message and words in message, message


def test_a_feed_forward_without_its_gate(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={"blk.0.ffn_gate.weight": None})
    assert "tensor blk.0.ffn_gate.weight is missing" in refused(tmp_path / "m.gguf", FormatError)


@pytest.mark.parametrize("name", ["blk.1.attn_sub_norm.weight", "blk.0.nextn.eh_proj.weight", "output_norm.bias"])
def test_a_tensor_that_would_change_the_results_is_not_left_out(name: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", tensors={name: np.zeros(64, np.float32)})
    assert f"tensor {name} is no part of llama" in refused(tmp_path / "m.gguf", UnsupportedError)


@pytest.mark.parametrize("name", ["extra.weight", "blk.2.attn_q.weight"])
def test_a_tensor_of_no_layer_is_left_out_with_a_warning(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(tmp_path / "m.gguf", tensors={name: np.zeros(64, np.float32)})
    with sb.load(tmp_path / "m.gguf") as model, model.session(8) as session:
        session.eval(TOKENS[:8])
    assert caplog.messages == [f"{tmp_path / 'm.gguf'}: 1 tensors are not used, such as {name}"]


def test_longrope_without_its_factors(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "qwen2", **{"rope.scaling.type": "longrope"})
    assert "tensor rope_factors_short.weight is missing" in refused(tmp_path / "m.gguf", FormatError)


@pytest.mark.parametrize("n_vocab", [1, N_VOCAB - 1, N_VOCAB + 1])
def test_rows_of_the_embeddings_that_are_not_the_vocabulary(n_vocab: int, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", n_vocab=n_vocab)
    message = refused(tmp_path / "m.gguf", FormatError)
    assert f"[64, {n_vocab}]" in message and str(N_VOCAB) in message


def test_a_layer_that_is_left_out(tmp_path: Path) -> None:
    names = [n for n in ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up")]
    write_model(tmp_path / "m.gguf", shape={**LLAMA, "n_layer": 3}, tensors={f"blk.1.{n}.weight": None for n in names})
    assert "tensor blk.1.attn_norm.weight is missing" in refused(tmp_path / "m.gguf", FormatError)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"block_count": 0}, 3, "llama.block_count"),
        ({"tensors": {"output_norm.weight": None}}, 3, "output_norm.weight"),
        ({"tensors": {"output_norm.weight": np.full(64, NAN, np.float32)}}, 5, "not finite"),
    ],
)
def test_the_command_line_says_it_in_one_line(
    change: dict[str, Any], code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from subbyte.cli.main import run

    write_model(tmp_path / "m.gguf", **change)
    assert run(["generate", str(tmp_path / "m.gguf"), "-p", "the thing", "-n", "3"]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("subbyte: ") and err.count("\n") == 1 and words in err, err


@pytest.mark.parametrize("name", ["../x", "x" * 10_000_000, "", "_config", "__init__", "llama\n"])
def test_an_architecture_that_is_none(name: str, tmp_path: Path) -> None:
    from gguf_builder import STR, pair, u32, u64

    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + u32(3) + u64(0) + u64(1) + pair("general.architecture", STR, name))
    assert "gemma3, llama" in refused(path, UnsupportedError)


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
    assert_near(single, whole)


# ---- damage that only shows in the numbers ----

MATRICES = ["token_embd", "blk.1.attn_q", "blk.1.attn_k", "blk.1.attn_v", "blk.1.attn_output", "blk.1.ffn_gate",
            "blk.1.ffn_up", "blk.1.ffn_down", "output"]  # fmt: skip
NORMS = ["blk.1.attn_norm", "blk.1.ffn_norm", "output_norm"]
DIMS = {"token_embd": (N_VOCAB, 64), "output": (N_VOCAB, 64), "blk.1.attn_k": (32, 64), "blk.1.attn_v": (32, 64),
        "blk.1.ffn_gate": (96, 64), "blk.1.ffn_up": (96, 64), "blk.1.ffn_down": (64, 96)}  # fmt: skip


def damaged(name: str, kind: str, bad: float) -> Any:
    """A tensor of which one scale (or weight) is `bad`; of the embeddings that of token 3, of the others any."""
    if name in NORMS:
        vector = np.ones(64, np.float32)
        vector[17] = bad
        return vector
    matrix, _ = blocks(kind, DIMS.get(name, (64, 64)))
    if kind == "F32":
        matrix[3, 40] = bad
        return matrix
    where = {"Q8_0": slice(34, 36), "Q4_1": slice(2, 4)}[kind]  # the scale of the second block, the min of the first
    matrix = matrix.view(np.uint8)
    matrix[3, where] = np.frombuffer(np.float16(bad).tobytes(), np.uint8)
    return matrix, kind


@pytest.mark.parametrize("name", MATRICES + NORMS)
@pytest.mark.thorough
def test_numbers_that_are_not_finite_are_an_error(name: str, tmp_path: Path) -> None:
    kinds = ["F32"] if name in NORMS else ["F32", "Q8_0", "Q4_1"]
    for kind, bad in [(k, b) for k in kinds for b in (NAN, INF, -INF)]:
        path = tmp_path / "m.gguf"
        write_model(path, types=[kind], tensors={f"{name}.weight": damaged(name, kind, bad)})
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


# ---- a plan that C could not run ----


def weight(rows: int, cols: int) -> Weight:
    return Weight(np.zeros(4 * rows * cols, np.uint8), "F32", rows, cols)


def plan(n_rope: int = 2) -> Plan:
    return Plan([8, 8, 4, 4, 8, 16], [(np.ones(n_rope), np.ones(n_rope), 8, 1.0, False)])


HEADS = {
    "n_head": 2, "n_head_kv": 1, "head_dim": 4, "rope": -1, "window": 0, "scale": 1.0, "q_norm": None, "k_norm": None,
    "head_eps": 0.0,
}  # fmt: skip


def linear(dst: list[int], *matrices: Any, norm: Any = None, add: bool = False) -> None:
    plan().add("linear", [0], dst, matrices, norm=norm, eps=1e-5, accumulate=add)


def glu(dst: int, gate: Weight, up: Weight, activation: str = "silu") -> None:
    plan().add("glu", [0], [dst], [(gate, None), (up, None)], activation=activation)


def attention(reads: list[int], dst: int, n_rope: int = 2, **wrong: Any) -> None:
    plan(n_rope).add("attention", reads, [dst], **{**HEADS, **wrong})


def test_plans_of_right_shapes_are_not_refused() -> None:
    linear([1], (weight(8, 8), np.ones(8)), norm=np.ones(8))
    glu(1, weight(8, 8), weight(8, 8))
    attention([0, 2, 3], 1, rope=0, q_norm=np.ones(4))
    ended = plan()
    ended.add("lm_head", [0], [], [(weight(5, 8), None)], softcap=0.0)
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
        lambda: glu(1, weight(8, 8), weight(8, 8), "relu"),
        lambda: plan().add("norm", [0], [1], norm=None, accumulate=False),
        lambda: plan().add("norm", [0], [2], norm=np.ones(8), accumulate=False),
        lambda: attention([0, 2, 3], 0),
        lambda: attention([0, 2, 2], 1),
        lambda: attention([0, 2, 3], 1, n_head=3),
        lambda: attention([0, 2, 3], 1, head_dim=0),
        lambda: attention([0, 2, 3], 1, head_dim=2**31 - 1),
        lambda: attention([0, 2, 3], 1, window=-1),
        lambda: attention([0, 2, 3], 1, rope=1),
        lambda: attention([0, 2, 3], 1, n_rope=3, rope=0),
        lambda: attention([0, 2, 3], 1, q_norm=np.ones(3)),
        lambda: plan().add("lm_head", [0], [], [(weight(5, 4), None)], softcap=0.0),
        lambda: plan().add("lm_head", [0], [], [(None, None)], softcap=0.0),
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
