"""A mixture larger than memory: its experts are asked for as soon as they are chosen, which changes no result."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_synthetic import SPARSE, TINY_MOE

import subbyte as sb
from subbyte.runtime.session.runner import Runner
from subbyte.runtime.session.session import Session
from subbyte.runtime.synthetic.shapes import ExpertShape, Shape
from subbyte.runtime.synthetic.write import Synthetic, write

SHARED = replace(TINY_MOE, architecture="qwen2moe", layers=(SPARSE._replace(experts=ExpertShape(40, 8, 256, 256)),) * 2)
GPT_OSS = replace(TINY_MOE, architecture="gpt-oss")


def out_of_memory(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("shape, mix", [(TINY_MOE, "Q4_K_M"), (SHARED, "Q8_0"), (GPT_OSS, "MXFP4_MOE")])
def test_what_is_read_ahead_changes_no_bit(shape: Shape, mix: str, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(Synthetic(shape, mix), path)
    found = []
    for reads_ahead in (False, True):
        out_of_memory(path)
        with sb.load(path, threads=3) as model:
            runner = Runner(model.plan, n_ctx=80, n_threads=3, isa=model.isa, reads_ahead=reads_ahead)
            with Session(runner, runner.new_sequence("f16")) as session:
                found.append([session.eval(range(size, 2 * size)) for size in (1, 3, 70)])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_a_file_that_was_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(Synthetic(TINY_MOE, "Q4_0"), path)
    with sb.load(path) as model:
        runner = Runner(model.plan, n_ctx=80, n_threads=2, isa=model.isa, reads_ahead=True)
        with Session(runner, runner.new_sequence("f16")) as session:
            session.eval([1])
            os.truncate(path, path.stat().st_size // 2)
            with pytest.raises(sb.ModelChanged):
                session.eval(range(70))


@pytest.mark.parametrize("left_over, expected", [(0, False), (-1, True)])
def test_a_session_reads_ahead_where_file_and_cache_exceed_memory(
    left_over: int, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def noted(*arguments: Any, reads_ahead: bool, **options: Any) -> Runner:
        given.append(reads_ahead)
        return Runner(*arguments, reads_ahead=reads_ahead, **options)

    path = tmp_path / "m.gguf"
    write(Synthetic(TINY_MOE, "Q4_0"), path)
    monkeypatch.setattr("subbyte.runtime.opened_model.Runner", noted)
    with sb.load(path) as model:
        need = model.gguf.size + model.plan.cache_bytes(128, "q8_0")
        monkeypatch.setattr("subbyte.runtime.opened_model.available_memory", lambda: need + left_over)
        model.session(128, "q8_0").close()
    assert given == [expected]
