"""Ray: killed workers give the figures of one process, actors share the mapped file, `--ray` is quiet and ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import ROOT
from ray_workers import kill_one, shares
from tiny_models import LLAMA, write_model

import subbyte as sb

os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_DEDUP_LOGS_SKIP_REGEX="^")  # which Ray reads when it is imported
pytest.importorskip("ray")
pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]  # Ray's own

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 60_000).tolist())
N_CTX = 256
SHAPE = {**LLAMA, "n_embd": 256, "head_dim": 64, "n_ff": 512}
GREEDY = sb.Sampling(temperature=0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, shape=SHAPE)
    path.with_name("text").write_bytes(TEXT)
    return path


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with two CPUs, whatever the machine has, and as quiet as `RayWorkers` starts it."""
    import ray

    ray.init(num_cpus=2, address="local", include_dashboard=False, log_to_driver=False, logging_level="FATAL")
    yield ray
    ray.shutdown()


def test_where_no_cluster_is_a_line_says_so() -> None:
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9", "nonsense"):
        with pytest.raises(sb.ResourceError, match=rf"^can't connect to Ray at '{address}': \S"):
            sb.RayWorkers(address)


def test_killed_workers_give_the_figures_of_one_process(path: Path, ray: Any, tmp_path: Path) -> None:
    expected = sb.perplexity(path, TEXT, n_ctx=N_CTX)
    choose, killed, options = random.Random(0), 0, sb.EvalOptions(N_CTX)
    with (
        sb.RayWorkers(threads=1) as workers,
        sb.PerplexityMeasurement(path, TEXT, options, workers=workers, resume=tmp_path / "run") as measurement,
    ):
        assert (workers.n_workers, workers.threads) == (2, 1)
        for chunk in measurement:
            killed += killed < 4 and chunk.index % 8 == 1 and kill_one(choose)
        found = measurement.result().results[0]
    assert killed and ray.is_initialized()  # as it was
    assert (found.ppl, found.error, found.interval, found.running) == (
        expected.ppl, expected.error, expected.interval, expected.running
    )  # fmt: skip
    assert sb.perplexity(path, TEXT, n_ctx=N_CTX, resume=tmp_path / "run").running == expected.running


def test_what_is_wrong_with_a_file_is_said(path: Path, ray: Any, tmp_path: Path) -> None:
    copy = tmp_path / "m.gguf"
    copy.write_bytes(path.read_bytes())
    with sb.RayWorkers(threads=1) as workers, sb.load(copy) as model:
        copy.unlink()
        with pytest.raises(sb.ModelNotFound, match=r"^worker on .*: no file and no model named .*m\.gguf"):
            sb.perplexity(model, TEXT, n_ctx=N_CTX, workers=workers)
        write_model(copy, shape=SHAPE, seed=1)
        with pytest.raises(
            sb.SubbyteError, match=r"^worker on .*: other files .*: model 1 is 'm\.gguf' .*; put the same"
        ):
            sb.perplexity(model, TEXT, n_ctx=N_CTX, workers=workers)


def test_actors_share_the_mapped_file(path: Path, ray: Any) -> None:
    (rss, pss), *_ = shares(path, ["in the inn", "then"], 1)
    assert rss >= 0.9 * path.stat().st_size and pss >= 0.9 * rss
    both = shares(path, ["in the inn", "then"], 2)
    assert sum(pss for _, pss in both) <= 1.05 * rss and min(rss for rss, _ in both) >= 0.9 * path.stat().st_size


def test_map_batches(path: Path, ray: Any) -> None:
    prompts = ["the thing", "in another", "on", "the " * 4000] * 3
    with sb.load(path) as model:
        expected = [model.generate(prompt, max_tokens=4, sampling=GREEDY).run().text for prompt in prompts[:3]]
    given = {"model": str(path), "max_tokens": 4, "sampling": GREEDY}
    rows = ray.data.from_items([{"id": i, "prompt": prompt} for i, prompt in enumerate(prompts)])
    ray.data.DataContext.get_current().enable_progress_bars = False
    answered = rows.map_batches(sb.GenerateRows, fn_constructor_kwargs=given, concurrency=2, batch_size=4)
    vectors = answered.map_batches(
        sb.EmbedRows, fn_constructor_kwargs={"model": str(path), "text": "answer", "error": "no_vector"}, concurrency=1,
        batch_format="pandas",
    )  # fmt: skip
    found = sorted(vectors.take_all(), key=lambda row: row["id"])
    assert [row["answer"] for row in found] == [*expected, None] * 3
    assert [bool(row["error"]) for row in found] == [False, False, False, True] * 3
    assert all(len(row["embedding"]) == SHAPE["n_embd"] for row in found)


def test_conversations_with_tools(path: Path, ray: Any) -> None:
    talks = [
        [{"role": "user", "content": "the"}],
        [{"role": "system", "content": "on"}, {"role": "user", "content": "in", "name": "x"}],
    ]
    rows = ray.data.from_items([{"messages": talk} for talk in talks])
    given = {"model": str(path), "max_tokens": 4, "sampling": GREEDY, "activations": "int8"}
    found = rows.map_batches(sb.ChatRows, fn_constructor_kwargs=given, concurrency=1).take_all()
    expected = sb.ChatRows(path, max_tokens=4, sampling=GREEDY, activations="int8")({"messages": talks})
    assert sorted(row["answer"] for row in found) == sorted(expected["answer"])
    assert [row["error"] for row in found] == [None, None]


def test_ray_rows(path: Path) -> None:
    path.with_name("lines").write_text("the thing\nin another\n")
    found = subprocess.run(
        [sys.executable, str(ROOT / "examples/ray_rows.py"), "m.gguf", str(path.with_name("lines"))],
        cwd=path.parent, env={**os.environ, "RAY_ADDRESS": "local"}, capture_output=True, text=True, check=True,
        timeout=200,
    )  # fmt: skip
    lines = [line.partition(" -> ")[0] for line in found.stdout.splitlines() if " -> " in line]
    assert sorted(lines) == ["in another", "the thing"]


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", *arguments]
    return subprocess.Popen(
        command, cwd=path.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_the_command_prints_what_it_prints_alone(path: Path) -> None:
    write_model(path.with_name("q.gguf"), shape=SHAPE, types=["Q8_0"])
    shared = "m.gguf q.gguf -f text -c 256 --chunks 9 --blame part -o json".split()
    results = []
    for more in ([], ["-t", "1", "--ray"]):
        with start(path, "compare", *shared, *more) as process:
            out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        results.append(json.loads(out, object_hook=without_times))
    assert results[0] == results[1]


def without_times(facts: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key not in ("seconds", "command")}


def test_an_interrupt_ends_the_remote_work(path: Path) -> None:
    path.with_name("long").write_bytes(TEXT * 20)
    arguments = ["perplexity", "m.gguf", "-f", "long", "-c", "256", "-t", "1", "--resume", "run"]
    with start(path, *arguments, "--ray") as process:
        assert process.stdout and process.stdout.read(3) == "[1]"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert process.returncode == 130 and "PPL = " in out
    assert err.startswith("subbyte: interrupted: results of ") and err.count("\n") == 1
    kept = len(path.with_name("run").read_bytes().splitlines()) - 1
    chunks = str(kept + 2)
    with start(path, *arguments, "--chunks", chunks, "-o", "json") as process:
        out, err = process.communicate()
    assert err == ""
    expected = sb.perplexity(path, TEXT * 20, n_ctx=N_CTX, chunks=kept + 2)
    assert json.loads(out)["results"][0]["ppl"] == expected.ppl
