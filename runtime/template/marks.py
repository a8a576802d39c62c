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

from subbyte.runtime.protocols import Tokenizer

ROLES = ("system", "user", "assistant", "tool", "developer", "function", "ipython", "environment", "model")
_MAX_AFFIX = 16  # characters of a control token before and after the role in it


class Marks:
    """The marks of one template: private-use characters around a random number and digits, so that no change of case,
    stripping or quoting touches them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._open = f"\ue000{secrets.randbits(96)}."
        self._pattern = re.compile(re.escape(self._open) + r"([0-9.]*)\ue001")
        self._given: dict[str, int | str] = {}  # number of a mark: control token or role; a template can make up others
        self._role_tokens: dict[tuple[str, str, str], int] = {}  # before, role, after: control token

    def token(self, id: int | None) -> str:
        """What stands for a control token; "" for None."""
        return "" if id is None else self._mark(f"0.{id}", id)

    def roles(self) -> dict[str, str]:
        """What stands for the roles' names where they are written."""
        return {name: self._mark(f"1.{i}", name) for i, name in enumerate(ROLES)}

    def _mark(self, number: str, meaning: int | str) -> str:
        self._given[number] = meaning
        return f"{self._open}{number}\ue001"

    def controls(self, source: str) -> dict[str, str]:
        """What stands for the control tokens that occur in the template `source`."""
        ids = {id for id in self._tokenizer.encode(source, special=True) if self._is_control(id)}
        return {text: self.token(id) for id in ids if (text := self._tokenizer.text(id))}

    def plain(self, text: str) -> str:
        """Rendered text with every mark as the text it stands for."""
        return self._pattern.sub(lambda found: self._text(self._given.get(found[1], "")), text)

    def _text(self, meaning: int | str) -> str:
        return meaning if isinstance(meaning, str) else self._tokenizer.text(meaning)

    def encode(self, text: str) -> list[int]:
        """Rendered text as token ids: control tokens where marks are, and nowhere else."""
        before, *rest = self._pattern.split(text)
        ids: list[int] = []
        for number, after in zip(rest[::2], rest[1::2], strict=True):
            meaning = self._given.get(number, "")
            if isinstance(meaning, str):
                found = self._role_token(before, meaning, after) if meaning else None
                if found is None:
                    before += meaning + after
                    continue
                (left, _, right), meaning = found
                before, after = before[: len(before) - len(left)], after[len(right) :]
            ids += self._encode_plain(before, ids)
            ids.append(meaning)
            before = after
        return ids + self._encode_plain(before, ids)

    def has_control(self, text: str) -> bool:
        """Whether `text`, read as template text, holds control tokens."""
        return any(self._is_control(id) for id in self._tokenizer.encode(text, special=True))

    def _encode_plain(self, text: str, before: list[int]) -> list[int]:
        return self._tokenizer.encode(text, after=before[-1] if before else None) if text else []

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
