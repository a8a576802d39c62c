"""The messages of a conversation: those up to the last answer, and those that wait for one."""

import json
from collections.abc import Iterable, Sequence

from subbyte.runtime import arguments
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.tools.call import ToolCall


class History:
    """messages: up to the last answer. waiting: behind it, a question or results of tools that nothing answered yet."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        given = list(messages)
        n = next((i for i in range(len(given), 0, -1) if given[i - 1].role == "assistant"), 0)
        self.messages, self.waiting = given[:n], given[n:]

    @property
    def everything(self) -> list[Message]:
        """All messages, those that wait included."""
        return [*self.messages, *self.waiting]

    @property
    def open_calls(self) -> Sequence[ToolCall]:
        """The calls of the last answer that have no result yet."""
        calls = self.messages[-1].tool_calls if self.messages else ()
        return calls[sum(message.role == "tool" for message in self.waiting) :]

    def last_answer(self, to: str) -> tuple[list[Message], Message]:
        """What the last answer follows, and that answer. to: what is wanted of it. Raises ValueError without one."""
        if not self.messages:
            raise ValueError(f"there is no answer to {to}: nothing was said yet")
        return self.messages[:-1], self.messages[-1]

    def asked(self, question: Message) -> list[Message]:
        """The conversation with one more question, which takes the place of one that waits.

        Raises ValueError while a call has no result.
        """
        self._check_results()
        waiting = self.waiting[:-1] if self.waiting and self.waiting[-1].role == "user" else self.waiting
        return [*self.messages, *waiting, question]

    def to_answer(self) -> list[Message]:
        """The conversation where something waits for an answer. Raises ValueError where nothing does."""
        self._check_results()
        if not self.waiting:
            raise ValueError("there is nothing to answer: the conversation ends with an answer; send a text")
        return self.everything

    def with_results(self, results: Iterable[object]) -> list[Message]:
        """The conversation with the results of all open calls, in their order."""
        calls, given = self.open_calls, arguments.items("results", results, "a list, a result for each call")
        if not calls:
            raise ValueError("there is no call to give a result of: the last answer has none without")
        if len(given) != len(calls):
            raise ValueError(f"results has {len(given)} items, but there are {len(calls)} calls; give one for each")
        pairs = zip(calls, given, strict=True)
        return [*self.everything, *(Message("tool", _text(c, r), tool_call_id=c.id, name=c.name) for c, r in pairs)]

    def undo(self) -> str:
        """Takes back the last question with all that followed it; its text."""
        everything = self.everything
        n = next((i for i in range(len(everything) - 1, -1, -1) if everything[i].role == "user"), None)
        if n is None:
            raise ValueError("there is nothing to take back: nothing was said yet")
        taken = everything[n]
        self.messages, self.waiting = History(everything[:n]).messages, History(everything[:n]).waiting
        return taken.content

    def _check_results(self) -> None:
        if self.open_calls:
            name = self.open_calls[0].name
            raise ValueError(f"the last answer calls {name}, whose result must come first: give send_tool_results")


def _text(call: ToolCall, result: object) -> str:
    if isinstance(result, str):
        return result
    try:
        return json.dumps(result, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the result of {call.name} must be a text, or a value that JSON has: {error}") from None
