"""Every seed is taken, and every input that was ever found to break a parser is answered as it should be."""

from pathlib import Path

import pytest
from targets import TARGETS, run

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_sound(name: str) -> None:
    assert all([run(name, seed) for seed in TARGETS[name].seeds()])


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*/*")), ids=lambda path: f"{path.parent.name} {path.name}")
def test_what_broke_a_parser_once(path: Path) -> None:
    run(path.parent.name, path.read_bytes())
