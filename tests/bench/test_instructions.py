"""benchmarks/instructions.py: which instructions of a listing count, and for how many tokens."""

from __future__ import annotations

from pathlib import Path

import instructions
from click.testing import CliRunner


def listing(function: str, *bodies: list[str]) -> str:
    """What objdump writes of a function of loops, one after another, with something before and after each."""
    lines, at = [], 0x1000
    for body in bodies:
        start = at + 4
        for text in ["mov\trax,rbx", *body, f"jne\t{start:x} <{function}+0x4>", "ret"]:
            lines.append(f"    {at:x}:\t{text}")
            at += 4
    return f"\n0000000000001000 <{function}>:\n" + "\n".join(lines) + "\n\n"


def products(name: str, n: int, others: int = 0) -> list[str]:
    return n * [f"{name}\tymm0,ymm1,ymm2"] + others * ["vpaddw\tymm0,ymm1,ymm2"]


def test_loops_of_one_to_four_tokens() -> None:
    """Branches back count; loops that multiply something else, or too much, are no answer."""
    bodies = [products("vpmaddubsw", 8 * n, 50) for n in (4, 1, 3, 2, 5)] + [products("vpmaddubsw", 3, 9)]
    assert instructions.count(listing("dot_Q4_K", *bodies)) == {"Q4_K": {1: 59, 2: 67, 3: 75, 4: 83}}


def test_a_loop_around_a_loop_is_not_innermost() -> None:
    text = listing("dot_Q4_K", products("vpmaddubsw", 8, 2)).replace("ret", "jmp\t1000 <dot_Q4_K>")
    assert instructions.count(text) == {"Q4_K": {1: 11}}


def test_blocks_of_32_on_arm_are_128_weights_a_loop() -> None:
    loops = [products("sdot", 8 * n, 10) for n in (1, 2)]
    text = listing("dot_Q4_0.constprop.0", *loops).replace("jne", "b.ne")
    assert instructions.count(text) == {"Q4_0": {1: 38, 2: 54}}
    assert instructions.count(text.replace("Q4_0", "Q4_K")) == {"Q4_K": {1: 27}}


def test_other_functions_are_left_out() -> None:
    assert instructions.count(listing("unpack_Q4_K", products("vpmaddubsw", 8))) == {}
    assert instructions.count(listing("dot_nothing", products("vpmaddubsw", 8))) == {}


def test_a_row_for_every_type_and_a_dash_for_what_was_not_found() -> None:
    assert instructions.table({"Q4_K": {1: 91, 2: 133, 4: 241}}).splitlines()[-1] == "| Q4_K | 91 | 133 | - | 241 |"


def test_files_that_are_no_objects_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(b"no object")
    for objdump in ("objdump", "no-such-objdump"):
        result = CliRunner().invoke(instructions.main, [str(path), f"--objdump={objdump}"])
        assert result.exit_code == 1 and result.stderr.count("\n") == 1
        assert result.stderr.startswith(f"Error: {path}: {objdump} does not read it (")
