"""The names of the package: the stub that type checkers read and the table that imports them say the same."""

import ast

from paths import ROOT

import subbyte


def test_the_stub_has_the_names_and_where_they_are_from() -> None:
    imports = [node for node in ast.parse((ROOT / "__init__.pyi").read_text()).body if isinstance(node, ast.ImportFrom)]
    stub = {alias.name: str(node.module) for node in imports for alias in node.names}
    assert all(alias.asname == alias.name for node in imports for alias in node.names)  # else it is not re-exported
    assert stub == {name: f"subbyte.{module}" for name, module in subbyte._HOME.items()}  # type: ignore[attr-defined]
    assert sorted(stub) == sorted(subbyte.__all__)  # type: ignore[attr-defined]
