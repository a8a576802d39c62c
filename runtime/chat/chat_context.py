"""The context of a conversation: what is done when it is full, and what is left out of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, cast, get_args

from subbyte.errors import ContextOverflow, ResourceError, memory_errors
from subbyte.runtime import arguments
from subbyte.runtime.chat.answer_start import Question
from subbyte.runtime.chat.chat_state import ChatState
from subbyte.runtime.chat.history import History
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.turns import Forgotten, forget, forgettable, pin
from subbyte.runtime.generation.generation import Generation, Host

ContextPolicy: TypeAlias = Literal["stop", "forget", "grow"]
"""What is done where a conversation no longer fits: an error; the oldest turns are forgotten; a larger context."""

_ANSWER_SHARE, _ANSWER_ROOM = 8, 1024  # an eighth of the context is to be left for an answer, at most so many tokens


class ChatContext(ChatState):
    """A conversation that makes room in its context, by its policy or when it is told to."""

    n_ctx_train: int | None = None
    """The longest context that "grow" makes; None: it makes none."""
    _policy: ContextPolicy = "stop"
    _forgotten = Forgotten()

    @property
    def context_policy(self) -> ContextPolicy:
        """What is done where the conversation no longer fits; may be changed at any time.

        "stop": `ContextOverflow`, and nothing is changed. "forget": the oldest turns are forgotten, as by `forget`,
        until prompts take half of the context at most. "grow": the context is made twice as large, as by `resize`, up
        to what the model was trained for. The two begin where less is left for an answer than an eighth of the context,
        1024 tokens and `max_tokens`; ContextOverflow comes where they can't help. An answer that the end of the context
        has cut all the same goes on with `continue_answer`, which makes room in the same way.
        """
        return self._policy

    @context_policy.setter
    def context_policy(self, policy: ContextPolicy) -> None:
        self._policy = checked_policy(policy)

    @property
    def forgotten(self) -> Forgotten:
        """How many turns were forgotten since the conversation was begun or loaded, and how many tokens that saved."""
        return self._forgotten

    @property
    def can_grow(self) -> bool:
        """Whether "grow" can still help: the model was trained for more, and the context is the chat's own."""
        return self.n_ctx_train is not None and self.n_ctx < self.n_ctx_train and not isinstance(self.session, Host)

    def forget(self, n_turns: int = 1) -> Forgotten:
        """Leaves the oldest turns out of the prompts from now on; how many that were, and how many tokens.

        They stay in `messages`, marked as `forgotten`. System texts, pinned turns and the last turn stay in the prompt,
        which is then exactly that of a new conversation with the messages that are left: what is computed of the text
        before them is used again, that behind them is computed anew. Raises ValueError where no turn may be forgotten.
        """
        n_turns = arguments.whole("n_turns", n_turns, 1)
        with self._lock:
            self._settle()
            everything = self._history.everything
            if not (n_turns := min(n_turns, len(forgettable(everything)))):
                raise ValueError("there is nothing to forget: the system text, pinned turns and the last turn stay")
            asked = everything[: _last_question(everything) + 1]
            n_before = self._question(asked).n_tokens
            self._seen = []
            n_after = self._question(forget(asked, n_turns)).n_tokens
            return self._leave_out(n_turns, n_before - n_after)

    def pin(self, index: int = -1, *, pinned: bool = True) -> None:
        """Has the turn of messages[index], the last one if not said, stay when others are forgotten; or no longer."""
        index = arguments.whole("index", index)
        with self._lock:
            self._settle()
            everything = self._history.everything
            if not -len(everything) <= index < len(everything):
                raise ValueError(f"index is {index}, but there are {len(everything)} messages")
            index %= len(everything)
            self._history = History(pin(everything, index, pinned=arguments.flag("pinned", pinned)))

    def resize(self, n_ctx: int) -> None:
        """Gives the conversation a context of n_ctx tokens; it goes on as if it had had it from the beginning.

        What is computed by now is copied. Raises ResourceError without memory for it, ValueError for a conversation of
        a scheduler, whose context is the scheduler's.
        """
        with self._lock:
            self._settle()
            self._resize(n_ctx)

    def _resize(self, n_ctx: int) -> None:
        if isinstance(self.session, Host):
            raise ValueError("this conversation's context is its scheduler's: make a scheduler with a larger n_ctx")
        self.session.resize(n_ctx)

    @memory_errors("begin an answer")
    def _reply_to(self, asked: list[Message], begun: Message | Sequence[int] | None = None) -> Generation:
        question = self._question(asked, begun)
        room = min(self.n_ctx // _ANSWER_SHARE, _ANSWER_ROOM)
        most = self.n_ctx - (room if self.max_tokens is None else min(room, self.max_tokens))
        if question.n_tokens > most and self._policy == "grow":
            self._grow(question.n_tokens)
        if question.n_tokens > most and self._policy == "forget":
            return self._answer_shorter(question, most)
        return self._answer_question(question)

    def _answer_shorter(self, question: Question, most: int) -> Generation:
        """The answer to what is left of the conversation once enough of it is forgotten."""
        before, self._seen = self._seen, []  # so that the prompt has the tokens of one that never knew of the others
        try:
            n, shorter = self._shortened(question, most)
            answer = self._answer_question(shorter)
        except BaseException:
            self._seen = before
            raise
        self._leave_out(n, question.n_tokens - shorter.n_tokens)
        return answer

    def _shortened(self, question: Question, most: int) -> tuple[int, Question]:
        """How many turns are to be forgotten, and what then is to be answered; as it is, if that does not help."""
        n_turns = len(forgettable(question.asked))
        found: dict[int, Question] = {0: question}

        def size(n: int) -> int:
            if n not in found:
                found[n] = self._question(forget(question.asked, n), question.answer)
            return found[n].n_tokens

        for bound in (self.n_ctx // 2, most, self.n_ctx):
            n = bisect_left(range(n_turns + 1), -bound, key=lambda n: -size(n))
            if n <= n_turns:
                return n, found[n]
        return 0, question

    def _leave_out(self, n_turns: int, n_tokens: int) -> Forgotten:
        self._history = History(forget(self._history.everything, n_turns))
        forgotten = Forgotten(n_turns, n_tokens)
        self._forgotten += forgotten
        return forgotten

    def _grow(self, n_tokens: int) -> None:
        """Makes the context larger, if it can be. Raises ContextOverflow where it must be."""
        fits, most = n_tokens <= self.n_ctx, self.n_ctx_train if self.can_grow else None
        if most is None or n_tokens > most:
            if not fits:
                raise ContextOverflow(
                    f"the prompt has {n_tokens} tokens, but the context holds {self.n_ctx} and can be made no larger"
                    f"{f' than {most}' if most else ''}: forget the oldest turns, or shorten the text"
                )
            return
        try:
            self._resize(min(max(2 * self.n_ctx, n_tokens * 3 // 2), most))
        except ResourceError as error:
            if not fits:
                raise ContextOverflow(f"{error}, or forget the oldest turns") from None


def checked_policy(policy: object) -> ContextPolicy:
    """The policy, which must be one."""
    arguments.choice("context_policy", policy, get_args(ContextPolicy))
    return cast(ContextPolicy, policy)


def _last_question(messages: Iterable[Message]) -> int:
    """The index of the user's last message."""
    return max(i for i, message in enumerate(messages) if message.role == "user")
