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
from collections.abc import Container, Sequence
from typing import NamedTuple

from subbyte.runtime.protocols import Tokenizer

ROLES = ("system", "user", "assistant", "tool", "developer", "function", "ipython", "environment", "model")
_MAX_AFFIX = 16  # characters of a control token before and after the role in it
_MAX_ROLE_TOKENS = 64  # control tokens with one role in them: each is looked for at each mark of the role


class _RoleToken(NamedTuple):
    """A control token made of a role: what stands in it before and after the role."""

    before: str
    after: str
    id: int


class Marks:
    """The marks of one template: private-use characters around a random number and digits, so that no change of case,
    stripping or quoting touches them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._open = f"\ue000{secrets.randbits(96)}."
        self._pattern = re.compile(re.escape(self._open) + r"([0-9.]*)\ue001")
        self._given: dict[str, int | str] = {}  # number of a mark: control token or role; a template can make up others
        self._role_tokens = {role: _role_tokens(tokenizer, role) for role in ROLES}

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

    def named(self, text: str) -> str:
        """Rendered text with the names of roles where their marks are; a template may spell one out as well."""
        return self._pattern.sub(lambda mark: self._name(mark[1]) or mark[0], text)

    def whole(self, text: str, start: int, end: int, ends: Container[int]) -> tuple[int, int]:
        """Where a stretch of `named(text)` is in `text`; it cuts no mark in two, and takes a token of `ends` behind it.

        White space between the two goes with that.
        """
        (start, _), (_, end) = self._around(text, start), self._around(text, end)
        mark = self._pattern.search(text, end)
        if mark and self._given.get(mark[1], "") in ends and not text[end : mark.start()].strip():
            end = mark.end()
        return start, end

    def _around(self, text: str, at: int) -> tuple[int, int]:
        """Where a place of `named(text)` is in `text`: it, twice, or both ends of a mark that it is within."""
        shift = 0  # what the marks of roles before it have more than their names
        for mark in self._pattern.finditer(text):
            length = len(self._name(mark[1]) or mark[0])
            behind = mark.start() - shift + length
            if behind > at:
                return (at + shift, at + shift) if behind - length >= at else mark.span()
            shift += len(mark[0]) - length
        return at + shift, at + shift

    def _name(self, number: str) -> str:
        """The role that a mark of this number stands for; "" where it is a token's."""
        meaning = self._given.get(number, "")
        return meaning if isinstance(meaning, str) else ""

    def encode(self, text: str, behind: Sequence[int] = ()) -> list[int]:
        """Rendered text as token ids: control tokens where marks are, and nowhere else. behind: ids before it."""
        first, *rest = self._pattern.split(text)
        ids: list[int] = list(behind[-1:])
        pieces, tail = [first], first[-_MAX_AFFIX:]  # the text since the last control token, and its end
        for number, after in zip(rest[::2], rest[1::2], strict=True):
            meaning = self._given.get(number, "")
            left = 0
            if isinstance(meaning, str):
                token = self._role_token(tail, meaning, after)
                if token is None:
                    pieces += [meaning, after]
                    tail = (tail + meaning + after[-_MAX_AFFIX:])[-_MAX_AFFIX:]
                    continue
                left, after, meaning = len(token.before), after[len(token.after) :], token.id
            before = "".join(pieces)
            ids += self._encode_plain(before[: len(before) - left], ids)
            ids.append(meaning)
            pieces, tail = [after], after[-_MAX_AFFIX:]
        return (ids + self._encode_plain("".join(pieces), ids))[len(behind[-1:]) :]

    def has_control(self, text: str) -> bool:
        """Whether `text`, read as template text, holds control tokens."""
        return any(self._is_control(id) for id in self._tokenizer.encode(text, special=True))

    def _encode_plain(self, text: str, before: list[int]) -> list[int]:
        return self._tokenizer.encode(text, after=before[-1] if before else None) if text else []

    def _is_control(self, id: int) -> bool:
        return not self._tokenizer.piece(id)

    def _role_token(self, before: str, role: str, after: str) -> _RoleToken | None:
        """The control token made of the role, the end of `before` and the start of `after`."""
        for token in self._role_tokens.get(role, ()):
            if before.endswith(token.before) and after.startswith(token.after):
                return token
        return None


def _role_tokens(tokenizer: Tokenizer, role: str) -> Sequence[_RoleToken]:
    """The control tokens with text on both sides of the role, those with the longest text before it first."""
    found = []
    for id in tokenizer.controls_with(role, _MAX_ROLE_TOKENS):
        before, _, after = tokenizer.text(id).partition(role)
        if 0 < len(before) <= _MAX_AFFIX and 0 < len(after) <= _MAX_AFFIX:
            found.append(_RoleToken(before, after, id))
    return sorted(found, key=lambda token: (-len(token.before), -len(token.after)))
