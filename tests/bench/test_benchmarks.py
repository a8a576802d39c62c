"""What the benchmarks do with figures: taking turns, pairing, parsing a peer's output, the tables; nothing is timed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import calibrated
import numpy as np
import peers
import pytest
from calibrated import measure
from click.testing import CliRunner
from engines import selection
from engines.llama_bench import LlamaBench, parse
from engines.selection import named_program
from engines.turns import EngineError, Worker
from logged_engine import LoggedEngine
from processor import processor
from tables.document import put_table
from tables.kernels_table import HEAD, Result, table_row
from tables.peers_table import aim, better_peer, peak_aim, render, summary, verdict
from tables.published import ik_lead
from tables.records import Rates, Record, Setting, load, paired, put, save

from subbyte.kernels import FORMATS, _testing, dequantize

# ---- engines that take turns ----

BENCHMARKS = Path(peers.__file__).parent
ENGINE = f"""
import sys
sys.path.insert(0, {str(BENCHMARKS)!r})
from engines.turns import serve
"""
GOOD = """
print("a library's chatter")
serve(lambda: ({"version": "fake 1"}, {"prompt": lambda: 12.5, "generation": lambda: 1 / 0}))
"""


Start = Callable[..., Worker]


@pytest.fixture
def engine() -> Iterator[Start]:
    workers: list[Worker] = []

    def start(code: str, timeout: float = 60) -> Worker:
        workers.append(Worker("fake", [sys.executable, "-c", ENGINE + code], timeout))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def test_an_engine_answers_until_it_is_closed(engine: Start) -> None:
    worker = engine(GOOD.replace("print", "#"))
    assert worker.about == {"version": "fake 1"}
    assert [worker.run("prompt"), worker.run("prompt")] == [12.5, 12.5]
    worker.close()
    worker.close()


def test_what_a_library_prints_while_serving_is_no_answer(engine: Start) -> None:
    worker = engine('serve(lambda: (print("loading") or {}, {"prompt": lambda: print("noise") or 3.0}))')
    assert worker.run("prompt") == 3.0


@pytest.mark.parametrize(
    "code, what, reason",
    [
        (GOOD.replace("print", "#"), "generation", "ZeroDivisionError: division by zero"),
        (GOOD.replace("print", "#"), "nothing", "KeyError: 'nothing'"),
        ('serve(lambda: ({}, {"prompt": lambda: sys.exit(7)}))', "prompt", "it ended with status 7"),
    ],
)
def test_an_engine_that_fails_says_why(code: str, what: str, reason: str, engine: Start) -> None:
    worker = engine(code)
    with pytest.raises(EngineError, match=f"^fake, asked for '{what}': {reason}$"):
        worker.run(what)


def test_an_engine_that_does_not_start_says_why() -> None:
    code = ENGINE + 'serve(lambda: open("/nowhere/model"))'
    with pytest.raises(EngineError, match="asked for 'start': FileNotFoundError"):
        Worker("fake", [sys.executable, "-c", code])


@pytest.mark.parametrize("line", ["chatter", "[1"])
def test_an_engine_must_begin_with_json(line: str) -> None:
    with pytest.raises(EngineError, match="began with something else"):
        Worker("fake", [sys.executable, "-c", f"print({line!r})"])


def test_an_engine_must_answer_numbers() -> None:
    worker = Worker("fake", [sys.executable, "-c", "print('{}', flush=True); input(); print('fast')"])
    with pytest.raises(EngineError, match="answered 'prompt' with 'fast' instead of a number"):
        worker.run("prompt")


def test_an_engine_that_hangs_is_killed() -> None:
    worker = Worker("fake", [sys.executable, "-c", "print('{}', flush=True); import time; time.sleep(600)"])
    worker.timeout = 0.2
    with pytest.raises(EngineError, match=r"it said nothing for 0\.2 s"):
        worker.run("prompt")


def test_engines_take_turns_and_limits_stand_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "PAUSE", 0)
    log: list[str] = []
    a, b = LoggedEngine("a", log), LoggedEngine("b", log)
    rates, limits = peers.take_turns([a, b], a, 2)
    forth = ["a prompt", "b prompt", "a prompt limit", "a generation", "b generation", "a generation limit"]
    back = ["b prompt", "a prompt", "a prompt limit", "b generation", "a generation", "a generation limit"]
    assert log == forth + back
    assert rates == {"a": {"prompt": [1, 5], "generation": [3, 7]}, "b": {"prompt": [1, 3], "generation": [2, 4]}}
    assert limits == {"prompt": [2, 6], "generation": [4, 8]}


def test_all_means_every_block_type() -> None:
    jobs = list(peers.jobs(["dir/model.gguf"], ["llama-3.2-1b:all:8", "llama-3-8b:Q4_K_M"]))
    assert [job.model for job in jobs] == [
        "model", *(f"llama-3.2-1b:{name}:8" for name in FORMATS), "llama-3-8b:Q4_K_M"
    ]  # fmt: skip
    assert [job.format for job in jobs] == [None, *FORMATS, None]


def test_a_synthetic_model_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no type 'Q9_K'"):
        list(peers.jobs([], ["llama-3.2-1b:Q9_K"]))


# ---- llama-bench ----

LLAMA_BENCH = """#!{python}
import json, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert options["-o"] == "json" and options["-b"] == options["-ub"] == "512"
assert options["-r"] == ("1" if options["-p"] == "0" else "2")
print("load_backend: loaded [a] backend\\n[\\n{{size}} tensors:")
n_prompt, n_gen = int(options["-p"]), int(options["-n"])
if options["-m"] == "broken.gguf":
    sys.exit("error: failed to load model")
print(json.dumps({{"build_commit": "8337e4cd3", "n_prompt": n_prompt, "n_gen": n_gen, "n_threads": int(options["-t"]),
                    "avg_ns": 10 ** 9, "avg_ts": 1.0, "samples_ts": [1.0, n_prompt + 10.0 * n_gen]}}, indent=2), "]")
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "llama-bench"
    path.write_text(LLAMA_BENCH.format(python=sys.executable))
    path.chmod(0o755)
    return str(path)


def test_a_llama_bench_program_takes_turns_and_the_second_prompt_counts(program: str) -> None:
    bench = LlamaBench("ik_llama.cpp", program, "model.gguf", 256, 48, 2)
    assert (bench.run("prompt"), bench.run("generation")) == (256, 480)
    assert bench.about == {"version": "ik_llama.cpp 8337e4cd3"}


def test_a_llama_bench_program_that_fails_says_why(program: str) -> None:
    with pytest.raises(EngineError, match=r"ended with status 1 and no result .*: error: failed to load model$"):
        LlamaBench("ik", program, "broken.gguf", 256, 48, 2)
    with pytest.raises(EngineError, match="No such file"):
        LlamaBench("ik", "/nowhere/llama-bench", "model.gguf", 256, 48, 2)


@pytest.mark.parametrize("text", ["", "{}", '[{"samples_ts": []}]', "[1]", "error: [unknown] option"])
def test_other_output_is_no_result(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_a_program_has_a_name_and_a_path(program: str) -> None:
    assert named_program(f"ik_llama.cpp={program}") == ("ik_llama.cpp", program)


@pytest.mark.parametrize("text", ["{}", "={}", "name=", "a/b={}", "a|b={}"])
def test_a_program_without_a_name_is_refused(text: str, program: str) -> None:
    with pytest.raises(ValueError, match=r"expected NAME=PATH, such as llama\.cpp="):
        named_program(text.format(program))


def test_a_program_that_cannot_be_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "llama-bench").touch()
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "llama-bench"):
        with pytest.raises(ValueError, match=f"^--llama-bench ik={path}: {path} is no program; give the path of"):
            named_program(f"ik={path}")


def test_any_number_of_peers_may_be_named(program: str) -> None:
    found = selection.peers(sys.executable, [f"{name}={program}" for name in ("ik_llama.cpp", "older", "newer")])
    assert [peer.name for peer in found] == ["llama.cpp", "ik_llama.cpp", "older", "newer"]
    assert found[1].option == "--llama-bench ik_llama.cpp=PATH"
    assert selection.peers(None, []) == []


@pytest.mark.parametrize("python, names", [(sys.executable, ["llama.cpp"]), (None, ["a", "a"]), (None, ["subbyte"])])
def test_peers_need_names_of_their_own(python: str | None, names: list[str], program: str) -> None:
    with pytest.raises(ValueError, match=f"two engines are called {names[0]}; give"):
        selection.peers(python, [f"{name}={program}" for name in names])


def test_the_command_shown_has_no_paths(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBBYTE_ISA", "avx2")
    found = selection.peers(sys.executable, [f"ik_llama.cpp={program}"])
    assert selection.shown_command("peers.py", ["a.gguf", "--rounds 3"], 2, found) == (
        "SUBBYTE_ISA=avx2 python benchmarks/peers.py a.gguf --rounds 3 --threads 2 --peer-python PYTHON "
        "--llama-bench ik_llama.cpp=PATH"
    )


@pytest.mark.parametrize(
    "words, message",
    [
        (["model.gguf"], "no peer to compare with; give --llama-bench NAME=PATH or --peer-python PYTHON"),
        (["--llama-bench", "llama-bench"], "--llama-bench llama-bench: expected NAME=PATH, such as "),
        (["--peer-python", "/nowhere/python"], "--peer-python /nowhere/python: no such program; give a Python"),
    ],
)
def test_what_cannot_be_compared_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "model.gguf").touch()
    words = [str(tmp_path / word) if word.endswith("gguf") else word for word in words]
    result = CliRunner().invoke(peers.main, [*words, "--results", str(tmp_path / "r.json")])
    assert result.exit_code == 1 and result.stderr.startswith(f"Error: {message}") and result.stderr.count("\n") == 1


# ---- the machine ----


def test_processors_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    cpuinfo = tmp_path / "proc" / "cpuinfo"
    one = "processor\t: 0\ncpu family\t: {}\nmodel\t\t: 1\nmodel name\t: AMD EPYC\n\n"
    cpuinfo.write_text(one.format(25) * 2)
    assert processor(tmp_path) == "AMD EPYC (family 25, model 1)"
    cpuinfo.write_text("processor\t: 0\nCPU part\t: 0xd0b\n")
    assert "family" not in processor(tmp_path)


# ---- ratios, aims, tables ----

SETTING = Setting("A processor", "avx512", 2, 256, 48)


def rates(prompt: list[float], generation: list[float]) -> Rates:
    return {"prompt": prompt, "generation": generation}


def record(format: str | None = "IQ2_S", **peers: Rates) -> Record:
    ours = rates([600, 300, 620], [60, 30, 62])
    theirs = rates([300, 100, 310], [30, 20, 31])
    named = {name.replace("_", " "): rate for name, rate in peers.items()}
    return Record(
        f"shape:{format}:8" if format else "smollm2", format, 358.4, "2026-11-22", SETTING,
        "python benchmarks/peers.py", {"subbyte": "subbyte 1"}, {"subbyte": ours, "llama.cpp": theirs, **named},
        rates([1000, 500, 1000], [100, 100, 100]), {},
    )  # fmt: skip


def test_ratios_are_of_one_round_each() -> None:
    ratio = paired([600, 300, 620], [300, 100, 310])
    assert (ratio.median, ratio.low, ratio.high) == (2, 2, 3)
    assert str(ratio) == "2.00 [2.00 .. 3.00]"
    assert paired([3], [1], 1.5).median == 2
    with pytest.raises(ValueError):
        paired([1, 2], [1])


def test_the_better_peer_is_llama_cpp_times_the_published_lead() -> None:
    better = better_peer(record(), "prompt")
    assert better.name == "llama.cpp x 1.17" and better.ratio.median == pytest.approx(2 / 1.17)


@pytest.mark.parametrize(
    "isa, name",
    [
        ("avx2", "llama.cpp x 1.26"), ("avxvnni", "llama.cpp x 1.26"), ("avx512", "llama.cpp x 1.17"),
        ("avx512bf16", "llama.cpp x 1.17"), ("neondot", "llama.cpp"), ("scalar", "llama.cpp"),
    ],
)  # fmt: skip
def test_the_published_lead_is_that_of_the_instruction_set(isa: str, name: str) -> None:
    assert better_peer(replace(record(), setting=replace(SETTING, isa=isa)), "prompt").name == name


def test_published_leads_are_what_was_measured() -> None:
    assert ik_lead("avx2", "Q4_1", "prompt") == 2.97  # 2.70 / 0.91
    assert ik_lead("avx2", "IQ3_XXS", "generation") == 0.76  # 1.10 / 1.44
    assert ik_lead("avx512", "smollm2", "prompt") == 3.59 and ik_lead("avx2", "smollm2", "prompt") is None
    assert ik_lead("avx512", "Q5_1", "prompt") == 4.5 and ik_lead("avx2", "Q5_1", "prompt") is None


def test_a_published_lag_does_not_slow_llama_cpp() -> None:
    assert (ik_lead("avx512", "Q5_K", "prompt") or 0) < 1
    assert better_peer(record("Q5_K"), "prompt").name == "llama.cpp"


def test_without_a_published_figure_llama_cpp_is_the_better_peer() -> None:
    assert ik_lead("avx512", "TQ1_0", "prompt") is None and ik_lead("avx512", "MXFP4", "generation") is None
    assert better_peer(record("MXFP4"), "generation").name == "llama.cpp"


def test_a_measured_ik_llama_cpp_takes_the_place_of_the_published_figure() -> None:
    slow = rates([100, 100, 100], [10, 10, 10])
    measured = replace(record(), rates={**record().rates, "ik_llama.cpp": slow})
    assert better_peer(measured, "prompt").name == "llama.cpp"
    assert better_peer(replace(record(), failed={"ik_llama.cpp": "refused"}), "prompt").name == "llama.cpp"
    assert better_peer(record(other=rates([900] * 3, [90] * 3)), "prompt").name == "other"


@pytest.mark.parametrize(
    "format, what, factor, expected",
    [
        ("IQ2_S", "generation", 1.0, "met"),  # 2 / 1.07 against 1.5
        ("IQ2_S", "generation", 0.7, "missed: 1.5 x"),
        ("IQ2_S", "prompt", 1.0, "met"),  # 60 % of the peak
        ("IQ2_S", "prompt", 0.99, "missed: 60%"),
        ("IQ2_S", "prompt", 0.5, "missed: 1.25 x, 60%"),
        ("Q4_K", "generation", 0.5, "met"),  # 1.0 against 0.97
        ("Q4_K", "generation", 0.48, "missed: 0.97 x"),
        ("Q2_K", "generation", 0.1, "none"),
        ("F16", "prompt", 1.0, "met"),  # 2 / 1.17 against 1.1
        (None, "generation", 1.0, "met"),  # SmolLM2: 2 / 1.17 against 1.1, no aim for a share
        (None, "prompt", 0.6, "missed: 1.1 x"),
    ],
)
def test_aims(format: str | None, what: str, factor: float, expected: str) -> None:
    r = record(format)
    slower = {name: [rate * factor for rate in values] for name, values in r.rates["subbyte"].items()}
    assert verdict(replace(r, rates={**r.rates, "subbyte": slower}), what) == expected


@pytest.mark.parametrize(
    "format, what, expected",
    [
        ("IQ2_S", "prompt", "met"),  # 2 / 1.26 against 1.25, 60 % of the peak
        ("F16", "prompt", "missed: 85%"),
        ("Q8_0", "prompt", "met"),
        ("Q4_K", "generation", "met"),
    ],
)
def test_aims_with_avx2(format: str, what: str, expected: str) -> None:
    assert verdict(replace(record(format), setting=replace(SETTING, isa="avx2")), what) == expected


def test_aims_depend_on_the_instruction_set() -> None:
    def aims(format: str, isa: str) -> list[float | None]:
        of = replace(record(format), setting=replace(SETTING, isa=isa))
        return [aim(of, "prompt"), aim(of, "generation"), peak_aim(of)]

    assert [aims("Q4_K", isa) for isa in ("avx2", "avx512")] == [[1.25, 1.05, 0.55], [1.25, 0.97, 0.6]]
    assert [aims("IQ4_XS", isa) for isa in ("avx2", "avx512")] == [[1.25, 1.05, 0.4], [1.25, 0.97, 0.6]]
    assert [aims("BF16", isa) for isa in ("avx2", "avx512")] == [[1.25, 1.05, 0.85], [1.1, 0.97, 0.6]]


def test_tables_are_in_the_order_of_the_types() -> None:
    (text,) = render([record(None), record("IQ2_S"), record("Q4_K")]).values()
    firsts = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    assert firsts == ["| type or model", "| Q4_K", "| IQ2_S", "| smollm2"] * 2
    assert text.startswith("    python benchmarks/peers.py\n\n")
    assert "A processor, 2 threads, instruction set avx512; subbyte 1; 3 rounds; 2026-11-22." in text
    row = next(line for line in text.splitlines() if line.startswith("| IQ2_S"))
    assert row == "| IQ2_S | 358 | 600.0 | 60% | 300.0 | 2.00 [2.00 .. 3.00] | llama.cpp x 1.17 | 1.71 | met |"


def test_machines_and_instruction_sets_have_tables_of_their_own() -> None:
    settings = [replace(SETTING, isa="avx2"), replace(SETTING, machine="Another", isa="avx2"), SETTING]
    longer = replace(record("F16"), setting=replace(SETTING, prompt=512))
    found = render([longer, *(replace(record("F16"), setting=setting) for setting in settings)])
    assert set(found) == {"peers: A processor, avx2", "peers: Another, avx2", "peers: A processor, avx512"}
    assert [text.count("type or model") for name, text in sorted(found.items())] == [2, 4, 2]
    assert all("A processor" not in text for name, text in found.items() if "Another" in name)


def test_every_peer_has_its_columns() -> None:
    ik = {"ik_llama.cpp": rates([400, 200, 410], [50, 25, 51])}
    measured = replace(record(), rates={**ik, **record().rates})
    head, _, row = next(iter(render([measured]).values())).splitlines()[6:9]
    columns = "subbyte | of the peak | llama.cpp | ratio | ik_llama.cpp | ratio | better peer | ratio | aim |"
    assert head == f"| type or model | MiB | {columns}"
    figures = "600.0 | 60% | 300.0 | 2.00 [2.00 .. 3.00] | 400.0 | 1.50 [1.50 .. 1.51] | ik_llama.cpp | 1.50 | met |"
    assert row == f"| IQ2_S | 358 | {figures}"


def test_a_peer_that_ran_for_some_models_only_leaves_cells_empty() -> None:
    failed = replace(record("Q5_K"), failed={"other": "other, asked for 'start': unknown type"})
    (text,) = render([record("Q4_K"), failed, record("IQ2_S", other=rates([300] * 3, [30] * 3))]).values()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines[:5]}) == 1
    assert "2.00 [2.00 .. 3.00] |  |  |" in lines[2]
    assert "2.00 [2.00 .. 3.00] | failed |  |" in lines[3]


def test_a_summary_is_one_line() -> None:
    assert "\n" not in summary(record()) and "1.71 x the better peer (llama.cpp x 1.17), aim met" in summary(record())


def test_records_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert load(path) == []
    records = put(put([], record("Q4_K")), record("IQ2_S"))
    again = replace(record("Q4_K"), date="2026-11-23")
    records = put(records, again)
    assert records == [again, record("IQ2_S")]
    save(path, records)
    assert load(path) == records
    assert len(put(records, replace(again, setting=replace(SETTING, threads=1)))) == 3


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"model": "m"}]', '[{"setting": {}}]'])
def test_a_file_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ValueError, match=r"r\.json holds no records of this benchmark"):
        load(tmp_path / "r.json")


def test_a_table_replaces_what_stands_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- peers -->\nold\n<!-- end of peers -->\nAfter\n")
    put_table(page, "peers", "| new |")
    put_table(page, "peers", "| new |")
    assert page.read_text() == "Before\n<!-- peers -->\n\n| new |\n\n<!-- end of peers -->\nAfter\n"
    with pytest.raises(ValueError, match="lacks a line <!-- kernels -->"):
        put_table(page, "kernels", "")


# ---- kernels ----


def test_a_product_is_what_it_says() -> None:
    rng = np.random.default_rng(0)
    data, x = rng.integers(0, 100, (40, 34 * 4), np.uint8), rng.standard_normal((3, 128), np.float32)
    data.reshape(-1, 34)[:, :2] = np.frombuffer(np.float16(0.01).tobytes(), np.uint8)
    seconds, out = _testing.time_product("scalar", "Q8_0", data.reshape(-1), 40, x, 2)
    exact = x @ dequantize(data, "Q8_0").reshape(40, 128).T
    assert seconds > 0 and np.abs(out - exact).max() < 0.01 * np.abs(exact).max()


@pytest.mark.parametrize(
    "rows, cols, n_bytes, message",
    [(0, 32, 0, "0 x 32 weights"), (1, 33, 34, "whole blocks of 32"), (2, 32, 34, "34 bytes are not 2 rows")],
)
def test_sizes_that_do_not_fit_are_refused(rows: int, cols: int, n_bytes: int, message: str) -> None:
    data = np.zeros(n_bytes, np.uint8)
    with pytest.raises(ValueError, match=message):
        _testing.time_product("scalar", "Q8_0", data, rows, np.zeros((1, cols), np.float32))
    with pytest.raises(ValueError, match=message):
        _testing.time_unpack("scalar", "Q8_0", data, rows, cols)


def test_samples_between_different_calibrations_are_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = iter([1.0, 1.0, 1.0, 1.1, 2.0, 4.0] + [1.0] * 100)
    monkeypatch.setattr(calibrated, "hertz", lambda: 100.0)
    speed = measure(lambda repeat: 0.5 * repeat, 4.0, lambda: next(limits), 5)
    assert speed.discarded == 2  # a limit that rose by 10 %, and one that doubled, while a sample ran
    assert (speed.kept, speed.seconds, speed.cycles) == (5, 0.5, 50) and speed.share == 8


def test_a_kernel_whose_samples_were_all_discarded_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(1)
    monkeypatch.setattr(calibrated, "hertz", lambda: float(2 ** next(clock)))
    speed = measure(lambda repeat: 0.01 * repeat, 1.0, None, 3)
    assert (speed.seconds, speed.cycles, speed.share, speed.kept, speed.discarded) == (None, None, None, 0, 12)


def test_a_line_of_the_kernels_table() -> None:
    names = ["cached", "memory", "unpack", "2", "4", "8", "32", "128", "512"]
    results = [Result("Q4_K", "avx2", "64x256", name, 2.0, 20.0, 100.0, 0.5, 5, 1) for name in names]
    results[-1] = replace(results[-1], gmac_per_s=None, share=None)
    cells = table_row(results).strip("| ").split(" | ")
    assert cells == [
        "Q4_K", "avx2", "2.00", "20.0", "20.0", "50%", "2.00", *["100"] * 5, "-", "-", "9 of 54"
    ]  # fmt: skip
    assert len(cells) == len(HEAD)


def test_results_are_json(tmp_path: Path) -> None:
    save(tmp_path / "r.json", [record()])
    assert json.loads((tmp_path / "r.json").read_text())[0]["setting"]["isa"] == "avx512"
