"""The rooms of kernels/, and what their C and Cython files may include: formats ← cpu ← engine ← measure, threads."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_graph import included
from paths import ROOT

KERNELS = ROOT / "kernels"
ROOMS = {
    "formats": set[str](),
    "cpu": {"formats"},
    "threads": set(),
    "engine": {"formats", "cpu", "threads"},
    "measure": {"formats", "cpu", "threads", "engine"},
    "python": {"formats", "cpu", "threads", "engine", "measure"},
}
# Inside cpu/, the folders that an instruction set builds on, besides the files of cpu/ itself. The sources in vector/
# are compiled once for each instruction set that has a vec.h.
CPU = {
    "scalar": set[str](),
    "vector": set(),
    "avx2": set(),
    "avxvnni": {"avx2", "avx512"},  # avx512/gemm_template.h is written for vectors of 8 and of 16
    "avx512": {"avx2"},
    "avx512vbmi": {"avx2", "avx512"},
    "avx512bf16": {"avx2", "avx512", "vector"},
    "neon": set(),
    "neondot": {"neon"},
    "neoni8mm": {"neon"},
}
GENERATED = {"cpu/isa.def", "operations.def"}


def room(path: Path) -> str:
    """The folder right under kernels/ that a file lies in, or cpu's folder of an instruction set as "cpu/avx2"."""
    parts = path.relative_to(KERNELS).parts[:-1]
    return "/".join(parts)


def allowed(of: str) -> set[str]:
    """Rooms that files of a room may include."""
    top, _, folder = of.partition("/")
    inside = {f"cpu/{name}" for name in CPU[folder]} if top == "cpu" and folder else set()
    return {of, top, *ROOMS[top], *inside}


def upward(path: Path, text: str) -> list[str]:
    """The includes of a file that its room does not allow, and those of files that are not there."""
    wrong = []
    for name in included(text):
        found = next((p for p in (path.parent / name, KERNELS / name) if p.exists()), None)
        if found is None:
            given = name == "vec.h" and room(path) == "cpu/vector"
            if name not in GENERATED and not given:
                wrong.append(name)
        elif room(found) not in allowed(room(path)):
            wrong.append(name)
    return wrong


def sources() -> list[Path]:
    return [path for path in KERNELS.rglob("*") if path.suffix in {".c", ".h", ".def", ".pyx", ".pxi"}]


def test_every_folder_is_in_the_rules() -> None:
    assert {room(path).partition("/")[0] for path in sources()} == set(ROOMS)
    assert {room(path).partition("/")[2] for path in sources() if room(path).startswith("cpu/")} == set(CPU)


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.relative_to(KERNELS).as_posix())
def test_a_file_includes_only_what_its_room_may(path: Path) -> None:
    assert upward(path, path.read_text()) == []


def test_the_check_sees_an_upward_include() -> None:
    assert upward(KERNELS / "cpu" / "dispatch.c", '#include "engine/plan.h"') == ["engine/plan.h"]
    assert upward(KERNELS / "threads" / "pool.c", '#include "cpu/kernel_table.h"') == ["cpu/kernel_table.h"]
    assert upward(KERNELS / "cpu" / "neon" / "dot.c", '#include "cpu/avx2/decode.h"') == ["cpu/avx2/decode.h"]
    assert upward(KERNELS / "cpu" / "avx2" / "dot.c", '#include "decode.h"') == []
    assert upward(KERNELS / "engine" / "step.c", '#include "nowhere.h"') == ["nowhere.h"]
