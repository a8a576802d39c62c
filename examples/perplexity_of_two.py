"""Which of two quantized files predicts a text better: python examples/perplexity_of_two.py A B TEXT_FILE [CHUNKS]."""

import sys
from pathlib import Path

import subbyte as sb


def main(a: str, b: str, text: str, chunks: str = "20") -> None:
    with sb.load(a) as first, sb.load(b) as second:
        run = sb.perplexity([first, second], Path(text).read_bytes(), chunks=int(chunks))
    for result in run.results:
        print(f"{result.model}: {result.ppl:.4f} ± {result.error:.4f}")
    ratio = run.delta(1, 0).log_ratio
    print(f"ln PPL(b) - ln PPL(a) = {ratio.estimate:+.5f}, {ratio.low:+.5f} .. {ratio.high:+.5f}: b is {ratio.verdict}")


if __name__ == "__main__":
    main(*sys.argv[1:])
