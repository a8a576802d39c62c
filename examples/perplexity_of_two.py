"""Which of two quantized files predicts a text better: python examples/perplexity_of_two.py A B TEXT_FILE [CHUNKS]."""

import sys
from pathlib import Path

import subbyte as sb


def main(a: str, b: str, text: str, chunks: str = "20") -> None:
    with sb.load(a) as first, sb.load(b) as second:
        run = sb.perplexity([first, second], Path(text).read_bytes(), chunks=int(chunks))
    for result in run.results:
        print(f"{result.model}: {result.ppl:.4f} ± {result.error:.4f}")
    delta = run.delta(1, 0)
    interval = delta.log_ratio.text(5, " .. ", "+")
    print(f"ln PPL(b) - ln PPL(a) = {delta.log_ratio.estimate:+.5f}, {interval}: b is {delta.verdict}")


if __name__ == "__main__":
    main(*sys.argv[1:])
