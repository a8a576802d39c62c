"""Data flows one way: cli → runtime → models → kernels. No room imports from one above it."""

import ast

import pytest
from paths import ROOT

ALLOWED = {
    "cli": {"errors", "runtime"},
    "runtime": {"errors", "models", "kernels"},
    "models": {"errors", "kernels"},
    "kernels": {"errors"},
}


def imports_of(source: str) -> list[str]:
    """Rooms of subbyte that Python source imports; `import subbyte` itself counts as the public API, "api"."""
    rooms = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "subbyte":
            rooms += [node.module.split(".")[1]] if "." in node.module else ["api"]
        elif isinstance(node, ast.Import):
            rooms += [[*a.name.split("."), "api"][1] for a in node.names if a.name.split(".")[0] == "subbyte"]
    return rooms


def cython_imports(text: str) -> list[str]:
    starts = ("from subbyte.", "import subbyte.", "cimport subbyte.")
    lines = [line.strip() for line in text.splitlines()]
    return [line.split()[1].split(".")[1] for line in lines if line.startswith(starts)]


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_from_the_rooms_below(room: str) -> None:
    files = [*(ROOT / room).rglob("*.py"), *(ROOT / room).rglob("*.pyi"), *(ROOT / room).rglob("*.pyx")]
    assert files
    for file in files:
        found = cython_imports(file.read_text()) if file.suffix == ".pyx" else imports_of(file.read_text())
        above = set(found) - ALLOWED[room] - {room}
        assert not above, f"{file.relative_to(ROOT)} imports from {sorted(above)}"


def test_the_check_sees_an_upward_import() -> None:
    assert imports_of("from subbyte.runtime.gguf.model_file import GGUF") == ["runtime"]
    assert cython_imports("from subbyte.errors import NumericError") == ["errors"]
