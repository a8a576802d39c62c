"""One answer in the chat: streamed, stopped by Ctrl-C, counted."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from subbyte.cli.repl.context import ReplContext
from subbyte.cli.repl.reasoning import Reasoning
from subbyte.cli.repl.stream import show
from subbyte.cli.repl.tools import next_step
from subbyte.cli.screen.answer_text import answer_text
from subbyte.cli.terminal.interrupt import one_interrupt

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.generation import Generation

FORGETS = "/clear forgets the conversation"


def answer(context: ReplContext, start: "Callable[[], Generation]") -> None:
    """Answers, and goes on with the results of what the answer calls until one calls nothing."""
    step: Callable[[], Generation] | None = start
    while step is not None:
        reply = _show(context, step)
        step = None if reply is None else next_step(context, reply)
    context.out.write("\n")
    context.out.flush()


def _show(context: ReplContext, start: "Callable[[], Generation]") -> "Reply | None":
    """Starts and streams an answer; Ctrl-C ends it, and what has come stays in the conversation."""
    generation = None
    reasoning = Reasoning(context.out, hidden=context.hide_thinking, keyboard=context.keyboard)
    text = answer_text(context.out, plain=context.plain or context.constraint is not None)
    try:
        with context.keyboard.listening(), one_interrupt():
            generation = start()
            show(generation, text, reasoning)
    except KeyboardInterrupt:
        context.keyboard.take()  # dropped, as the terminal drops at Ctrl-C the keys that nobody has read
        context.say(f"(stopped; {_what_next(context)})")
    context.hide_thinking = reasoning.hidden
    if generation is None:
        return None
    _count(context, generation.reply)
    return generation.reply


def _count(context: ReplContext, reply: "Reply") -> None:
    context.n_generated += reply.usage.completion
    context.seconds += reply.timings.generation
    if reply.stop_reason == "length":
        full = reply.usage.prompt + reply.usage.completion > context.chat.n_ctx
        context.say(
            f"(truncated: {f'the context is full; {FORGETS}' if full else f'reached -n; {_what_next(context)}'})"
        )


def _what_next(context: ReplContext) -> str:
    return "/regen asks again" if context.chat.unanswered is not None else "/continue goes on"
