"""One answer in the chat: streamed, stopped by Ctrl-C, counted; a context that is full is made room in."""

from collections.abc import Callable
from functools import partial

from subbyte.cli.chat.context import ReplContext
from subbyte.cli.chat.full_context import MAKES_ROOM, choices, go_on, is_cut_by_end, policy, tell_changes, warn
from subbyte.cli.chat.reasoning import Reasoning, ShownAnswer
from subbyte.cli.chat.stream import show
from subbyte.cli.chat.tools import next_step
from subbyte.cli.screen.answer_text import answer_text
from subbyte.cli.terminal.interrupt import no_interrupt, one_interrupt
from subbyte.cli.tokens.scores import whole_answer
from subbyte.errors import ContextOverflow


def answer(context: ReplContext, start: Callable[[], ShownAnswer]) -> None:
    """Starts and streams an answer, and goes on with the results of what it calls until one calls nothing.

    Ctrl-C ends it, and what has come stays in the conversation. Where the context is full, before the answer or within
    it, it goes on as the policy or the user says. Raises ContextOverflow where the answer can't begin.
    """
    context.prepare_chat()
    step: Callable[[], ShownAnswer] | None = start
    while step is not None:
        goes_on, reply = _uncut(context, step), context.chat.last
        step = next_step(context, reply) if goes_on and reply is not None else None
    _end(context)


def _uncut(context: ReplContext, start: Callable[[], ShownAnswer]) -> bool:
    """Streams an answer, and what comes behind the end of a context that is made room in; False after Ctrl-C."""
    n_before = context.n_generated
    goes_on = _with_room(context, start)
    try:
        while goes_on and context.policy != "stop" and is_cut_by_end(context.chat):
            goes_on = _with_room(context, partial(go_on, context.chat, context.n_generated - n_before))
    except ContextOverflow:
        pass  # the user stops here, or there is no way to go on: what has come stays
    return goes_on


def _with_room(context: ReplContext, start: Callable[[], ShownAnswer]) -> bool:
    """Streams an answer, where it does not fit once what the user chooses is done; False where Ctrl-C ended it."""
    try:
        return _stream(context, start)
    except ContextOverflow as error:
        overflow = error
    for chosen in choices(context):
        try:
            with policy(context.chat, chosen):
                return _stream(context, start)
        except ContextOverflow as error:
            overflow = error
    raise overflow


def _stream(context: ReplContext, start: Callable[[], ShownAnswer]) -> bool:
    generation, stopped = None, False
    n_ctx, forgotten = context.chat.n_ctx, context.chat.forgotten
    reasoning = Reasoning(context.out, hidden=context.hide_thinking, keyboard=context.keyboard)
    text = answer_text(context.out, plain=context.plain or context.constraint is not None)
    try:
        with context.keyboard.listening(), one_interrupt():
            generation = start()
            with no_interrupt():
                context.keep()  # the question: whatever ends the process, no more than the answer is lost
            tell_changes(context, n_ctx, forgotten)
            show(generation, text, reasoning)
    except KeyboardInterrupt:
        stopped = True
        context.keyboard.take()  # dropped, as the terminal drops at Ctrl-C the keys that nobody has read
        context.say(f"(stopped{_what_stays(context, generation)})")
    context.hide_thinking = reasoning.hidden
    if generation is not None:
        reply = generation.reply
        context.n_generated += reply.usage.completion
        context.seconds += reply.timings.generation
        context.scores, context.scored = whole_answer(context.scores, reply, context.piece), (context.chat, reply.text)
    return not stopped


def _end(context: ReplContext) -> None:
    """Says how an answer that is not whole goes on, and how full the context is."""
    reply = context.chat.last
    if is_cut_by_end(context.chat):
        context.say(f"(truncated: the context is full; {MAKES_ROOM})")
    elif reply is not None and reply.stop_reason == "length":
        context.say(f"(truncated: reached -n; {_what_next(context)})")
    else:
        warn(context)
    context.out.write("\n")
    context.out.flush()


def _what_stays(context: ReplContext, generation: ShownAnswer | None) -> str:
    """What a stop kept, and what can be done with that."""
    if generation is None:
        return " before it began; nothing was changed"
    if context.chat.unanswered is not None:
        return " while the question was read; it is kept: /regen answers it"
    if generation.reply.text or generation.reply.thinking or generation.reply.tool_calls:
        return "; what came is kept: /continue goes on, /undo takes it back"
    return " before anything came; the old answer is kept"


def _what_next(context: ReplContext) -> str:
    return "/regen asks again" if context.chat.unanswered is not None else "/continue goes on"
