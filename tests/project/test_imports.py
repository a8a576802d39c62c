"""Data flows one way: cli → runtime → models → kernels, and in runtime/ from the rooms above to those below."""

import pytest
from import_graph import Graph, circles, files_of, floors, import_graph, imports_of, python_imports
from paths import ROOT

FOLDERS = {
    "cli": {"errors", "runtime"},
    "runtime": {"errors", "models", "kernels"},
    "models": {"errors", "kernels"},
    "kernels": {"errors"},
}

# Modules beside the rooms, which import none of those.
_LOW = {
    "arguments",
    "files",
    "handles",
    "json_lines",
    "machine",
    "measurement",
    "protocols",
    "records",
    "step_times",
    "tables",
    "text",
    "types",
}
RUNTIME = {
    **{module: set[str]() for module in _LOW},
    "arguments": {"text"},
    "files": {"text"},
    "measurement": {"handles"},
    "tables": {"text"},
    "records": {"tables"},
    "types": {"arguments"},
    "source": {"arguments", "gguf", "store"},
    "gguf": _LOW,
    "store": _LOW,
    "catalog": _LOW | {"gguf", "inspect", "store", "template"},
    "tokenizer": _LOW | {"gguf"},
    "template": {"arguments", "protocols", "records", "types"},
    "grammar": {"arguments", "protocols", "text"},
    "speculation": {"protocols", "step_times"},
    "tools": {"arguments", "grammar", "protocols", "records", "template", "text"},
    "generation": {
        "arguments",
        "grammar",
        "handles",
        "protocols",
        "records",
        "speculation",
        "step_times",
        "tools",
        "types",
    },
    "chat": {
        "arguments",
        "files",
        "generation",
        "gguf",
        "grammar",
        "handles",
        "protocols",
        "records",
        "speculation",
        "template",
        "text",
        "tools",
        "types",
    },
    "protocols": {"types"},
    "session": {"arguments", "files", "handles", "machine", "step_times", "text", "types"},
    "inspect": _LOW | {"gguf", "source", "store"},
    "scheduler": {"generation", "handles", "session", "types"},
    "opened_model": _LOW | {"gguf", "scheduler", "session", "tokenizer"},
    "conversations": {"arguments", "chat", "files", "records", "text"},
    "model": _LOW
    | {
        "chat",
        "embedding",
        "generation",
        "grammar",
        "opened_model",
        "scheduler",
        "scoring",
        "session",
        "speculation",
        "store",
        "template",
        "tokenizer",
        "tools",
    },
    "scoring": _LOW | {"session"},
    "embedding": _LOW | {"gguf", "session", "tokenizer"},
    "loading": _LOW | {"gguf", "model", "store", "template", "tokenizer"},
    "api": _LOW | {"chat", "generation", "grammar", "model", "scheduler", "tools"},
    "server": _LOW | {"api", "embedding", "generation", "loading", "model", "opened_model", "tools"},
    "batch": _LOW | {"generation", "grammar", "loading", "model", "scheduler"},
    "compat": _LOW
    | {
        "api",
        "chat",
        "generation",
        "grammar",
        "loading",
        "model",
        "scheduler",
        "session",
        "store",
        "template",
        "tools",
    },
    "evaluation": _LOW | {"chat", "gguf", "loading", "model", "session", "store", "tools"},
    "choices": _LOW | {"evaluation", "gguf", "loading", "model", "scoring"},
    "distributed": _LOW
    | {
        "embedding",
        "evaluation",
        "generation",
        "grammar",
        "loading",
        "model",
        "scheduler",
        "scoring",
        "tools",
    },
    "bench": _LOW | {"inspect", "loading", "model", "session", "synthetic"},
    "doctor": _LOW | {"bench", "store"},
    "imatrix": _LOW | {"evaluation", "gguf", "loading", "model"},
    "pictures": _LOW | {"gguf"},
    "compare": _LOW | {"evaluation", "gguf", "loading", "model", "pictures"},
    "recipes": _LOW | {"gguf"},
    "quantize": _LOW | {"gguf", "imatrix", "inspect", "recipes", "source", "store"},
    "rewrite": _LOW | {"gguf", "quantize", "source", "tokenizer"},
    "toolcheck": _LOW
    | {
        "batch",
        "chat",
        "evaluation",
        "generation",
        "gguf",
        "grammar",
        "loading",
        "model",
        "scheduler",
        "tools",
    },
    "search": _LOW
    | {"bench", "compare", "evaluation", "gguf", "imatrix", "loading", "model", "quantize", "recipes", "store"},
    "synthetic": _LOW | {"recipes", "tokenizer"},
    "report": _LOW
    | {
        "bench",
        "compare",
        "evaluation",
        "gguf",
        "inspect",
        "loading",
        "model",
        "pictures",
        "recipes",
        "session",
        "store",
        "tokenizer",
    },
}
CLI = {
    "entry": {"main", "terminal"},
    "main": {"commands", "options", "terminal"},
    "commands": {"chat", "message", "options", "repl", "screen", "slash", "terminal"},
    "repl": {"chat", "message", "slash", "terminal"},
    "slash": {"chat", "message", "screen", "terminal", "tokens"},
    "chat": {"message", "options", "screen", "terminal", "tokens"},
    "message": {"options", "terminal"},
    "screen": {"terminal"},
    "tokens": {"terminal"},
    "terminal": {"options"},
    "options": set[str](),
}
RULES = {"cli": CLI, "runtime": RUNTIME}
"""What each room of a folder may import of the others. A new room gets a row here."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_from_the_folders_below(folder: str) -> None:
    files = files_of(ROOT / folder)
    assert files
    for file in files:
        imported = {[*module.split("."), "subbyte itself"][1] for module in imports_of(file)}
        above = imported - FOLDERS[folder] - {folder}
        assert not above, f"{file.relative_to(ROOT)} imports from {sorted(above)}"


@pytest.mark.parametrize("folder", RULES)
def test_a_room_imports_only_from_the_rooms_below(folder: str) -> None:
    assert violations(import_graph(ROOT, folder), RULES[folder], folder) == []


def violations(graph: Graph, rules: dict[str, set[str]], folder: str) -> list[str]:
    """Rooms without a rule, and arrows that no rule allows."""
    rooms = {box.removeprefix(f"{folder}."): {o.removeprefix(f"{folder}.") for o in graph[box]} for box in graph}
    wrong = [f"{room} has no rule" for room in sorted(rooms.keys() - rules.keys())]
    return wrong + [
        f"{room} imports from {other}"
        for room in sorted(rooms.keys() & rules.keys())
        for other in sorted(rooms[room] - rules[room])
    ]


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_circle_between_rooms(folder: str) -> None:
    assert circles(import_graph(ROOT, folder)) == []


@pytest.mark.parametrize("folder", RULES)
def test_no_circle_between_files(folder: str) -> None:
    modules = {
        ".".join(("subbyte", *file.relative_to(ROOT).with_suffix("").parts)): file for file in files_of(ROOT / folder)
    }
    graph = {
        module: {name for full in imports_of(file) for name in (full, full.rpartition(".")[0]) if name in modules}
        for module, file in modules.items()
    }
    assert any(graph.values())
    assert circles(graph) == []


def test_the_checks_see_an_upward_import_and_a_circle() -> None:
    assert list(python_imports("def f():\n    from subbyte.runtime.gguf import GGUF")) == ["subbyte.runtime.gguf.GGUF"]
    graph = {"runtime.gguf": {"runtime.chat"}, "runtime.chat": {"runtime.gguf"}, "runtime.new": set[str]()}
    assert violations(graph, RUNTIME, "runtime") == ["new has no rule", "gguf imports from chat"]
    assert circles(graph) == [{"runtime.gguf", "runtime.chat"}]
    assert floors(graph) == [["runtime.chat", "runtime.gguf", "runtime.new"]]
