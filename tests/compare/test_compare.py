"""KL divergence and company, against the formulas in plain numpy on full logits."""

import gc
import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from paths import ROOT
from tiny_models import MIXED, N_VOCAB, swap_tokens, write_model
from vocabularies import model_file

import subbyte as sb
from subbyte.runtime.compare import lockstep
from subbyte.runtime.evaluation.corpus import read_corpus
from subbyte.runtime.evaluation.forward import Forward
from subbyte.runtime.session import runner
from subbyte.runtime.types import SessionOptions

Floats = NDArray[np.float64]
TEXT = bytes(np.random.default_rng(0).integers(97, 123, 1500).tolist())
N_CTX = 48
TYPES = {"base": ["F32"], "high": ["Q8_0", "BF16"], "low": ["Q4_0", "Q5_1", "TQ2_0", "F16", "Q4_1"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same random weights in other block types."""
    folder = tmp_path_factory.mktemp("models")
    for name, types in TYPES.items():
        write_model(folder / f"{name}.gguf", shape={**MIXED, "n_layer": 3}, types=types)
    return {name: folder / f"{name}.gguf" for name in TYPES}


@pytest.fixture(scope="module")
def models(files: dict[str, Path]) -> Iterator[dict[str, sb.Model]]:
    opened = {name: sb.load(path) for name, path in files.items()}
    yield opened
    for model in opened.values():
        model.close()


def log_softmax(logits: NDArray[np.float32]) -> Floats:
    wide = logits.astype(np.float64)
    result: Floats = wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
    return result


def log_probs(model: sb.Model, text: bytes = TEXT, n_ctx: int = N_CTX) -> tuple[Floats, NDArray[np.int64]]:
    """Of all scored positions of the text: log p of all tokens [n, n_vocab], and the tokens that came [n]."""
    tokens, found, wanted = model.tokenize(text), [], []
    for start in range(0, len(tokens) - n_ctx + 1, n_ctx):
        window = tokens[start : start + n_ctx]
        with model.session(n_ctx, activations="int8x2") as session:
            found.append(log_softmax(session.eval(window, "all")[n_ctx // 2 : -1]))
        wanted += window[n_ctx // 2 + 1 :]
    return np.concatenate(found), np.array(wanted)


def se(values: Floats) -> float:
    return float(values.std() / math.sqrt(len(values) - 1))


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["high", "low"])
def test_every_figure_against_numpy(models: dict[str, sb.Model], name: str) -> None:
    result = sb.compare(models["base"], models[name], TEXT, n_ctx=N_CTX).results[0]
    log_p, wanted = log_probs(models["base"])
    log_q, _ = log_probs(models[name])
    kld = (np.exp(log_p) * (log_p - log_q)).sum(axis=1)
    reverse = (np.exp(log_q) * (log_q - log_p)).sum(axis=1)
    common = np.exp(np.minimum(log_p, log_q)).sum(axis=1)
    each = range(len(wanted))
    a, b = -log_q[each, wanted], -log_p[each, wanted]
    delta = np.exp(-a) - np.exp(-b)
    cov = np.mean(a * b) - a.mean() * b.mean()
    expected = {
        "ppl": (np.exp(a.mean()), np.exp(a.mean()) * se(a)),
        "ppl_base": (np.exp(b.mean()), np.exp(b.mean()) * se(b)),
        "log_ratio": (a.mean() - b.mean(), math.sqrt(se(a) ** 2 + se(b) ** 2 - 2 * cov / (len(a) - 1))),
        "kld": (kld.mean(), se(kld)),
        "kld_reverse": (reverse.mean(), se(reverse)),
        "acceptance": (common.mean(), se(common)),
        "delta_p": (delta.mean(), se(delta)),
        "delta_p_rms": (np.sqrt(np.mean(delta**2)), 0.5 / np.sqrt(np.mean(delta**2)) * se(delta**2)),
    }
    ratio = math.exp(expected["log_ratio"][0])
    expected["ratio"] = (ratio, ratio * expected["log_ratio"][1])
    ppl, base = expected["ppl"], expected["ppl_base"]
    difference_error = math.sqrt(ppl[1] ** 2 + base[1] ** 2 - 2 * ppl[0] * base[0] * cov / (len(a) - 1))
    expected["difference"] = (ppl[0] - base[0], difference_error)
    for field, (value, error) in expected.items():
        found = getattr(result, field)
        assert found.value == pytest.approx(value, rel=1e-3, abs=1e-6), field
        assert found.error == pytest.approx(error, rel=1e-3, abs=1e-7), field
    assert result.correlation == pytest.approx(cov / a.std() / b.std(), rel=1e-4)
    for percents, values in ((result.kld_percentiles, np.sort(kld)), (result.delta_p_percentiles, np.sort(delta))):
        for percent, found in percents.items():
            at = float(percent) / 100 * (len(values) - 1)
            low, part = int(at), at - int(at)
            linear = (1 - part) * values[low] + part * values[min(low + 1, len(values) - 1)]
            assert found == pytest.approx(linear, rel=1e-3, abs=1e-6)
    same = np.mean(log_p.argmax(1) == log_q.argmax(1))
    assert result.same_top.value == pytest.approx(same, abs=2.1 / len(wanted))  # two near ties may fall otherwise
    right, right_base = log_q.argmax(1) == wanted, log_p.argmax(1) == wanted
    flips = {"right": right, "right_base": right_base, "right_to_wrong": right_base & ~right,
             "wrong_to_right": right & ~right_base}  # fmt: skip
    for field, flags in flips.items():
        assert getattr(result, field).value == pytest.approx(flags.mean(), abs=2.1 / len(wanted)), field
    assert result.right_interval.estimate == pytest.approx(result.right.value - result.right_base.value)
    assert result.acceptance_percentiles["0"] == pytest.approx(common.min(), rel=1e-3)
    assert sum(part.n_scored for part in result.positions.values()) == len(wanted) and not result.domains
    assert result.kld_interval.low < result.kld.value < result.kld_interval.high
    assert result.kld_interval.estimate == pytest.approx(result.kld.value)
    assert result.log_ratio_interval.estimate == pytest.approx(result.log_ratio.value)


@pytest.mark.thorough
def test_several_models_in_lockstep_are_each_as_alone(models: dict[str, sb.Model]) -> None:
    run = sb.compare(models["base"], [models["high"], models["low"]], TEXT, n_ctx=N_CTX)
    for result, name in zip(run.results, ("high", "low"), strict=True):
        assert result == sb.compare(models["base"], models[name], TEXT, n_ctx=N_CTX).results[0]
    delta = run.delta(1, 0)
    assert delta.estimate == pytest.approx(run.results[1].kld.value - run.results[0].kld.value)
    assert delta.verdict == "worse"
    assert run.n_scored == run.chunks * (N_CTX - 1 - N_CTX // 2) == run.per_token[0].kld.size


def test_the_number_of_threads_changes_nothing(files: dict[str, Path]) -> None:
    found = []
    for threads in (1, 3):
        with sb.load(files["base"], threads=threads) as base, sb.load(files["low"], threads=threads) as model:
            found.append(sb.compare(base, model, TEXT, n_ctx=N_CTX, chunks=4, layers=True).to_dict())
            found[-1]["blame"] = sb.blame(base, model, TEXT, n_ctx=N_CTX, chunks=1).to_dict() | {"seconds": 0}
    assert found[0] | {"seconds": 0} == found[1] | {"seconds": 0}


@pytest.mark.thorough
def test_identical_files_differ_by_exactly_nothing(files: dict[str, Path]) -> None:
    with sb.load(files["low"]) as a, sb.load(files["low"]) as b:
        run = sb.compare(a, b, TEXT, n_ctx=N_CTX, layers=True)
    result = run.results[0]
    nothing = (
        result.log_ratio, result.difference, result.kld, result.kld_reverse, result.delta_p, result.delta_p_rms,
        result.right_to_wrong, result.wrong_to_right,
    )  # fmt: skip
    assert result.acceptance.value == pytest.approx(1, abs=1e-6)
    assert all((estimate.value, estimate.error) == (0, 0) for estimate in nothing)
    assert {*result.kld_percentiles.values(), *result.delta_p_percentiles.values()} == {0}
    assert (result.ratio.value, result.same_top.value, result.same_top.error) == (1, 1, 0)
    assert (result.kld_interval.low, result.kld_interval.high, result.verdict) == (0, 0, "identical")
    assert result.correlation == pytest.approx(1)
    assert {(layer.relative, layer.cosine) for layer in run.layers[0]} == {(0, 1)}


def test_batches_and_row_blocks_change_nothing(models: dict[str, sb.Model], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sb.compare(models["base"], models["low"], TEXT, n_ctx=N_CTX, chunks=4, layers=True)
    monkeypatch.setattr(runner, "batch_size", lambda plan, n_ctx: 17)  # 24 is the first row that is scored
    monkeypatch.setattr(lockstep, "BLOCK_BYTES", 5 * 4 * 268)
    parts = sb.compare(models["base"], models["low"], TEXT, n_ctx=N_CTX, chunks=4, layers=True)
    np.testing.assert_array_equal(parts.per_token[0].kld, whole.per_token[0].kld)
    np.testing.assert_array_equal(parts.per_token[0].loss, whole.per_token[0].loss)
    for a, b in zip(parts.layers[0], whole.layers[0], strict=True):
        np.testing.assert_allclose([a.relative, a.cosine], [b.relative, b.cosine], rtol=1e-12)


def test_errors_behind_each_layer(models: dict[str, sb.Model]) -> None:
    """Each layer's hidden state from a run of its own that ends there."""
    (layers,) = sb.compare(models["base"], models["low"], TEXT, n_ctx=N_CTX, chunks=2, layers=True).layers
    corpus = read_corpus([TEXT], models["base"].tokenizer, n_ctx=N_CTX, chunks=2)
    assert [layer.name for layer in layers] == ["token_embd", "blk.0", "blk.1", "blk.2"]
    for depth, layer in enumerate(layers):
        states = []
        for model in (models["base"], models["low"]):
            rows = []
            for chunk in corpus.chunks:
                forward = Forward(model, SessionOptions(N_CTX, activations="int8x2"))
                forward.embed(chunk.tokens, 0)
                if depth:
                    forward.run(chunk.tokens, 0, range(depth))
                rows.append(forward.hidden[chunk.rows].astype(np.float64))
            states.append(np.concatenate(rows))
        base, other = states
        relative = np.linalg.norm(other - base, axis=1) / np.linalg.norm(base, axis=1)
        cosine = (base * other).sum(1) / np.linalg.norm(base, axis=1) / np.linalg.norm(other, axis=1)
        assert layer.relative == pytest.approx(np.sqrt(np.mean(relative**2)), rel=1e-6)
        assert layer.cosine == pytest.approx(cosine.mean(), rel=1e-6)
    assert layers[-1].relative > 0.01


@pytest.mark.thorough
def test_memory_is_bounded_for_a_large_vocabulary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n_vocab, n_ctx, piece = 30_000, 128, 2**20
    for i in (1, 2):
        write_model(tmp_path / f"{i}.gguf", seed=i, n_unused=n_vocab - N_VOCAB)
    monkeypatch.setattr(lockstep, "BLOCK_BYTES", piece)
    with sb.load(tmp_path / "1.gguf") as a, sb.load(tmp_path / "2.gguf") as b:
        assert a.config.n_vocab == n_vocab
        sb.compare(a, b, TEXT[:300], n_ctx=n_ctx, chunks=1)  # what is imported and compiled once
        gc.collect()
        tracemalloc.start()
        run = sb.compare(a, b, TEXT[:300], n_ctx=n_ctx, chunks=1, save_base=tmp_path / "x.kld")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert run.n_scored * n_vocab * 4 > 7 * piece  # what all logits of one model would take
    assert peak < 6 * piece


def test_a_comparison_that_is_ended_early_has_what_was_measured(models: dict[str, sb.Model]) -> None:
    options = sb.EvalOptions(n_ctx=N_CTX)
    measurement = sb.CompareMeasurement(models["base"], [models["low"]], TEXT, options, layers=True)
    for progress in measurement:
        if progress.index == 3:
            break
    found = measurement.result()
    assert found.chunks == measurement.n_done == 3
    expected = sb.compare(models["base"], models["low"], TEXT, n_ctx=N_CTX, chunks=3, layers=True)
    assert found.results == expected.results and found.layers == expected.layers
    assert progress.kld == (pytest.approx(expected.results[0].kld.value),)


def test_results_as_plain_values_and_as_html(models: dict[str, sb.Model]) -> None:
    run = sb.compare(models["base"], [models["high"], models["low"]], TEXT, n_ctx=N_CTX, chunks=5, layers=True)
    facts = run.to_dict()
    assert facts["results"][1]["kld"]["value"] == run.results[1].kld.value
    assert facts["deltas"] == [run.delta(1, 0).to_dict()] and len(facts["layers"][1]) == 4
    html = run._repr_html_()
    assert html.count("<table>") == 7 and "low.gguf" in html and f"{run.results[1].kld.value:.6f}" in html


def test_models_that_cannot_be_compared(models: dict[str, sb.Model], tmp_path: Path) -> None:
    base = models["base"]
    write_model(tmp_path / "vocab.gguf", n_unused=32)
    write_model(tmp_path / "small.gguf")
    with sb.load(tmp_path / "vocab.gguf") as other, pytest.raises(ValueError, match="vocabulary of 300 tokens"):
        sb.compare(base, other, TEXT, n_ctx=N_CTX)
    with sb.load(tmp_path / "small.gguf") as other:
        assert sb.compare(base, other, TEXT, n_ctx=N_CTX, chunks=1).results[0].kld.value > 0
        with pytest.raises(ValueError, match="2 layers of 64 values"):
            sb.compare(base, other, TEXT, n_ctx=N_CTX, layers=True)
    with pytest.raises(ValueError, match="at least one"):
        sb.compare(base, [], TEXT, n_ctx=N_CTX)
    with pytest.raises(ValueError, match="no text"):
        sb.compare(base, models["low"], n_ctx=N_CTX)


def test_tokenizers_must_agree(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sb.load(files["base"]) as a, sb.load(files["low"]) as b:
        monkeypatch.setattr(b.tokenizer, "add_bos", True)
        with pytest.raises(ValueError, match="begins a text with another token"):
            sb.compare(a, b, TEXT, n_ctx=N_CTX)
    swapped = swap_tokens(files["low"], tmp_path / "swapped.gguf")
    with sb.load(files["base"]) as a, sb.load(swapped) as b:
        with pytest.raises(ValueError, match="tokenizes the text otherwise"):
            sb.compare(a, b, TEXT, n_ctx=N_CTX)


@pytest.mark.model
@pytest.mark.slow
def test_a_real_model_against_numpy(tmp_path: Path) -> None:
    """SmolLM2 against itself with a cache of int8, over a vocabulary of 49152 in several pieces."""
    path, text = model_file("smollm2"), ROOT / "benchmarks/alice.txt"
    with sb.load(path) as model:
        exact = sb.compare(model, model, text.read_bytes(), n_ctx=128, chunks=2, save_base=tmp_path / "x.kld")
        log_p, wanted = (part[:126] for part in log_probs(model, text.read_bytes()[:4000], 128))
        with sb.BaseFile(tmp_path / "x.kld") as base:
            rough = sb.compare(base, model, cache_type="q8_0").results[0]
    assert exact.results[0].kld.value == 0
    assert exact.per_token[0].loss.ravel() == pytest.approx(-log_p[range(126), wanted], abs=1e-3)
    assert 0 < rough.kld.value < 5e-3 and rough.ppl_base.value == pytest.approx(exact.results[0].ppl.value, rel=1e-4)
