"""`subbyte bench`: what a run asks of the machine is counted right, figures and shares agree, whatever they are."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import GEMMA3, LLAMA, N_VOCAB, write_model
from tiny_synthetic import TINY, TINY_MOE

import subbyte as sb
from subbyte.errors import ModelNotFound, ResourceError
from subbyte.models._graph import attended
from subbyte.runtime.bench import roofline
from subbyte.runtime.bench.cost import Cost, generation_cost, prompt_cost
from subbyte.runtime.bench.result import Case, Measured, Run
from subbyte.runtime.bench.roofline import Roofline, combine
from subbyte.runtime.inspect.mixture import mixture
from subbyte.runtime.machine import cpu_name
from subbyte.runtime.synthetic.write import SHAPES, Synthetic, write


@pytest.fixture(autouse=True)
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures don't matter here."""
    monkeypatch.setattr(roofline, "SECONDS", 1e-3)
    monkeypatch.setattr(roofline, "READ_BYTES", 1 << 20)
    monkeypatch.setattr(os, "sysconf", lambda _: 0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    write_model(path, types=["Q4_0", "Q8_0"])
    return path


# ---- the work of a run


@pytest.mark.parametrize("window", [0, 1, 7, 10, 12, 100])
@pytest.mark.parametrize("n, depth", [(1, 0), (1, 9), (5, 0), (5, 8), (20, 3)])
def test_positions_looked_at(n: int, depth: int, window: int) -> None:
    each = [min(pos + 1, window or pos + 1) for pos in range(depth, depth + n)]
    assert attended(n, depth, window) == sum(each)


def matrices(shape: dict[str, int]) -> int:
    """Weights of all layers' matrices."""
    q, kv = shape["n_head"] * shape["head_dim"], shape["n_head_kv"] * shape["head_dim"]
    return shape["n_layer"] * shape["n_embd"] * (2 * q + 2 * kv + 3 * shape["n_ff"])


def test_work_of_a_prompt(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["Q8_0"])
    head, attention = N_VOCAB * 64, 2 * 2 * 4 * 16  # multiply-adds of a token; of a pair of positions in both layers
    pairs = 11 + 12 + 13
    with sb.load(tmp_path / "m.gguf") as model:
        work = prompt_cost(model, 3, 10, "f16", "int8")
        assert work.int8_macs == 3 * matrices(LLAMA) + head
        assert work.float_macs == pairs * attention
        assert work.n_bytes == (matrices(LLAMA) + head) * 34 // 32 + 13 * 2 * 2 * (2 * 16) * 2
        twice = prompt_cost(model, 3, 10, "f32", "int8x2")
        assert (twice.int8_macs, twice.float_macs) == (2 * work.int8_macs, work.float_macs)
        assert twice.n_bytes - work.n_bytes == 13 * 2 * 2 * (2 * 16) * 2
        floats = prompt_cost(model, 3, 10, "f16", "float32")
        assert (floats.int8_macs, floats.float_macs) == (0, work.int8_macs + work.float_macs)


def test_bf16_weights_meet_bf16_activations_unless_told_otherwise(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["BF16"])
    macs = 3 * matrices(LLAMA) + N_VOCAB * 64
    with sb.load(tmp_path / "m.gguf") as model:
        assert prompt_cost(model, 3, 0, "f16", "int8").bf16_macs == macs
        floats = prompt_cost(model, 3, 0, "f16", "int8x2")
    assert (floats.bf16_macs, floats.float_macs) == (0, macs + 6 * 2 * 2 * 4 * 16)


def test_work_of_a_generation_reads_the_weights_for_each_token(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["F16"])
    with sb.load(tmp_path / "m.gguf") as model:
        work = generation_cost(model, 3, 10, "f16", "int8")
    weights = matrices(LLAMA) + N_VOCAB * 64
    assert work.n_bytes == 3 * 2 * weights + (11 + 12 + 13) * 2 * 2 * (2 * 16) * 2
    assert (work.int8_macs, work.float_macs) == (0, 3 * weights + (11 + 12 + 13) * 2 * 2 * 4 * 16)


def test_work_of_tied_embeddings_and_of_windows(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "gemma3", types=["Q8_0"])
    with sb.load(tmp_path / "m.gguf") as model:
        work = generation_cost(model, 1, 99, "f16", "int8")
    weights = matrices(GEMMA3) + N_VOCAB * 64
    positions = 6 * 8 + 100  # six layers with a window of 8, one without
    assert work == Cost(weights * 34 // 32 + positions * 2 * 32 * 2, weights, positions * 2 * 4 * 32, 0)


def test_tensors_that_the_model_does_not_use_are_no_work(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", types=["Q8_0"], tensors={"extra.weight": np.ones((64, 64), np.int32)})
    with sb.load(tmp_path / "m.gguf") as model:
        assert generation_cost(model, 1, 0, "f16", "int8").int8_macs == matrices(LLAMA) + N_VOCAB * 64


def test_work_of_experts_is_that_of_those_that_tokens_go_to(tmp_path: Path) -> None:
    """One token reads what inspect says; many read as many experts as tokens that choose alike would reach."""
    write(Synthetic(TINY_MOE, "Q8_0"), tmp_path / "m.gguf")
    with sb.load(tmp_path / "m.gguf") as model:
        one, many = (prompt_cost(model, n, 0, "f16", "int8") for n in (1, 5))
        vectors = sum(t.n_bytes for t in model.gguf.tensors.values() if len(t.shape) == 1)
        found = mixture(model.gguf)
        weights = 3 * 256 * 256 * 2  # of an expert of each layer
    assert found is not None and one.n_bytes == found.active_bytes - vectors + 2 * 2 * 2 * 64 * 2
    distinct = 4 * (1 - (1 - 2 / 4) ** 5)
    assert many.n_bytes - one.n_bytes == (distinct - 2) * weights * 34 // 32 + 4 * 2 * 2 * 2 * 64 * 2
    assert many.int8_macs - one.int8_macs == 4 * (2 * weights + 2 * 256 * 64 * 12)


# ---- figures


def test_the_limit_is_the_longer_of_reading_and_computing() -> None:
    roofline = Roofline(bandwidth=10.0, int8_macs=100.0, float_macs=20.0, bf16_macs=40.0)
    assert Cost(50, 100, 20, 80).seconds(roofline) == 5 and Cost(50, 100, 20, 80).bound_by(roofline) == "memory"
    assert Cost(50, 300, 40, 80).seconds(roofline) == 7 and Cost(50, 300, 40, 80).bound_by(roofline) == "compute"


def test_median_spread_and_share() -> None:
    slow, fast = Roofline(10.0, 1e9, 1e9, 1e9), Roofline(20.0, 1e9, 1e9, 1e9)
    measured = Measured(
        Case("generation", 12, 0, 1), Cost(40, 1, 1, 1), (Run(6, slow), Run(4, fast), Run(12, slow))
    )  # fmt: skip
    assert (measured.rate, measured.spread) == (2, 1)
    assert measured.share == 0.5  # 4 of 6, 2 of 4, 4 of 12 seconds
    assert measured.roofline == slow and combine([slow, fast], max) == fast


def test_names_are_llama_benchs() -> None:
    assert Case("prompt", 512, 0, 1).name == "pp512"
    assert Case("generation", 64, 2048, 1).name == "tg64 @ d2048"


def test_every_case_is_run_in_turns(tiny: Path) -> None:
    told: list[tuple[str, int, int]] = []
    result = sb.bench(
        tiny, prompt=[8, 8], generate=[3], depth=[0, 5], threads=[1, 2], repeats=2,
        on_progress=lambda *step: told.append(step),
    )  # fmt: skip
    names = [(of.case.name, of.case.threads) for of in result.measured]
    cases = ("pp8", "tg3", "pp8 @ d5", "tg3 @ d5")
    assert names == [(name, threads) for threads in (1, 2) for name in cases]
    assert all(len(of.runs) == 2 for of in result.measured)
    rounds = [what.rpartition(", ")[2] for what, _, _ in told]
    assert [r for r in rounds if r.startswith("run")] == ["run 1 of 2"] * 8 + ["run 2 of 2"] * 8
    assert told[-1][1] == told[-1][2] and [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_the_dict_holds_what_the_figures_are_made_of(tiny: Path) -> None:
    facts = sb.bench(tiny, prompt=[8], generate=[3], repeats=3, activations="int8x2", cache_type="f32").to_dict()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["activations"], facts["cache_type"], facts["repeats"]) == ("int8x2", "f32", 3)
    assert (facts["isa"], facts["types"].keys()) == (sb.load(tiny).isa, {"Q4_0", "Q8_0", "F32"})
    for test in facts["tests"]:
        rates = [test["n_tokens"] / run["seconds"] for run in test["runs"]]
        assert test["tokens_per_second"] == statistics.median(rates)
        assert facts["mixture"] is None
        assert test["share_of_roofline"] == pytest.approx(statistics.median(map(share_of(test["cost"]), test["runs"])))


def share_of(cost: dict[str, int]) -> Any:
    def share(run: dict[str, Any]) -> float:
        roofline = run["roofline"]
        computing = sum(cost[macs] / roofline[macs] for macs in ("int8_macs", "float_macs", "bf16_macs"))
        return max(cost["n_bytes"] / roofline["bandwidth"], computing) / float(run["seconds"])

    return share


@pytest.mark.parametrize(
    "arguments, found",
    [
        ({"prompt": [0]}, "0 tokens of a prompt; at least 1 is needed"),
        ({"generate": [-1]}, "-1 tokens to generate"),
        ({"depth": [-1]}, "-1 tokens of depth; at least 0 is needed"),
        ({"repeats": 0}, "0 repeats"),
        ({"prompt": [], "generate": []}, "nothing to measure"),
        ({"depth": []}, "nothing to measure"),
        ({"threads": []}, "nothing to measure"),
        ({"threads": [1000]}, "1000 threads; allowed are 1 to 256"),
        ({"activations": "int4"}, "int4"),
        ({"cache_type": "f8"}, "f8"),
    ],
)
def test_arguments_out_of_range(tiny: Path, arguments: dict[str, Any], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        sb.bench(tiny, **arguments)


def test_models_and_sizes_that_cannot_be(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound):
        sb.bench(tmp_path / "none.gguf")
    with pytest.raises(ResourceError, match="ask for a smaller one"):
        sb.bench(tiny, depth=[10**12])


def test_more_is_read_than_a_cache_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "available_memory", lambda: 1 << 40)
    assert roofline._read_bytes() == 1 << 20
    monkeypatch.setattr(os, "sysconf", lambda _: 1 << 30)
    assert roofline._read_bytes() == 1 << 32
    monkeypatch.setattr(roofline, "available_memory", lambda: 1 << 30)
    assert roofline._read_bytes() == 1 << 28


def test_the_name_of_the_processor(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nmodel name\t: Some CPU @ 1 GHz: fast\n")
    assert cpu_name(tmp_path) == "Some CPU @ 1 GHz: fast"
    (tmp_path / "proc/cpuinfo").write_text("CPU part : 0xd0c\n")
    assert cpu_name(tmp_path) != ""


# ---- the command


def small(*more: str) -> tuple[str, ...]:
    return ("-p", "4", "-n", "2", "-t", "1", "-r", "2", *more)


def test_the_table_fits_a_terminal(command_line: Any, tiny: Path) -> None:
    code, out, err = command_line("bench", str(tiny), *small("-d", "0,3"))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "tiny llama" and lines[1].startswith("llama, 96.1k weights at ")
    assert lines[4].split() == ["test", "threads", "tokens/s", "±", "%", "of", "roofline", "bound", "by"]
    assert [line.split("  ")[0] for line in lines[5:9]] == ["pp4", "tg2", "pp4 @ d3", "tg2 @ d3"]
    assert lines[10].startswith("1 thread reaches ")
    assert all(len(line) <= 80 for line in lines)


def test_csv_has_a_line_a_test(command_line: Any, tiny: Path) -> None:
    code, out, err = command_line("bench", str(tiny), *small("-o", "csv"))
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, err) == (0, "")
    assert [(row["test"], row["kind"], row["n_tokens"], row["threads"]) for row in rows] == [
        ("pp4", "prompt", "4", "1"),
        ("tg2", "generation", "2", "1"),
    ]
    assert all(float(row["tokens_per_second"]) > 0 and float(row["share_of_roofline"]) > 0 for row in rows)
    assert rows[0]["model"] == "tiny llama" and None not in rows[0].values()


def test_json_tells_how_to_do_it_again(command_line: Any, tiny: Path) -> None:
    args = ("bench", str(tiny), *small("-o", "json"))
    code, out, err = command_line(*args)
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert shlex.split(facts["command"]) == ["subbyte", *args]
    assert facts["model"]["path"] == str(tiny) and facts["cpu"] and facts["version"]
    assert [test["name"] for test in facts["tests"]] == ["pp4", "tg2"]


def test_sizes_of_zero_leave_tests_out(command_line: Any, tiny: Path) -> None:
    out = command_line("bench", str(tiny), *small("-n", "0", "-p", "4,6", "-o", "json"))[1]
    assert [test["name"] for test in json.loads(out)["tests"]] == ["pp4", "pp6"]


def test_a_random_model_is_written_measured_and_deleted(
    command_line: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, "tiny", TINY)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code, out, err = command_line("bench", "--synthetic", "tiny:q4_k_m:1", *small())
    assert (code, err) == (0, "") and out.startswith("tiny's shape, Q4_K_M, 1 layer\nllama, ")
    assert not list(tmp_path.iterdir())
    kept = tmp_path / "kept.gguf"
    assert command_line("bench", "--synthetic", "tiny:IQ1_S", "--keep", str(kept), *small("-o", "csv"))[0] == 0
    assert [*tmp_path.iterdir()] == [kept]
    assert command_line("inspect", str(kept))[0] == 0


@pytest.mark.parametrize(
    "args, code, found",
    [
        ((), 2, "give either MODEL or --synthetic SHAPE:TYPE"),
        (("m.gguf", "--synthetic", "llama-3-8b:Q4_K"), 2, "give either MODEL or --synthetic"),
        (("m.gguf", "--keep", "x"), 2, "--keep goes with --synthetic"),
        (
            ("--synthetic", "llama-3-8b:Q4_7"),
            2,
            "no type 'Q4_7' (did you mean Q4_K or Q4_1 or Q4_0?); SHAPE:TYPE[:LAYERS] has a block type (F32, F16,",
        ),
        (("--synthetic", "gpt:Q4_K"), 2, "no shape 'gpt'"),
        (
            ("--synthetic", "llama-3.2-1b:Q4_K:1", "--keep", "/nowhere/x.gguf"),
            4,
            "/nowhere/x.gguf: there is no folder /nowhere",
        ),
        (("m.gguf", "-p", "many"), 2, "'many' is not a whole number"),
        (("m.gguf", "-d", "1,,2"), 2, "'1,,2' is not a whole number, nor several separated by commas"),
        (("m.gguf", "-r", "0"), 2, "'-r'"),
        (("m.gguf", "-o", "yaml"), 2, "'-o'"),
        (("none.gguf",), 4, "no file and no model named 'none.gguf'"),
        (("TINY", "-p", "0", "-n", "0"), 2, "nothing to measure"),
        (("TINY", "-t", "0"), 2, "0 threads; allowed are 1 to 256"),
        (("TINY", "-d", "-1"), 2, "-1 tokens of depth"),
        (("TINY", "--cache-type", "f8"), 2, "'f8' is not one of 'f16', 'q8_0', 'f32'"),
    ],
)
def test_errors_are_one_line(command_line: Any, tiny: Path, args: tuple[str, ...], code: int, found: str) -> None:
    got, out, err = command_line("bench", *(str(tiny) if arg == "TINY" else arg for arg in args))
    assert (got, out) == (code, "") and err.count("\n") == 1 and err.startswith("subbyte: ") and found in err


def test_metadata_in_place_of_the_files_holds_for_every_number_of_threads(command_line: Any, tiny: Path) -> None:
    with sb.load(tiny, threads=1, override_kv={"general.name": "other"}) as model:
        assert sb.bench(model, prompt=4, generate=[], threads=[2], repeats=1).model["name"] == "other"
    given = ("--override-kv", "general.name=str:other")
    facts = json.loads(command_line("bench", str(tiny), *small("-o", "json"), *given)[1])
    assert facts["model"]["name"] == "other"
    code, _, err = command_line("bench", str(tiny), *small(), "--override-kv", "llama.block_count=int:0")
    assert code == 3 and "llama.block_count" in err
