"""Servers of OpenAI's API under the same load: tokens/s of all clients, and how long each waits, of one and another.

    subbyte serve smollm2=model.gguf -t 2 --port 8081
    llama-server -m model.gguf -t 2 -np 8 -c 8192 --port 8082
    python -m llama_cpp.server --model model.gguf --n_threads 2 --n_ctx 1024 --interrupt_requests false --port 8083

    python benchmarks/serving.py --server subbyte=http://127.0.0.1:8081 --server llama-server=http://127.0.0.1:8082

Each client asks one question after another, all different ones, and reads the answer as a stream. Servers take turns
(A B, then B A, ...), so that a slow minute hits all of them; one that is not asked has nothing to do. A ratio is of two
neighbouring turns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import click
from http_client import Timed, timed_chat
from processor import processor
from tables.document import put_table
from tables.peers_table import head, line
from tables.records import paired

TEXT = Path(__file__).with_name("alice.txt")
WORDS = 150  # of a question, about 200 tokens


class Turn(NamedTuple):
    """What a server did for so many clients: tokens/s of all, seconds to the first token and for each of the others."""

    rate: float
    first: list[float]
    each: list[float]


def prompts(n: int, seed: int) -> list[str]:
    """Questions with passages of a book in them, other ones for each seed."""
    words = TEXT.read_text().split()
    starts = [(7919 * (seed * n + i)) % (len(words) - WORDS) for i in range(n)]
    return [f"[{seed}.{i}] Go on with this story: {' '.join(words[s : s + WORDS])}" for i, s in enumerate(starts)]


async def turn(url: str, questions: Sequence[str], n_clients: int, max_tokens: int) -> Turn:
    """All questions, n at a time."""
    left = list(questions)
    answers: list[Timed] = []

    async def client() -> None:
        while left:
            answers.append(await timed_chat(url, left.pop(), max_tokens))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(n_clients)))
    seconds = time.perf_counter() - began
    rate = sum(len(answer.came) for answer in answers) / seconds
    return Turn(rate, [answer.first for answer in answers], [answer.each for answer in answers])


def take_turns(
    servers: Mapping[str, str], clients: Sequence[int], rounds: int, n_questions: int, max_tokens: int
) -> dict[str, dict[int, list[Turn]]]:
    """Every server with every number of clients; every other round goes backwards. Raises EOFError, OSError."""
    found: dict[str, dict[int, list[Turn]]] = {name: {n: [] for n in clients} for name in servers}
    seed = time.time_ns() // 1_000_000_000 % 100_000  # that no server has seen
    for i in range(rounds):
        for n in clients:
            questions = prompts(max(n, n_questions), seed := seed + 1)
            for name in list(servers)[:: 1 if i % 2 == 0 else -1]:
                found[name][n].append(asyncio.run(turn(servers[name], questions, n, max_tokens)))
    return found


def table(found: Mapping[str, Mapping[int, Sequence[Turn]]]) -> str:
    """Markdown: a line for each server and number of clients; ratios are the first server's to it."""
    columns = ["clients", "server", "tokens/s", "ratio to it", "first token p50", "p95", "each token p50", "p95"]
    lines = [head(columns)]
    first = next(iter(found.values()))
    for n, ours in first.items():
        for name, by_clients in found.items():
            turns = by_clients[n]
            ratio = "" if turns is ours else str(paired([t.rate for t in ours], [t.rate for t in turns]))
            cells = [str(n), name, f"{median(t.rate for t in turns):.0f}", ratio]
            for seconds in ([s for t in turns for s in t.first], [s for t in turns for s in t.each]):
                cells += [f"{1e3 * median(seconds):.0f} ms", f"{1e3 * quantiles(seconds, n=20)[-1]:.0f} ms"]
            lines.append(line(cells))
    return "\n".join(lines)


def named(text: str) -> tuple[str, str]:
    """The name and the address in NAME=URL."""
    name, equals, url = text.partition("=")
    if not (name and equals and url.startswith("http://")):
        raise click.BadParameter(f"{text}: expected NAME=http://HOST:PORT")
    return name, url.rstrip("/")


@click.command(help=__doc__)
@click.option(
    "--server", "servers", multiple=True, required=True, metavar="NAME=URL", help="The first one is compared."
)
@click.option("--clients", default="1,8", metavar="N,N,...", help="How many ask at once.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Turns of each server.")
@click.option("--questions", default=8, type=click.IntRange(2), help="Of a turn, at least.")
@click.option("--tokens", default=64, type=click.IntRange(2), help="Of each answer.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), help="Put the table into this document.")
def main(
    servers: Sequence[str], clients: str, rounds: int, questions: int, tokens: int, write: Path | None
) -> None:  # fmt: skip
    numbers = [int(word) for word in clients.split(",")]
    try:
        found = take_turns(dict(map(named, servers)), numbers, rounds, questions, tokens)
    except (EOFError, OSError) as error:
        raise click.ClickException(str(error)) from None
    about = f"{processor()}; {rounds} rounds of {questions} questions of about 200 tokens; {date.today().isoformat()}."
    text = f"{about} Answers of {tokens} tokens:\n\n{table(found)}"
    click.echo(text)
    if write is not None:
        put_table(write, "serving", text)


if __name__ == "__main__":
    main()
