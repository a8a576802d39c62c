"""Speculative decoding: tokens/s of answers with drafts and without, in turns, and that they are the same.

    python benchmarks/speculation.py smollm2 --write docs/performance.md

Each round answers every task in a new conversation without drafts and with them, the next round the other way round; a
ratio is of a round. The prompt's time does not count.
"""

import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
from engines import selection
from processor import processor
from tables.document import put_table
from tables.peers_table import head, line
from tables.records import paired

import subbyte
from subbyte.kernels import best_isa
from subbyte.runtime.machine import default_threads
from subbyte.runtime.model import Draft

TEXT = """The harbour of Ostrava Bay was built in 1874 by two brothers, Emil and Otto Brandt, who had sold a mill to pay
for it. It has three piers. The northern pier is for fishing boats, the middle pier for ferries, and the southern pier,
which is the longest, for ships that carry timber. In 1921 a storm destroyed the northern pier, and the town rebuilt it
in stone. Today the harbour has forty fishing boats, two ferries and a museum, which is open from May to September. The
museum shows the tools of the brothers, the bell of the first ferry, and a map of the bay from 1869."""
PLACES = {
    "type": "array", "minItems": 5, "maxItems": 5,
    "items": {
        "type": "object", "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "maxLength": 20}, "built_in_year": {"type": "integer", "maximum": 2000},
            "is_open_in_winter": {"type": "boolean"},
        },
        "required": ["name", "built_in_year", "is_open_in_winter"],
    },
}  # fmt: skip


class Task(NamedTuple):
    """A question, and the schema of its answer, if it has one."""

    question: str
    schema: Mapping[str, object] | None = None


TASKS = {
    "rewriting a text": Task(f'Write this text again, with "harbour" spelt "harbor":\n\n{TEXT}'),
    "answering from a text": Task(f"{TEXT}\n\nQuote the sentences of this text that tell of the piers and the museum."),
    "JSON from a schema": Task(f"{TEXT}\n\nList five things in this text as JSON.", PLACES),
    "a story": Task("Tell a long story of an old sailor and his daughter."),
}


class Found(NamedTuple):
    """Of one task: tokens/s without drafts and with them, round by round, and the last answer's usage."""

    without: Sequence[float]
    drafted: Sequence[float]
    usage: subbyte.Usage


def answer(model: subbyte.Model, task: Task, sampling: subbyte.Sampling, n_tokens: int, draft: Draft) -> subbyte.Reply:
    """The answer to a task in a new conversation."""
    constraint = None if task.schema is None else subbyte.Constraint.json_schema(task.schema)
    n_ctx = min(4096, model.info.n_ctx_train)
    with model.chat(n_ctx=n_ctx, sampling=sampling, max_tokens=n_tokens, draft=draft) as chat:
        return chat.send(task.question, constraint=constraint)


def measure(
    model: subbyte.Model, task: Task, draft: Draft, sampling: subbyte.Sampling, n_tokens: int, rounds: int
) -> Found:
    """Raises ValueError for answers that are not the same."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    replies: dict[bool, subbyte.Reply] = {}
    for i in range(rounds):
        for with_drafts in (False, True) if i % 2 == 0 else (True, False):
            reply = answer(model, task, sampling, n_tokens, draft if with_drafts else None)
            rates[with_drafts].append(reply.timings.generation_rate)
            replies[with_drafts] = reply
        if replies[True].tokens != replies[False].tokens:
            raise ValueError(f"the answer with drafts is another: {replies[True].text!r}, not {replies[False].text!r}")
    return Found(rates[False], rates[True], replies[True].usage)


def row(name: str, found: Found) -> str:
    """Markdown: tokens/s, the ratio's median with its extremes, and drafts."""
    ratio, usage = paired(list(found.drafted), list(found.without)), found.usage
    rates = [f"{median(rates):.1f}" for rates in (found.without, found.drafted)]
    return line([name, *rates, str(ratio), f"{usage.accepted} of {usage.drafted}", str(usage.completion)])


@click.command(help=__doc__)
@click.argument("model")
@click.option("--draft", default="lookup", metavar="lookup|MODEL", help="What guesses.")
@click.option("--temperature", default=0.0, type=click.FloatRange(0), help="Of sampling, with one seed.")
@click.option("--rounds", default=5, type=click.IntRange(1), help="Answers of each kind to each task.")
@click.option("--tokens", default=256, type=click.IntRange(1), help="Of an answer at most.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1))
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(
    model: str, draft: str, temperature: float, rounds: int, tokens: int, threads: int, write: Path | None
) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine, isa = processor(), best_isa()
    rows = [head(["task", "without", "with drafts", "ratio", "accepted", "tokens"])]
    try:
        with ExitStack() as stack:
            loaded = stack.enter_context(subbyte.load(model, threads=threads))
            drafter: Draft = "lookup"
            if draft != "lookup":
                drafter = stack.enter_context(subbyte.load(draft, threads=threads))
            sampling = subbyte.Sampling(temperature=temperature, seed=1)
            for name, task in TASKS.items():
                rows.append(row(name, measure(loaded, task, drafter, sampling, tokens, rounds)))
                click.echo(rows[-1], err=True)
        words = [Path(model).name, f"--draft {Path(draft).name} --temperature {temperature:g}"]
        words.append(f"--rounds {rounds} --tokens {tokens}")
        text = "\n\n".join([
            f"    {selection.shown_command('speculation.py', words, threads, [])}",
            f"{machine}, {threads} threads, instruction set {isa}; subbyte {version('subbyte')}; {rounds} rounds; "
            f"{date.today().isoformat()}. Tokens/s of the answers, and the drafts of one that were accepted:",
            "\n".join(rows),
        ])  # fmt: skip
        click.echo(text)
        if write is not None:
            put_table(write, f"speculation: {machine}, {isa}", text)
    except (subbyte.SubbyteError, ValueError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
