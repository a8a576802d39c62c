"""What a conversation's answers may call: its tools, the model's format of calls, and whether an answer must call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from subbyte.runtime import arguments
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.grammar.constraint import Constraint
from subbyte.runtime.protocols import Tokenizer

if TYPE_CHECKING:  # imported where there are tools
    from subbyte.runtime.tools.call_grammar import CallGrammars
    from subbyte.runtime.tools.format import ToolFormat
    from subbyte.runtime.tools.parser import ToolUse
    from subbyte.runtime.tools.tool import Tool


class Calling:
    """tools: by name. format: how the model writes calls; None where there are no tools.

    choice: "auto", "none" (calls are text), "required", or the name of the tool that every answer calls. strict:
    whether a call that has begun is held to its tool's schema.
    """

    def __init__(
        self, tools: Mapping[str, Tool], format: ToolFormat | None, tokenizer: Tokenizer, *, strict: bool = True
    ) -> None:
        self.tools, self.format, self.strict, self._tokenizer = dict(tools), format, strict, tokenizer
        self.choice = "auto"

    @cached_property
    def _grammars(self) -> CallGrammars:
        from subbyte.runtime.tools.call_grammar import CallGrammars

        return CallGrammars(self.tools, self._tokenizer)

    def choose(self, choice: str) -> None:
        """Sets `choice`. Raises ValueError for one that there is not, and where the format can't be forced."""
        arguments.choice("tool_choice", choice, ("auto", "none", "required", *self.tools))
        if choice not in ("auto", "none"):
            if self.format is None:
                raise ValueError(f'tool_choice is "{choice}", but this conversation has no tools; give some')
            if self.format.in_channels:
                raise ValueError(
                    f'tool_choice is "{choice}", but this model calls by headers: only "auto" and "none" work'
                )
        self.choice = choice

    def use(self, asked: Sequence[Message]) -> ToolUse | None:
        """How the calls in an answer to these messages are found."""
        if self.format is None or not self.tools or self.choice == "none":
            return None
        from subbyte.runtime.tools.parser import ToolUse

        n_before = sum(len(message.tool_calls) for message in asked)
        return ToolUse(self.format, self.tools, n_before, self._grammars if self.strict else None)

    def required(self) -> Constraint | None:
        """What an answer must be that calls; None where it may or may not. Raises ResourceError without llguidance."""
        if self.format is None or self.choice in ("auto", "none"):
            return None
        name = None if self.choice == "required" else self.choice
        return self._grammars.whole(self.format.syntaxes[0], name)
