"""Checkpoints of measurements: resumed after a kill at any byte, by content, and never over a file of another kind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import LLAMA, write_model, write_two_types

import subbyte as sb

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 3000).tolist())
N_CTX, CHUNKS = 48, 4
FORMAT = b'{"format": "subbyte-'  # what tells a checkpoint from other JSON
SIZES: dict[str, Any] = {"n_ctx": N_CTX, "chunks": CHUNKS}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_two_types(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def models(paths: list[Path]) -> Iterator[list[sb.Model]]:
    opened = [sb.load(path, threads=1) for path in paths]
    yield opened
    for model in opened:
        model.close()


def measure_perplexity(models: list[sb.Model], resume: Path | None) -> Any:
    found = sb.perplexity(models, TEXT, **SIZES, resume=resume)
    return [(of.ppl, of.error, of.running) for of in found.results], found.delta(1, 0)


def measure_compare(models: list[sb.Model], resume: Path | None) -> Any:
    found = sb.compare(models[0], models[1:], TEXT, **SIZES, resume=resume)
    return found.results, found.chunks


def measure_layers(models: list[sb.Model], resume: Path | None) -> Any:
    found = sb.compare(models[0], models[1:], TEXT, **SIZES, layers=True, resume=resume)
    return found.results, found.layers


def measure_blame(models: list[sb.Model], resume: Path | None) -> Any:
    found = sb.blame(models[0], models[1], TEXT, n_ctx=N_CTX, chunks=2, resume=resume)
    return found.groups, found.whole, found.chunks


def measure_imatrix(models: list[sb.Model], resume: Path | None) -> Any:
    found = sb.imatrix(models[0], TEXT, **SIZES, process_output=True, datasets=["t"], resume=resume)
    sums = {name: of.tolist() for name, of in found.sums.items()}
    return found.digest(), sums, found.chunk_count


Measure = Callable[[list[sb.Model], Path | None], Any]
MEASUREMENTS: dict[str, Measure] = {
    "perplexity": measure_perplexity,
    "compare": measure_compare,
    "layers": measure_layers,
    "blame": measure_blame,
    "imatrix": measure_imatrix,
}


@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
@pytest.mark.thorough
def test_what_a_kill_leaves_resumes_to_the_same_figures(
    measure: Measure, models: list[sb.Model], tmp_path: Path
) -> None:
    """A kill leaves a file cut at any byte; here at line ends, beside them, and in the middle of lines."""
    file = tmp_path / "run"
    expected = measure(models, None)
    assert measure(models, file) == expected
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = np.cumsum([len(line) for line in lines]).tolist()
    cuts = {0, len(FORMAT), ends[0] - 1, ends[0], ends[1] - 1, ends[1], ends[1] + 9, ends[-1] - 9}
    for cut in sorted(cuts):
        file.write_bytes(whole[:cut])
        assert measure(models, file) == expected
        assert file.read_bytes() == whole


@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_what_is_done_is_not_measured_again(
    measure: Measure, models: list[sb.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run"
    expected = measure(models, file)
    before = file.read_bytes()

    def measured(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("subbyte.runtime.session.session.Session._run", measured)
    monkeypatch.setattr("subbyte.runtime.evaluation.forward.Forward._step", measured)
    assert measure(models, file) == expected
    assert file.read_bytes() == before


COMMANDS = {
    "perplexity": ["perplexity", "a.gguf", "b.gguf", "-f", "text", "-c", "48", "--resume", "run", "-o", "json"],
    "compare": ["compare", "a.gguf", "b.gguf", "-f", "text", "-c", "48", "--resume", "run", "-o", "json"],
    "imatrix": ["imatrix", "a.gguf", "out.gguf", "-f", "text", "-c", "48", "--resume", "run", "--overwrite"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.thorough
def test_a_killed_process_resumes_to_the_same_figures(command: list[str], paths: list[Path], tmp_path: Path) -> None:
    for path in paths:
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "text").write_bytes(TEXT)
    start = [sys.executable, "-c", RUN, *command]

    def figures() -> Any:
        done = subprocess.run(start, cwd=tmp_path, capture_output=True, text=True, check=True)
        if command[0] == "imatrix":
            return sb.Imatrix.open(tmp_path / "out.gguf").digest()
        return without_times(json.loads(done.stdout))

    file = tmp_path / "run"
    expected = figures()
    whole = file.read_bytes()
    for wanted in (1, 2, 5):
        file.unlink()
        with subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not is_that_far(file, wanted):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert figures() == expected and file.read_bytes() == whole


RUN = "import sys; from subbyte.cli.main import run; sys.exit(run(sys.argv[1:]))"


def is_that_far(file: Path, n_lines: int) -> bool:
    """Whether a run's file has so many lines; one of imatrix never has more than two."""
    data = file.read_bytes() if file.exists() else b""
    return data.count(b"\n") >= (min(n_lines, 2) if b"subbyte-imatrix" in data else n_lines)


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(of) for key, of in value.items() if key != "seconds"}
    return [without_times(of) for of in value] if isinstance(value, list) else value


# ---- files that are no checkpoint


@pytest.mark.parametrize(
    "content",
    [
        b"a note without a newline",
        b"{",
        b'{"format": "',
        b"a note\nof two lines",
        b"\n\n",
        b"[1]\n",
        b"{}\n",
        b"null\n",
        b'{"format": 3}\n',
        b'{"format": "subbyte-perplexity"}\n',
        b'{"format": "subbyte-perplexity", "version": 1, "models": []}\n[[1.5]]\n',
        b"\xff\xfe\n",
        b"[" * 100_000 + b"\n",
        b"9" * 5000 + b"\n",
        b"x" * (1 << 21),
        TEXT,
    ],
    ids=lambda content: repr(content[:30]),
)
def test_another_file_is_refused_and_stays_as_it_is(content: bytes, models: list[sb.Model], tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_bytes(content)
    for measure in MEASUREMENTS.values():
        with pytest.raises(sb.SubbyteError, match=r"mine: .*; give another file$"):
            measure(models, file)
        assert file.read_bytes() == content


def test_a_model_is_refused_and_stays_as_it_is(models: list[sb.Model], paths: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copy(paths[0], copy)
    for file in (copy, paths[0]):
        before = file.read_bytes()
        with pytest.raises(sb.SubbyteError, match="is no checkpoint of a measurement; give another file"):
            measure_perplexity(models, file)
        assert file.read_bytes() == before


def test_what_is_no_regular_file_is_refused(models: list[sb.Model], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for file in (fifo, Path("/dev/full"), Path("/dev/zero"), Path("/dev/null"), tmp_path):
        with pytest.raises(sb.SubbyteError, match="not a regular file; give another file"):
            measure_perplexity(models, file)


def test_an_empty_file_and_a_file_that_is_not_there_take_a_run(models: list[sb.Model], tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    measure_perplexity(models, empty)
    measure_perplexity(models, tmp_path / "new")
    assert empty.read_bytes() == (tmp_path / "new").read_bytes()
    with pytest.raises(sb.ResourceError, match="No such file or directory; give another file"):
        measure_perplexity(models, tmp_path / "no" / "folder")


def test_a_file_that_was_replaced_meanwhile_is_not_written_to(models: list[sb.Model], tmp_path: Path) -> None:
    file = tmp_path / "run"

    def replace(_: object) -> None:
        file.write_bytes(b"precious")

    with pytest.raises(sb.SubbyteError, match="run: was changed meanwhile, maybe by another run"):
        sb.perplexity(models, TEXT, **SIZES, resume=file, on_chunk=replace)
    assert file.read_bytes() == b"precious"


# ---- checkpoints with other values


def edited(file: Path, line: int, edit: Callable[[Any], Any]) -> None:
    lines = file.read_text().splitlines()
    lines[line] = json.dumps(edit(json.loads(lines[line])))
    file.write_text("\n".join(lines) + "\n")


BAD_VALUES = [None, True, "1.5", [1.5], {}, 10**400, float("nan"), float("inf"), -float("inf"), -5.0, 1e39, 1e308]


@pytest.mark.parametrize("bad", BAD_VALUES, ids=lambda bad: str(bad)[:8])
@pytest.mark.parametrize("name", ["perplexity", "compare", "imatrix"])
def test_values_that_nothing_measures(name: str, bad: Any, models: list[sb.Model], tmp_path: Path) -> None:
    if name == "imatrix" and bad in (1e39, 1e308):
        return  # squares may be large
    measure, file = MEASUREMENTS[name], tmp_path / "run"
    measure(models, file)

    def with_bad(figures: Any) -> Any:
        figures[1 if name == "imatrix" else 0][2] = bad
        return figures

    edited(file, 1, with_bad)
    before = file.read_bytes()
    with pytest.raises(
        sb.SubbyteError, match="run: line 2 does not hold figures of this run, the file is damaged; give"
    ):
        measure(models, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "edit", [lambda x: x[:-1], lambda x: [*x, x[0]], lambda x: [x], lambda x: x[0][:1], lambda x: 3]
)
@pytest.mark.parametrize("name", ["perplexity", "compare", "imatrix"])
def test_records_of_another_shape(
    name: str, edit: Callable[[Any], Any], models: list[sb.Model], tmp_path: Path
) -> None:
    measure, file = MEASUREMENTS[name], tmp_path / "run"
    measure(models, file)
    edited(file, 1, edit)
    with pytest.raises(sb.SubbyteError, match="line 2 does not hold figures of this run"):
        measure(models, file)


def test_counts_of_an_importance_matrix(models: list[sb.Model], tmp_path: Path) -> None:
    file = tmp_path / "run"
    measure_imatrix(models, file)
    whole = file.read_bytes()
    for count in (0, 1.5, -1, 1e300):
        file.write_bytes(whole)
        edited(file, 1, lambda x, count=count: [[count, *x[0][1:]], *x[1:]])
        with pytest.raises(sb.SubbyteError, match="line 2 does not hold figures of this run"):
            measure_imatrix(models, file)
    file.write_bytes(whole)
    with pytest.raises(sb.SubbyteError, match="holds sums over 4 chunks, 2 were asked for"):
        sb.imatrix(models[0], TEXT, n_ctx=N_CTX, chunks=2, process_output=True, resume=file)


# ---- what is another run


def test_a_model_that_was_touched_moved_or_renamed_is_the_same(
    models: list[sb.Model], paths: list[Path], tmp_path: Path
) -> None:
    expected = measure_perplexity(models, tmp_path / "run")
    os.utime(shutil.copy(paths[0], tmp_path / "other.gguf"), (1, 1))
    with sb.load(tmp_path / "other.gguf", threads=1) as copy:
        assert measure_perplexity([copy, models[1]], tmp_path / "run")[0] == expected[0]


def test_a_model_with_an_equal_header_and_other_weights_is_another(models: list[sb.Model], tmp_path: Path) -> None:
    write_model(tmp_path / "a.gguf", shape=LLAMA, types=["F32"], seed=1)
    measure_perplexity(models, tmp_path / "run")
    with sb.load(tmp_path / "a.gguf", threads=1) as other:
        assert other.gguf.size == models[0].gguf.size
        with pytest.raises(sb.SubbyteError, match=r"of another run \(model 1 is"):
            measure_perplexity([other, models[1]], tmp_path / "run")


def test_the_message_names_the_one_thing_that_differs(
    models: list[sb.Model], paths: list[Path], tmp_path: Path
) -> None:
    file = tmp_path / "run"
    measure_perplexity(models, file)
    a, b = (path.stat().st_size for path in paths)

    def refusal(models: list[sb.Model], text: bytes = TEXT, **others: Any) -> str:
        with pytest.raises(sb.SubbyteError) as caught:
            sb.perplexity(models, text, **{**SIZES, **others}, resume=file)
        return str(caught.value).removeprefix(f"{file}: ")

    assert refusal(models, n_ctx=32) == "is of another run (n_ctx is 48 there, 32 here); give another file"
    assert refusal(models, stride=8) == "is of another run (stride is none there, 8 here); give another file"
    assert refusal(models, activations="int8") == (
        "is of another run (activations is 'int8x2' there, 'int8' here); give another file"
    )
    assert refusal(models, TEXT[1:]).startswith("is of another run (the text's sha256 is '")
    assert refusal(models[:1]).startswith(f"is of another run (model 2 is 'b.gguf' ({b} bytes, sha256 '")
    assert refusal(models[:1]).endswith("') there, missing here); give another file")
    swapped = refusal([models[1], models[1]])
    assert (
        swapped.startswith(f"is of another run (model 1 is 'a.gguf' ({a} bytes") and f"'b.gguf' ({b} bytes" in swapped
    )
    with sb.load(paths[0], threads=1, override_kv={"llama.rope.freq_base": 500.0}) as model:
        named = "override_kv llama.rope.freq_base of model 1"
        assert refusal([model, models[1]]) == (
            f"is of another run ({named} is missing there, 500.0 here); give another file"
        )
    with pytest.raises(sb.SubbyteError, match="is a checkpoint of 'subbyte-perplexity', 'subbyte-compare' is needed"):
        measure_compare(models, file)


def test_the_message_stays_short_whatever_the_file_says(models: list[sb.Model], tmp_path: Path) -> None:
    file = tmp_path / "run"
    measure_perplexity(models, file)
    head, *records = file.read_bytes().splitlines(keepends=True)
    nested: object = 1
    for _ in range(500):
        nested = {"bytes": nested}
    for value in (nested, "x" * 100_000, {"name": "x", "bytes": [1] * 10_000, "sha256": ""}):
        header = {**json.loads(head), "model 1": value}
        file.write_bytes(b"".join([json.dumps(header).encode(), b"\n", *records]))
        with pytest.raises(sb.SubbyteError, match="is of another run") as caught:
            measure_perplexity(models, file)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("edit", ["missing", "extra"])
def test_a_null_that_is_missing_or_too_much(edit: str, models: list[sb.Model], tmp_path: Path) -> None:
    file = tmp_path / "run"
    measure_perplexity(models, file)

    def change(header: dict[str, Any]) -> dict[str, Any]:
        if edit == "extra":
            return {**header, "extra": None}
        return {key: value for key, value in header.items() if key != "stride"}

    edited(file, 0, change)
    expected = {"missing": "stride is missing there, none here", "extra": "extra is none there, missing here"}[edit]
    with pytest.raises(sb.SubbyteError, match=expected):
        measure_perplexity(models, file)


def test_fewer_and_more_chunks_than_before(models: list[sb.Model], tmp_path: Path) -> None:
    file = tmp_path / "run"
    sb.perplexity(models, TEXT, n_ctx=N_CTX, chunks=3, resume=file)
    before = file.read_bytes()
    fewer = sb.perplexity(models[:], TEXT, n_ctx=N_CTX, chunks=2, resume=file)
    assert fewer.results[0].running == sb.perplexity(models[0], TEXT, n_ctx=N_CTX, chunks=2).running
    assert file.read_bytes() == before
    assert sb.perplexity(models, TEXT, n_ctx=N_CTX, chunks=5, resume=file).results[0].chunks == 5


def test_a_base_file_is_compared_by_content(models: list[sb.Model], tmp_path: Path) -> None:
    base, file = tmp_path / "base", tmp_path / "run"
    sb.compare(models[0], models[1], TEXT, **SIZES, save_base=base)
    with sb.BaseFile(base) as opened:
        first = sb.compare(opened, models[1], chunks=2, resume=file)
    os.utime(base, (1, 1))
    with sb.BaseFile(base) as opened:
        assert sb.compare(opened, models[1], chunks=2, resume=file).results == first.results
    with pytest.raises(ValueError, match="give save_base or resume, not both"):
        sb.compare(models[0], models[1], TEXT, save_base=base, resume=file)


@pytest.mark.thorough
def test_a_report_goes_on_from_the_chunks_of_its_kind(
    paths: list[Path], models: list[sb.Model], tmp_path: Path
) -> None:
    options: dict[str, Any] = {**SIZES, "prompt": 8, "generate": 2, "repeats": 1, "threads": 1}
    measure_compare(models, tmp_path / "run")
    found = sb.report(paths[1:], TEXT, **options, base=paths[0], resume=tmp_path / "run")
    expected = sb.compare(models[0], models[1], TEXT, **SIZES)
    assert found.rows[0].divergence.kld == expected.results[0].kld
    with pytest.raises(sb.SubbyteError, match="is a checkpoint of 'subbyte-compare'"):
        sb.report(paths, TEXT, **options, resume=tmp_path / "run")


# ---- logits that are huge and finite


def test_losses_that_no_perplexity_has_are_an_error(tmp_path: Path) -> None:
    weights = write_model(tmp_path / "m.gguf", shape=LLAMA, types=["F32"])
    huge = {"output.weight": weights["output"] * np.float32(1e30)}
    write_model(tmp_path / "huge.gguf", shape=LLAMA, types=["F32"], tensors=huge)
    message = r"huge\.gguf: the mean loss of a chunk is \S+ nats a token, from 0 to 300 are allowed"
    with sb.load(tmp_path / "huge.gguf", threads=1) as model, sb.load(tmp_path / "m.gguf", threads=1) as good:
        with pytest.raises(sb.NumericError, match=message):
            sb.perplexity(model, TEXT, **SIZES)
        for base, other in ((model, good), (good, model)):
            with pytest.raises(sb.NumericError, match=message):
                sb.compare(base, other, TEXT, **SIZES)
