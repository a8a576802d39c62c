"""Telling the control tokens a chat template writes from text that only looks like them.

Nothing a user writes is ever changed or searched. Instead the *template's own* control tokens are replaced, before
it is rendered, by marks that nobody can guess; afterwards the marks become token ids, and all text between them is
tokenized as plain text. Whatever a template does with a message (cut, join, replace, change case), it can't make a
mark of it.

Some templates put a control token together around the role: `'[|' + message['role'] + '|]'`. So a known role writes
itself as a mark too, and where the vocabulary has a control token made of it and the text beside it, that is taken.
"""

import re
import secrets
from collections.abc import Callable

from subbyte.runtime.interfaces import Tokenizer

ROLES = ("system", "user", "assistant", "tool", "developer", "function", "ipython", "environment", "model")
_MAX_AFFIX = 16  # characters of a control token before and after the role in it


class Role(str):
    """A role's name: compares as the plain name, but is written into text as a mark."""

    mark: str

    def __str__(self) -> str:
        return self.mark


class Marks:
    """The marks of one template: private-use characters around a random number and digits, so that no change of case,
    stripping or quoting touches them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._open = f"\ue000{secrets.randbits(96)}."
        self._pattern = re.compile(re.escape(self._open) + r"([01])\.(\d+)\ue001")
        self._role_tokens: dict[tuple[str, str, str], int] = {}  # before, role, after: control token

    def token(self, id: int | None) -> str:
        """What stands for a control token; "" for None."""
        return "" if id is None else f"{self._open}0.{id}\ue001"

    def role(self, name: object) -> object:
        """A known role as `Role`; anything else unchanged."""
        if name not in ROLES or not isinstance(name, str):
            return name
        role = Role(name)
        role.mark = f"{self._open}1.{ROLES.index(name)}\ue001"
        return role

    def marker(self, source: str) -> Callable[[str], str]:
        """A function that marks, in parts of the template `source`, all control tokens that occur in it."""
        ids = {id for id in self._tokenizer.encode(source, special=True) if self._is_control(id)}
        marks = {text: self.token(id) for id in ids if (text := self._tokenizer.text(id))}
        if not marks:
            return str
        pattern = re.compile("|".join(map(re.escape, sorted(marks, key=len, reverse=True))))
        return lambda text: pattern.sub(lambda found: marks[found[0]], text)

    def plain(self, text: str) -> str:
        """Rendered text with every mark as the text it stands for."""
        return self._pattern.sub(
            lambda found: ROLES[int(found[2])] if found[1] == "1" else self._tokenizer.text(int(found[2])), text
        )

    def encode(self, text: str) -> list[int]:
        """Rendered text as token ids: control tokens where marks are, and nowhere else."""
        before, *rest = self._pattern.split(text)
        ids: list[int] = []
        for kind, number, after in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            id = int(number)
            if kind == "1":
                role = ROLES[id]
                found = self._role_token(before, role, after)
                if found is None:
                    before += role + after
                    continue
                (left, _, right), id = found
                before, after = before[: len(before) - len(left)], after[len(right) :]
            ids += self._encode_plain(before)
            ids.append(id)
            before = after
        return ids + self._encode_plain(before)

    def has_control(self, text: str) -> bool:
        """Whether `text`, read as template text, holds control tokens."""
        return any(self._is_control(id) for id in self._tokenizer.encode(text, special=True))

    def _encode_plain(self, text: str) -> list[int]:
        return self._tokenizer.encode(text) if text else []

    def _is_control(self, id: int) -> bool:
        return not self._tokenizer.piece(id)

    def _role_token(self, before: str, role: str, after: str) -> tuple[tuple[str, str, str], int] | None:
        """The control token made of the role, the end of `before` and the start of `after`: its parts and its id."""
        for parts, known in self._role_tokens.items():
            if parts[1] == role and before.endswith(parts[0]) and after.startswith(parts[2]):
                return parts, known
        for left in range(min(len(before), _MAX_AFFIX), 0, -1):
            for right in range(min(len(after), _MAX_AFFIX), 0, -1):
                parts = before[-left:], role, after[:right]
                id = self._tokenizer.id("".join(parts))
                if id is not None and self._is_control(id):
                    self._role_tokens[parts] = id
                    return parts, id
        return None
