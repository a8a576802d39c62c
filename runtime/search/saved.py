"""The files of a search: for each target a recipe and its evidence, and the importance matrix they were found with."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from subbyte.runtime.files import FileKind, atomic_write, check_place, write_failure
from subbyte.runtime.imatrix.imatrix import IMATRIX_FILE
from subbyte.runtime.search.result import RecipeSearch

_RECIPE = FileKind("a recipe", lambda head: head.startswith((b"name =", b"type =", b"mix =", b"#")))
_EVIDENCE = FileKind("the evidence of a recipe", lambda head: head.startswith(b"{"))


@dataclass(frozen=True)
class Place:
    """Where a search's files go: `STEM-TARGET.toml` and `.json` for each target, and `STEM.imatrix`, in a folder."""

    folder: Path
    stem: str
    overwrite: bool = False

    def recipe(self, target: str) -> Path:
        """The recipe of a target."""
        return self.folder / f"{self.stem}-{target}.toml"

    def evidence(self, target: str) -> Path:
        """What stands for it."""
        return self.folder / f"{self.stem}-{target}.json"

    @property
    def imatrix(self) -> Path:
        """The importance matrix, if the search made one."""
        return self.folder / f"{self.stem}.imatrix"

    def check(self, targets: Iterable[str], *, imatrix: bool) -> None:
        """Raises, before any work is done, what `save` would: FileExists and ResourceError."""
        for target in targets:
            check_place(self.recipe(target), _RECIPE, overwrite=self.overwrite)
            check_place(self.evidence(target), _EVIDENCE, overwrite=self.overwrite)
        if imatrix:
            check_place(self.imatrix, IMATRIX_FILE, overwrite=self.overwrite)

    def save(self, search: RecipeSearch, imatrix: Path | None) -> None:
        """Writes the files, each whole. imatrix: the one to copy."""
        for of in search.found:
            self._write(self.recipe(of.target), _RECIPE, of.recipe)
            self._write(self.evidence(of.target), _EVIDENCE, search.evidence(of))
        if imatrix is not None:
            try:
                with atomic_write(self.imatrix, IMATRIX_FILE, overwrite=self.overwrite) as temporary:
                    shutil.copyfile(imatrix, temporary)
            except OSError as error:
                raise write_failure(self.imatrix, error) from error

    def _write(self, path: Path, kind: FileKind, text: str) -> None:
        try:
            with atomic_write(path, kind, overwrite=self.overwrite) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise write_failure(path, error) from error
