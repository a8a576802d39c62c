"""The import graph of subbyte's rooms: which folder imports from which, its floors and its circles.

    python tests/support/import_graph.py [CHECKOUT]      boxes, arrows, floors, circles of each top-level folder
    python tests/support/import_graph.py --dot [CHECKOUT] | dot -Tsvg > rooms.svg

A box is a folder, or a file that stands beside them. Every import counts, also one inside a function or for type
checkers alone; of kernels/ the #include lines of C count as well.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

Graph = dict[str, set[str]]

TOP = ("cli", "runtime", "models", "kernels")
_CYTHON = re.compile(r"^\s*(?:from|import|cimport) (subbyte\.[\w.]+)", re.MULTILINE)
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"|^\s*cdef extern from "([^"]+)"|^include "([^"]+)"', re.MULTILINE)


def python_imports(source: str) -> Iterator[str]:
    """Modules of subbyte that Python source imports, as dotted names; a name imported from a package counts as one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "subbyte":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "subbyte")


def imports_of(file: Path) -> list[str]:
    """Modules of subbyte that a Python or Cython file imports."""
    text = file.read_text()
    return list(python_imports(text)) if file.suffix in (".py", ".pyi") else _CYTHON.findall(text)


def included(text: str) -> list[str]:
    """Files that C or Cython source includes, as it names them; those of the compiler aside."""
    return ["".join(groups) for groups in _INCLUDE.findall(text)]


def box_of(module: str, root: Path) -> str | None:
    """The box that a dotted name stands in, such as "runtime.gguf"; None for the package itself and its errors."""
    parts = module.split(".")[1:]
    if not parts or parts[0] not in TOP:
        return None
    beside = len(parts) > 1 and ((root / parts[0] / parts[1]).is_dir() or _is_module(root / parts[0] / parts[1]))
    return ".".join(parts[:2]) if beside else parts[0]


def _is_module(path: Path) -> bool:
    return any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyx", ".pyi"))


def files_of(folder: Path) -> list[Path]:
    """All Python and Cython sources below a folder, but for package heads, which only re-export."""
    return sorted(f for f in folder.rglob("*") if f.suffix in (".py", ".pyx", ".pyi") and f.name != "__init__.py")


def import_graph(root: Path, folder: str) -> Graph:
    """The boxes of one top-level folder and what each imports of the others in it."""
    graph: Graph = {}
    for file in files_of(root / folder):
        here = box_of(".".join(("subbyte", *file.relative_to(root).with_suffix("").parts)), root)
        assert here is not None
        boxes = {box for module in imports_of(file) if (box := box_of(module, root)) and box.split(".")[0] == folder}
        graph.setdefault(here, set()).update(boxes - {here, folder})
    return graph


def include_graph(root: Path, folder: str = "kernels") -> Graph:
    """The same of C: folders below one, or files beside them, and whose headers each includes.

    A header is looked for beside the file that includes it, then anywhere below the folder.
    """
    sources = [f for f in (root / folder).rglob("*") if f.suffix in (".c", ".h", ".pyx", ".pxi")]
    headers = {f.name: f for f in (root / folder).rglob("*") if f.suffix in (".h", ".def", ".pxi")}
    graph: Graph = {}
    for file in sources:
        here = _room(file, root / folder)
        graph.setdefault(here, set())
        for name in included(file.read_text()):
            header = file.parent / name if (file.parent / name).exists() else headers.get(Path(name).name)
            if header is not None:
                graph[here].add(_room(header.resolve(), root / folder))
        graph[here].discard(here)
    return graph


def _room(file: Path, folder: Path) -> str:
    return file.relative_to(folder).parts[0].split(".")[0]


def circles(graph: Graph) -> list[set[str]]:
    """Sets of boxes that reach each other (strongly connected components of more than one)."""
    reach = {box: set(_reachable(graph, box)) for box in graph}
    sets = {frozenset({box} | {other for other in reach[box] if box in reach[other]}) for box in graph}
    return sorted((set(s) for s in sets if len(s) > 1), key=sorted)


def _reachable(graph: Graph, start: str) -> Iterable[str]:
    seen: set[str] = set()
    rest = [start]
    while rest:
        for box in graph.get(rest.pop(), ()):
            if box not in seen:
                seen.add(box)
                rest.append(box)
    return seen


def floors(graph: Graph) -> list[list[str]]:
    """Boxes by height: on the first floor those that import nothing; a circle stands on one floor."""
    of: dict[str, frozenset[str]] = {box: frozenset({box}) for box in graph}
    for circle in circles(graph):
        of.update(dict.fromkeys(circle, frozenset(circle)))

    def height(group: frozenset[str]) -> int:
        below = {of[other] for box in group for other in graph[box] if other in of} - {group}
        return 1 + max(map(height, below), default=0)

    heights = {box: height(of[box]) for box in graph}
    return [sorted(box for box in graph if heights[box] == level) for level in range(1, max(heights.values()) + 1)]


def describe(graph: Graph) -> str:
    """Counts, floors from the top down, and circles, as text."""
    arrows = sum(len(others) for others in graph.values())
    rows = floors(graph)
    found = circles(graph)
    lines = [f"{len(graph)} boxes, {arrows} arrows, {len(rows)} floors, {len(found)} circles"]
    lines += [f"{level:3}  {'  '.join(rows[level - 1])}" for level in range(len(rows), 0, -1)]
    return "\n".join(lines + [f"circle: {' <-> '.join(sorted(circle))}" for circle in found])


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language."""
    lines = [f'  "{box}" -> "{other}"' for box in sorted(graph) for other in sorted(graph[box])]
    return "\n".join(["digraph rooms {", "  rankdir=TB; node [shape=box]", *lines, "}"])


def main(arguments: list[str]) -> None:
    as_dot = "--dot" in arguments
    paths = [argument for argument in arguments if argument != "--dot"]
    root = Path(paths[0] if paths else ".").resolve()
    graphs = {folder: import_graph(root, folder) for folder in TOP[:3]} | {"kernels (C)": include_graph(root)}
    if as_dot:
        print(dot({box: others for graph in graphs.values() for box, others in graph.items()}))
    else:
        print("\n\n".join(f"{name}: {describe(graph)}" for name, graph in graphs.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
