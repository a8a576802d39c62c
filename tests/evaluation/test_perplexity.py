"""Perplexity of several models over the same tokens, and what their differences are worth."""

from pathlib import Path

import numpy as np
import pytest
from tiny_models import swap_tokens, write_model

import subbyte as sb
from subbyte.runtime.evaluation.perplexity import ChunkResult

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 3000).tolist())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pair")
    weights = write_model(folder / "1.gguf", seed=1)
    write_model(folder / "2.gguf", seed=1, tensors={"output.weight": weights["output"] * np.float32(1.5)})  # too sure
    return [folder / "1.gguf", folder / "2.gguf"]


def test_together_as_alone(pair: list[Path]) -> None:
    with sb.load(pair[0]) as a, sb.load(pair[1]) as b:
        run = sb.perplexity([a, b], TEXT, n_ctx=64)
        for model, result, losses in zip((a, b), run.results, run.losses, strict=True):
            alone = sb.perplexity(model, TEXT, n_ctx=64)
            assert result.running == alone.running and result.error == alone.error
            assert losses.shape == (result.chunks * 31,) and result.n_scored == losses.size
            assert result.running[-1] == pytest.approx(result.ppl)
            assert result.interval.estimate == pytest.approx(result.ppl) and result.interval.low < result.ppl
            n_bytes = sum(len(model.detokenize([t])) for t in range(97, 98)) * result.n_scored
            assert n_bytes <= result.n_scored / result.bits_per_byte * losses.mean() / np.log(2) * 1.0001
        delta = run.delta(1, 0)
        assert delta.log_ratio.estimate == pytest.approx(np.log(run.results[1].ppl / run.results[0].ppl))
        assert delta.ratio.estimate == pytest.approx(run.results[1].ppl / run.results[0].ppl)
        assert delta.verdict == {"better": "worse", "worse": "better"}.get(run.delta(0, 1).verdict, "undecided")


def test_a_file_against_itself(pair: list[Path]) -> None:
    with sb.load(pair[0]) as a, sb.load(pair[0]) as b:
        delta = sb.perplexity([a, b], TEXT, n_ctx=64).delta(1, 0)
    assert (delta.log_ratio.low, delta.log_ratio.high, delta.ratio.estimate) == (0, 0, 1)
    assert delta.verdict == "identical"


def test_a_run_ends_when_it_is_decided(pair: list[Path]) -> None:
    with sb.load(pair[0]) as a, sb.load(pair[1]) as b:
        whole = sb.perplexity([a, b], TEXT, n_ctx=32)
        run = sb.perplexity([a, b], TEXT, n_ctx=32, until_decided=True)
        assert whole.delta(1, 0).verdict != "undecided"
        assert run.delta(1, 0).verdict == whole.delta(1, 0).verdict
        assert run.results[0].chunks < whole.results[0].chunks and run.level > whole.level == 0.95
        same = sb.perplexity([a, a], TEXT, n_ctx=32, until_decided=True)
        assert same.results[0].chunks == 1 and same.delta(1, 0).verdict == "identical"


def test_equal_files_of_other_names_are_identical_at_once(pair: list[Path], tmp_path: Path) -> None:
    """Those that differ still have to be decided."""
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(pair[0].read_bytes())
    with sb.load(pair[0]) as a, sb.load(copy) as b, sb.load(pair[1]) as c:
        run = sb.perplexity([a, b], TEXT, n_ctx=32, until_decided=True)
        assert (run.same, run.results[0].chunks, run.delta(1, 0).verdict) == ((0, 0), 1, "identical")
        assert run.to_dict()["deltas"][0]["verdict"] == "identical" and run.table().rows[1][-1] == "identical"
        three = sb.perplexity([a, b, c], TEXT, n_ctx=32, until_decided=True)
        assert three.same == (0, 0, 2) and three.results[0].chunks > 1
        assert three.delta(2, 0).verdict == three.delta(2, 1).verdict != "identical"


def test_an_interval_of_too_few_chunks_is_no_number(pair: list[Path]) -> None:
    with sb.load(pair[0]) as a, sb.load(pair[1]) as b:
        run = sb.perplexity([a, b], TEXT, n_ctx=32, chunks=2)
    interval = run.to_dict()["deltas"][0]["log_ratio"]
    assert (interval["low"], interval["high"]) == (None, None) and np.isfinite(interval["estimate"])
    assert run.table().rows[1][-2:] == ("too few chunks", "undecided")


def test_other_vocabularies_are_not_paired(pair: list[Path], tmp_path: Path) -> None:
    swapped = swap_tokens(pair[1], tmp_path / "2.gguf")
    with sb.load(pair[0]) as a, sb.load(swapped) as b:
        with pytest.raises(ValueError, match=r"2\.gguf tokenizes the text otherwise than .*1\.gguf"):
            sb.perplexity([a, b], TEXT, n_ctx=32)
    with pytest.raises(ValueError, match="at least one"):
        sb.perplexity([], TEXT, n_ctx=32)


def test_overlapping_windows_know_more(pair: list[Path]) -> None:
    with sb.load(pair[0]) as model:
        result = sb.perplexity(model, TEXT, n_ctx=64, stride=16, chunks=5)
        assert result.n_scored == 5 * 16 and result.stride == 16
        with model.session(64) as session:
            tokens = model.tokenize(TEXT)[:64]
            expected = -session.logprobs(tokens[:-1], tokens[48:], 47).mean()
        assert result.running[0] == pytest.approx(np.exp(expected), rel=1e-3)


class Stopped(Exception):
    pass


def test_an_interrupted_run_goes_on(pair: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    seen = []

    def stop_after_3(chunk: ChunkResult) -> None:
        seen.append(chunk.index)
        if chunk.index == 3:
            raise Stopped

    with sb.load(pair[0]) as a, sb.load(pair[1]) as b:
        whole = sb.perplexity([a, b], TEXT, n_ctx=64)
        with pytest.raises(Stopped):
            sb.perplexity([a, b], TEXT, n_ctx=64, resume=file, on_chunk=stop_after_3)
        with file.open("a") as f:
            f.write("[[1.5, 2")  # as if power went while a line was written
        assert seen == [1, 2, 3] and file.read_text().count("\n") == 4
        again = sb.perplexity([a, b], TEXT, n_ctx=64, resume=file)
        assert [r.running for r in again.results] == [r.running for r in whole.results]
        before = file.read_bytes()
        assert sb.perplexity([a, b], TEXT, n_ctx=64, resume=file).results[0].ppl == whole.results[0].ppl
        assert file.read_bytes() == before
        with pytest.raises(sb.SubbyteError, match=r"run\.jsonl: is of another run \(n_ctx is 64 there, 32 here\)"):
            sb.perplexity([a, b], TEXT, n_ctx=32, resume=file)
        with pytest.raises(sb.SubbyteError, match=r"of another run \(model 1 is '1\.gguf'"):
            sb.perplexity([b, a], TEXT, n_ctx=64, resume=file)


@pytest.mark.parametrize("content", ["hello\n", "[1]\n", "{}\n", "\xff\xfe\n", "[" * 100_000 + "\n"])
def test_a_file_that_is_no_run(content: str, pair: list[Path], tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.write_bytes(content.encode("latin-1"))
    with sb.load(pair[0]) as a, pytest.raises(sb.SubbyteError, match="give another file"):
        sb.perplexity(a, TEXT, n_ctx=64, resume=file)
    assert file.read_bytes() == content.encode("latin-1")
