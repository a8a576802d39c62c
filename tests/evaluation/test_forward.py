"""The forward pass opened in the middle: layer by layer, from a stored hidden state, tapped, with other weights."""

from pathlib import Path

import numpy as np
import pytest
from recurrent_oracle import NOT_MATRICES
from tiny_models import APART, SHAPES, head, write_mixed_model, write_model

import subbyte as sb
from subbyte.kernels import compare_logits, isas
from subbyte.runtime.evaluation.forward import Forward, self_contained
from subbyte.runtime.types import SessionOptions

TOKENS = [int(t) for t in np.random.default_rng(1).integers(0, 266, 40)]
OPTIONS = SessionOptions(len(TOKENS), activations="int8x2")
each_arch = pytest.mark.parametrize("arch", APART)
each_isa = pytest.mark.parametrize("isa", isas())


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixed") / "m.gguf"
    write_mixed_model(path)
    return path


def whole(model: sb.Model) -> np.ndarray:
    with model.session(len(TOKENS), activations="int8x2") as session:
        return session.eval(TOKENS, "all")


@each_arch
def test_layer_by_layer_is_the_whole(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model:
        forward = Forward(model, OPTIONS)
        for start in (0, 25):  # two batches: the second one attends to the first
            batch = TOKENS[start : start + 25]
            forward.embed(batch, start)
            for layer in range(forward.n_layer):
                forward.run(batch, start, range(layer, layer + 1))
            logits = forward.logits(range(len(batch)))
            np.testing.assert_array_equal(logits, whole(model)[start : start + 25])
        assert forward.n_layer == SHAPES[arch]["n_layer"]


@each_arch
def test_every_layer_can_be_the_first(arch: str, tmp_path: Path) -> None:
    """All that a layer needs of those before it is the hidden state, unless it attends to keys of theirs."""
    write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model:
        before = Forward(model, OPTIONS)
        before.embed(TOKENS, 0)
        for layer in range(before.n_layer + 1):
            if self_contained(model.plan.operations, layer) == layer:
                forward = Forward(model, OPTIONS)
                forward.hidden = before.hidden
                forward.run(TOKENS, 0, range(layer, forward.n_layer))
                assert np.array_equal(forward.logits(range(len(TOKENS))), whole(model))
            if layer < before.n_layer:
                before.run(TOKENS, 0, range(layer, layer + 1))


def test_layers_that_attend_to_keys_of_others_begin_with_those(tmp_path: Path) -> None:
    for arch, first in {"gemma4": [0, 1, 1, 1, 1, 1, 6], "gemma3": [*range(8)]}.items():
        write_model(tmp_path / "m.gguf", arch)
        with sb.load(tmp_path / "m.gguf") as model:
            layers = range(model.config.n_layer + 1)
            assert [self_contained(model.plan.operations, layer) for layer in layers] == first


def test_from_a_stored_hidden_state(mixed: Path) -> None:
    with sb.load(mixed) as model:
        forward = Forward(model, OPTIONS)
        forward.embed(TOKENS, 0)
        forward.run(TOKENS, 0, range(0, 2))
        hidden = forward.hidden
        assert hidden.shape == (len(TOKENS), 256)
        other = Forward(model, OPTIONS)
        other.hidden = hidden
        other.run(TOKENS, 0, range(2, 4))
        assert np.array_equal(other.logits(range(3, 17)), whole(model)[3:17])


def test_logits_and_log_probabilities_of_any_rows(mixed: Path) -> None:
    with sb.load(mixed) as model:
        forward = Forward(model, OPTIONS)
        forward.run(TOKENS, 0)
        logits = whole(model)
        for rows in (range(0, 1), range(5, 29), range(len(TOKENS))):
            expected, wanted = logits[rows.start : rows.stop], TOKENS[rows.start : rows.stop]
            np.testing.assert_array_equal(forward.logits(rows), expected)
            log_p = expected - np.logaddexp.reduce(expected, axis=1)[:, None]
            assert forward.logprobs(rows, wanted)[0] == pytest.approx(log_p[range(len(wanted)), wanted], abs=1e-5)


@each_arch
@pytest.mark.thorough
def test_inputs_of_all_projections(arch: str, tmp_path: Path) -> None:
    """Every matrix is seen with an input that fits it, and the head's input makes the logits."""
    weights = write_model(tmp_path / "m.gguf", arch)
    with sb.load(tmp_path / "m.gguf") as model:
        forward = Forward(model, OPTIONS)
        seen = {}
        for tensors, x, experts in forward.inputs(TOKENS, 0):
            heads, shape = tensors[0].endswith(("attn_k_b.weight", "attn_v_b.weight")), SHAPES[arch]
            n_used, n_matrices = (shape["n_head"],) * 2 if heads else (shape.get("n_used"), shape.get("n_expert"))
            assert x.shape[0] == len(TOKENS) * (1 if experts is None else n_used) and np.isfinite(x).all()
            if experts is not None:
                of_tokens = experts.reshape(-1, n_used)
                assert of_tokens.max() < n_matrices and (np.diff(of_tokens) > 0).all()
            for name in tensors:
                seen[name] = x
                assert x.shape[1] == weights[name.removesuffix(".weight")].shape[-1]
        others = (".bias", ".scale", *NOT_MATRICES)
        matrices = {f"{n}.weight" for n, value in weights.items() if value.ndim > 1 and not n.endswith(others)}
        assert seen.keys() | {name for name in matrices if name.endswith("token_embd.weight")} == matrices
        last = next(x for name, x in seen.items() if name in ("output.weight", "token_embd.weight"))
        assert head(arch, last, weights) == pytest.approx(whole(model), abs=1e-4)
        np.testing.assert_array_equal(forward.logits(range(1)), whole(model)[:1])


def test_a_plan_with_tensors_of_another_file(tmp_path: Path) -> None:
    write_model(tmp_path / "a.gguf", seed=1)
    write_model(tmp_path / "b.gguf", seed=2)
    name = "blk.1.ffn_down.weight"
    with sb.load(tmp_path / "a.gguf") as a, sb.load(tmp_path / "b.gguf") as b:
        swapped = Forward(a, OPTIONS, a.plan_with({name: b.gguf.tensors[name]}))
        swapped.run(TOKENS, 0)
        forward = Forward(a, OPTIONS)
        forward.run(TOKENS, 0)
        every = range(len(TOKENS))
        assert np.abs(swapped.logits(every) - forward.logits(every)).max() > 0.1
        back = Forward(b, OPTIONS, b.plan_with({k: v for k, v in a.gguf.tensors.items()}))
        back.run(TOKENS, 0)
        assert np.array_equal(back.logits(every), forward.logits(every))


def test_misuse_is_refused(mixed: Path) -> None:
    with sb.load(mixed) as model:
        forward = Forward(model, SessionOptions(8, activations="int8x2"))
        with pytest.raises(ValueError, match="at most 8 rows, of 0 that there are"):
            forward.logits(range(1))  # nothing was run yet
        with pytest.raises(ValueError, match="9 tokens"):
            forward.run(TOKENS[:9], 0)
        with pytest.raises(ValueError, match="values 3 x 5"):
            forward.hidden = np.zeros((3, 5), np.float32)
        forward.run(TOKENS[:4], 0)
        with pytest.raises(ValueError, match="rows"):
            forward.logits(range(5))


@each_isa
def test_comparison_of_distributions(isa: str) -> None:
    rng = np.random.default_rng(3)
    for n, n_vocab in [(1, 1), (3, 7), (5, 64), (4, 50_001)]:
        p = (4 * rng.standard_normal((n, n_vocab))).astype(np.float32)
        q = (p + 0.3 * rng.standard_normal((n, n_vocab))).astype(np.float32)
        wanted = rng.integers(0, n_vocab, n)
        log_p, log_q = (x - np.logaddexp.reduce(x.astype(float), axis=1)[:, None] for x in (p, q))
        for n_threads in (1, 3):
            found = compare_logits(p, q, wanted, n_threads=n_threads, isa=isa)
            assert found.log_p == pytest.approx(log_p[range(n), wanted], abs=2e-6)
            assert found.log_q == pytest.approx(log_q[range(n), wanted], abs=2e-6)
            assert found.divergence == pytest.approx((np.exp(log_p) * (log_p - log_q)).sum(1), abs=2e-6)
            assert found.reverse == pytest.approx((np.exp(log_q) * (log_q - log_p)).sum(1), abs=2e-6)
            assert found.common == pytest.approx(np.exp(np.minimum(log_p, log_q)).sum(1), abs=2e-6)
            assert np.array_equal(found.top_p, p.argmax(1)) and np.array_equal(found.top_q, q.argmax(1))
        clipped = np.where(log_p > -9, log_p, -np.inf).astype(np.float32)
        found = compare_logits(clipped, q, wanted, isa=isa, p_is_log=True)
        kept = log_p > -9
        p_kept, q_kept = (np.where(kept, np.exp(x), 0) for x in (log_p, log_q))
        assert found.divergence == pytest.approx((p_kept * (log_p - log_q)).sum(1), abs=2e-5)
        assert found.reverse == pytest.approx((q_kept * (log_q - log_p)).sum(1), abs=2e-5)
        assert found.common == pytest.approx(np.minimum(p_kept, q_kept).sum(1), abs=2e-5)


@each_isa
def test_equal_distributions_do_not_diverge_at_all(isa: str) -> None:
    p = np.random.default_rng(4).standard_normal((6, 999)).astype(np.float32) * 5
    found = compare_logits(p, p.copy(), [0] * 6, isa=isa)
    assert (found.divergence == 0).all() and (found.reverse == 0).all() and np.array_equal(found.log_p, found.log_q)
    assert found.common == pytest.approx(1, abs=2e-6) and (found.common <= 1).all()
