"""docs/architecture.md names files and functions that exist, and every package."""

import ast
import re
from pathlib import Path

import doc_pages
import pytest
from paths import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()
HOPS = re.findall(r"^\| `([\w/.]+)` · ((?:`[\w.]+`(?:, )?)+) \|", TEXT, re.MULTILINE)


def names_of(path: Path) -> set[str]:
    """Functions and classes that a file defines, methods behind the name of their class."""
    text = path.read_text()
    if path.suffix == ".py":
        return {name for node in ast.parse(text).body for name in names_in(node)}
    if path.suffix in (".pxi", ".pyx"):
        names, owner = set(), ""
        for indent, kind, name in re.findall(r"^( *)(cdef class|class|def|cdef [\w ]+|cpdef [\w ]+) (\w+)", text, re.M):
            owner = (name if kind.endswith("class") else "") if not indent else owner
            names.add(f"{owner}.{name}" if indent and owner else name)
        return names
    return set(re.findall(r"^(?:[\w*]+ )+\**(\w+)\(", text, re.MULTILINE))  # C begins a function at the line's start


def names_in(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.ClassDef):
        return {node.name} | {f"{node.name}.{name}" for child in node.body for name in names_in(child)}
    return set()


def test_there_are_hops() -> None:
    assert len(HOPS) > 40


@pytest.mark.parametrize(("file", "names"), HOPS)
def test_a_hop_exists(file: str, names: str) -> None:
    assert {*re.findall(r"`([\w.]+)`", names)} <= names_of(ROOT / file)


@pytest.mark.parametrize("folder", ["runtime", "kernels", "cli"])
def test_every_package_is_in_its_table(folder: str) -> None:
    table = TEXT.partition(f"| package of `{folder}/` |")[2].partition("\n\n")[0]
    found = {path.name for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set(re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)) == found


def test_the_terms_of_the_glossary_have_places() -> None:
    glossary = TEXT.partition("## Glossary")[2]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w/.]+)` \|$", glossary, re.MULTILINE)
    assert len(rows) == len(glossary.strip().splitlines()) - 2
    assert all((ROOT / place).exists() for *_, place in rows)
    assert doc_pages.repository_paths(glossary)
