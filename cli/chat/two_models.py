"""--ab: each question is answered by two models, side by side where there is room, with the token where they part."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from subbyte.cli.chat.context import ReplContext, SecondModel
from subbyte.cli.chat.full_context import warn
from subbyte.cli.terminal.console import encodable, takes_escapes, terminal_width
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.status_line import StatusLine
from subbyte.cli.tokens.parting import Parting, describe_likeness, describe_parting, find_parting
from subbyte.errors import SubbyteError
from subbyte.runtime.text import spelt_out

if TYPE_CHECKING:
    from rich.text import Text

    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.generation.events import Reply
    from subbyte.runtime.generation.generation import Generation

MIN_COLUMNS = 100  # of a terminal that has room for two answers beside each other
MAX_SEED = 1 << 32


def answer_both(context: ReplContext, second: SecondModel, text: str) -> None:
    """Answers a question with both models, from the same messages and settings; the first one's answer stays.

    Ctrl-C ends both, and what has come is compared.
    """
    chats, names = (context.chat, second.chat), (context.model, second.name)
    context.prepare_chat()
    second.chat.resume(context.chat.messages, system=context.chat.system)
    line = StatusLine(context.out)
    answers: list[Generation] = []
    try:
        with context.keyboard.listening(), one_interrupt(), _same_settings(*chats):
            for chat, name in zip(chats, names, strict=True):
                answers.append(chat.stream(text))
                for _ in answers[-1]:
                    line.write(f"{name}: {len(answers[-1].tokens)} tokens")
    except SubbyteError as error:
        if not answers:
            raise
        context.say(f"error: {second.name}: {error}")
    except KeyboardInterrupt:
        context.keyboard.take()
        context.say("(stopped)")
    finally:
        line.clear()
    if not answers:
        return
    replies = [answer.reply for answer in answers]
    context.scores, context.scored = list(replies[0].logprobs), (context.chat, replies[0].text)
    context.n_generated += sum(reply.usage.completion for reply in replies)
    context.seconds += sum(reply.timings.generation for reply in replies)
    _show(context, replies, names)
    warn(context)


@contextmanager
def _same_settings(first: "Chat", other: "Chat") -> Iterator[None]:
    """Within, the second chat has what the first one has, and both have one seed: only the models differ."""
    before = first.sampling
    if before.seed is None:
        first.sampling = replace(before, seed=secrets.randbelow(MAX_SEED))
    other.sampling, other.max_tokens = first.sampling, first.max_tokens
    other.context_policy, other.constraint, other.logprobs = first.context_policy, first.constraint, first.logprobs
    if other.can_think:
        other.thinking = first.thinking
    try:
        yield
    finally:
        if before.seed is None:
            first.sampling = before


def _show(context: ReplContext, replies: "list[Reply]", names: tuple[str, str]) -> None:
    from rich.console import Console
    from rich.table import Table

    parting = find_parting(replies[0].logprobs, replies[1].logprobs) if len(replies) == 2 else None
    texts = [_marked(context, reply, parting) for reply in replies]
    width = terminal_width(context.out)
    console = Console(file=context.out, width=width, highlight=False, legacy_windows=False)
    if width >= MIN_COLUMNS and len(texts) == 2:
        table = Table.grid(padding=(0, 2), expand=True)
        for _ in texts:
            table.add_column(ratio=1)
        table.add_row(*(_heading(name) for name in names))
        table.add_row(*texts)
        console.print(table)
    else:
        for name, text in zip(names, texts, strict=False):
            console.print(_heading(name))
            console.print(text, end="\n\n")
    if len(replies) == 2:
        scores = replies[0].logprobs, replies[1].logprobs
        lines = describe_parting(parting, names) if parting is not None else [describe_likeness(*scores)]
        for line in lines:
            context.entry("  " if line is not lines[0] else "", line)
    if cut := [name for name, reply in zip(names, replies, strict=False) if reply.stop_reason == "length"]:
        context.say(f"(truncated: {' and '.join(cut)})")
    context.out.write("\n")
    context.out.flush()


def _heading(name: str) -> "Text":
    from rich.text import Text

    return Text(spelt_out(f"{name}:"), "bold")


def _marked(context: ReplContext, reply: "Reply", parting: Parting | None) -> "Text":
    """The answer, its first token that the other one does not have set apart: reversed, or between »«."""
    from rich.text import Text

    pieces = [score.piece for score in reply.logprobs[: len(reply.tokens)]]
    if parting is None or parting.n >= len(pieces):
        return Text(spelt_out(b"".join(pieces).decode(errors="replace")))
    n = parting.n
    before, token, behind = (b"".join(part).decode(errors="replace") for part in
                             (pieces[:n], pieces[n : n + 1], pieces[n + 1 :]))  # fmt: skip
    if not takes_escapes(context.out):
        marks = encodable("»«", "><", context.out)
        return Text(spelt_out(f"{before}{marks[0]}{token}{marks[1]}{behind}"))
    return Text.assemble(spelt_out(before), (spelt_out(token), "reverse"), spelt_out(behind))
