"""Multiple choice in lm-evaluation-harness, by subbyte's model class: all requests at once, and one request at a time.

    python benchmarks/multiple_choice.py smollm2
    python benchmarks/multiple_choice.py smollm2 --shots 5

At once, the choices of a question share its text, and questions share their examples; one at a time is what a server
sees of the harness, or a class that groups nothing. Both take turns; the scores must be the same. Needs lm-eval.
"""

import json
import time
from pathlib import Path
from typing import Any

import click
from processor import processor
from tables.records import paired

import subbyte
from subbyte.kernels import best_isa
from subbyte.runtime.machine import default_threads

QUESTIONS = Path(__file__).parent.parent / "tests" / "clients" / "science.jsonl"


def pairs(questions: list[dict[str, Any]], n_shots: int) -> list[tuple[str, str]]:
    """A context and a continuation for each choice of each question, behind the first questions with their answers."""
    examples = "".join(f"{_asked(row)} {row['choices'][row['answer']]}\n\n" for row in questions[:n_shots])
    return [(examples + _asked(row), f" {choice}") for row in questions[n_shots:] for choice in row["choices"]]


def _asked(row: dict[str, Any]) -> str:
    return f"Question: {row['question']}\nAnswer:"


def measure(model: subbyte.Model, asked: list[tuple[str, str]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, round by round. Raises ValueError where their results differ by a bit."""
    from lm_eval.api.instance import Instance

    from subbyte.runtime.compat.lm_eval import SubbyteLM

    lm = SubbyteLM(model)
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(asked)]
    ways = {"at once": [requests], "one at a time": [[request] for request in requests]}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        answers = []
        for name, calls in ways.items():
            start = time.perf_counter()
            answers.append([answer for call in calls for answer in lm.loglikelihood(call, disable_tqdm=True)])
            times[name].append(time.perf_counter() - start)
        if answers[0] != answers[1]:
            raise ValueError("the two ways differ")
    return times


@click.command(help=__doc__)
@click.argument("model")
@click.option("--shots", default=0, type=click.IntRange(0), help="Questions with answers before each question.")
@click.option("--questions", default=20, type=click.IntRange(1), help="How many are asked.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Turns of each way.")
@click.option("--threads", default=default_threads()[0], type=click.IntRange(1))
def main(model: str, shots: int, questions: int, rounds: int, threads: int) -> None:
    asked = pairs([json.loads(line) for line in QUESTIONS.read_text().splitlines()][: shots + questions], shots)
    try:
        with subbyte.load(model, threads=threads) as loaded:
            times = measure(loaded, asked, rounds)
    except (subbyte.SubbyteError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(
        f"{processor()}, {threads} threads, instruction set {best_isa()}; {len(asked)} requests, {shots} examples"
    )
    for name, each in times.items():
        click.echo(f"{name:14} {min(each):8.3f} s   {paired(each, times['at once'])} of the first")


if __name__ == "__main__":
    main()
