"""One answer in the chat: streamed, stopped by Ctrl-C, counted."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from subbyte.cli.repl.context import ReplContext
from subbyte.cli.repl.reasoning import Reasoning
from subbyte.cli.repl.stream import show
from subbyte.cli.terminal.interrupt import no_interrupt, one_interrupt

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.generation import Generation

FORGETS = "/clear forgets the conversation"


def answer(context: ReplContext, start: "Callable[[], Generation]") -> None:
    """Starts and streams an answer; Ctrl-C ends it, and what has come stays in the conversation."""
    generation = None
    reasoning = Reasoning(context.out, hidden=context.hide_thinking, keyboard=context.keyboard)
    try:
        with context.keyboard.listening(), one_interrupt():
            generation = start()
            with no_interrupt():
                context.keep()  # the question: whatever ends the process, no more than the answer is lost
            show(generation, context.out, reasoning)
    except KeyboardInterrupt:
        context.keyboard.take()  # dropped, as the terminal drops at Ctrl-C the keys that nobody has read
        context.say(f"(stopped{_what_stays(context, generation)})")
    context.hide_thinking = reasoning.hidden
    if generation is not None:
        _count(context, generation.reply)
    context.out.write("\n")
    context.out.flush()


def _what_stays(context: ReplContext, generation: "Generation | None") -> str:
    """What a stop kept, and what can be done with that."""
    if generation is None:
        return " before it began; nothing was changed"
    if context.chat.unanswered is not None:
        return " while the question was read; it is kept: /regen answers it"
    if generation.reply.text or generation.reply.thinking:
        return "; what came is kept: /continue goes on, /undo takes it back"
    return " before anything came; the old answer is kept"


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
