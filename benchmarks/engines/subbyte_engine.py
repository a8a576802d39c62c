"""subbyte as an engine that takes turns (turns.py), and beside it the tokens/s that the roofline allows."""

import sys
import time
from functools import partial
from importlib.metadata import version

import subbyte as sb
from engines.turns import About, Measurements, serve
from subbyte.runtime.bench.cost import generation_cost, prompt_cost
from subbyte.runtime.bench.roofline import RooflineProbe


def tokens_per_second(session: sb.Session, n: int, batch: int) -> float:
    """Of evaluating n tokens from an empty cache, so many at once."""
    session.rewind(0)
    begin = time.perf_counter()
    for at in range(0, n, batch):
        session.eval(range(at, min(at + batch, n)))
    return n / (time.perf_counter() - begin)


def start(path: str, prompt: int, generation: int, threads: int) -> tuple[About, Measurements]:
    model = sb.load(path, threads=threads)
    session = model.session(max(prompt, generation))
    probe = RooflineProbe(model.isa)

    rate = partial(tokens_per_second, session)
    rate(prompt, prompt)
    rate(min(4, generation), 1)
    prompt_at_best = prompt_cost(model, prompt, 0, "f16", "int8")
    generation_at_best = generation_cost(model, generation, 0, "f16", "int8")
    return {"version": f"subbyte {version('subbyte')}"}, {
        "prompt": lambda: rate(prompt, prompt),
        "generation": lambda: rate(generation, 1),
        "prompt limit": lambda: prompt / prompt_at_best.seconds(probe.measure(threads)),
        "generation limit": lambda: generation / generation_at_best.seconds(probe.measure(threads)),
    }


if __name__ == "__main__":
    serve(lambda: start(sys.argv[1], *map(int, sys.argv[2:5])))
