"""Which types a search leaves out as slow: the rule on given rates, and a search that is told to."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_models import LLAMA, write_model

import subbyte as sb
from subbyte.kernels import isas
from subbyte.runtime.bench import type_speeds
from subbyte.runtime.bench.type_speeds import TypeSpeed
from subbyte.runtime.measurement import Step
from subbyte.runtime.search import fast
from subbyte.runtime.search.fast import SlowType, slow_types
from subbyte.runtime.search.groups import SHORT_ROWS, choices

TEXT = "in an old inn near a river the thin man and another one are in the rain\n" * 60
OPTIONS: dict[str, Any] = {
    "n_ctx": 64, "passages": 2, "step": 3, "rounds": 1, "bits": 7,
    "imatrix": sb.Imatrix(squares={}, counts={}, sums={}, datasets=(), chunk_count=0, chunk_size=0),
}  # fmt: skip


def slow(*rates: tuple[str, float, float]) -> list[SlowType]:
    return slow_types([TypeSpeed(*of) for of in rates])


def test_a_larger_type_that_is_faster() -> None:
    assert slow(("IQ3_S", 10, 100), ("Q4_K", 20, 95)) == [SlowType("IQ3_S", "Q4_K", 2.0, 0.95)]
    assert slow(("IQ4_XS", 10, 100), ("Q4_K", 10, 140)) == [SlowType("IQ4_XS", "Q4_K", 1.0, 1.4)]
    (found,) = slow(("Q2_K", 10, 10), ("Q3_K", 17, 10), ("Q4_K", 20, 10), ("Q5_K", 16, 10))
    assert found == SlowType("Q2_K", "Q4_K", 2.0, 1.0), "the one that outruns it most"


def test_what_is_in_doubt_stays() -> None:
    assert slow(("IQ3_S", 10, 100), ("Q4_K", 12, 120)) == [], "faster, but not by much"
    assert slow(("IQ3_S", 10, 100), ("Q4_K", 20, 80)) == [], "slower with prompts"
    assert slow(("IQ3_S", 20, 100), ("Q2_K", 40, 100)) == [], "faster, but smaller"
    assert slow(("IQ3_S", 20, 100), ("Q3_K", 40, 100)) == [], "of the same size"
    assert slow(("Q4_0", 10, 100), ("Q5_K", 20, 100)) == [], "its blocks do not fill the same rows"
    assert slow(("Q4_K", 10, 100), ("Q5_0", 20, 100)) == [SlowType("Q4_K", "Q5_0", 2.0, 1.0)]
    chain = slow(("Q2_K", 10, 100), ("Q4_K", 13, 92), ("Q6_K", 17, 85))
    assert [of.type for of in chain] == ["Q4_K"], "what outruns Q2_K is not there, and Q6_K reads prompts more slowly"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Generator[sb.Model, None, None]:
    path = tmp_path_factory.mktemp("fast") / "m.gguf"
    write_model(path, shape=LLAMA)
    with sb.load(path, threads=1) as model:
        yield model


def test_slow_types_are_left_out_and_said(
    model: sb.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rates = {"Q4_0": 1e9, "Q5_0": 2e9, "Q8_0": 1.5e9}

    def measured(types: Sequence[str], isa: str, n_threads: int) -> Generator[Step, None, tuple[TypeSpeed, ...]]:
        yield Step(f"speed of {types[0]} with {isa}", 0, 1)
        return tuple(TypeSpeed(type, rates[type], 1e11) for type in types)

    monkeypatch.setattr(fast, "measure_type_speeds", measured)
    monkeypatch.setattr(fast, "cpu_name", lambda: "A\x1bCPU")
    given: dict[str, Any] = {**OPTIONS, "types": list(rates), "cache": tmp_path, "fast_on": "scalar"}
    steps: list[str] = []
    with caplog.at_level(logging.WARNING, "subbyte"):
        result = sb.search_recipes(model, TEXT, **given, on_progress=lambda what, *_: steps.append(what))
    assert steps[0] == "speed of Q4_0 with scalar"
    said = (
        r"types left out as slow with scalar on A\x1bCPU, 1 threads, where a larger one generates and reads prompts so "
        "many times as fast: Q4_0 (Q5_0: 2.00, 1.00)"
    )
    assert said in caplog.text and said in result.notes()
    found = result.found[0]
    assert found.recipe.startswith(f"# {said}\n") and found.open_recipe().to_toml() in found.recipe
    assert {cost.type for tensor in found.tensors for cost in tensor.types} == {"Q5_0", "Q8_0"}
    evidence = json.loads(result.evidence(found))["fast"]
    assert evidence["slow"] == [{"type": "Q4_0", "larger": "Q5_0", "generation": 2.0, "prompt": 1.0}]
    assert [of["generation"] for of in evidence["speeds"]] == list(rates.values())
    rates["Q4_0"] = 9e9
    assert sb.search_recipes(model, TEXT, **given).fast == result.fast, "a search goes on with what it began with"


def test_every_instruction_set_can_be_measured(
    model: sb.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ROWS": 64, "PROMPT_ROWS": 64, "COLS": 256, "PROMPT_TOKENS": 16, "ROUNDS": 1}.items():
        monkeypatch.setattr(type_speeds, name, value)
    monkeypatch.setattr(fast, "FASTER", 1e9)
    assert choices(model, None) == [SHORT_ROWS]
    for isa in isas():
        found = sb.search_recipes(model, TEXT, **OPTIONS, cache=tmp_path, fast_on=isa).fast
        assert found is not None and found.isa == isa and found.slow == ()
        assert {of.type for of in found.speeds} == set(SHORT_ROWS)
        assert all(of.generation > 0 and of.prompt > 0 for of in found.speeds)


def test_an_instruction_set_that_is_not_there(model: sb.Model, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"instruction set 'mmx' is unknown or not on this machine; it runs scalar"):
        sb.search_recipes(model, TEXT, **OPTIONS, cache=tmp_path, fast_on="mmx")
