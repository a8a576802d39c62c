"""How probable a model finds texts, one from each argument: python examples/score.py MODEL TEXT..."""

import sys

import subbyte as sb


def main(name: str, *texts: str) -> None:
    with sb.load(name) as model:
        for text in texts:
            scored = model.score(text)
            print(f"{scored.bits_per_byte:.3f} bits per byte: {text}")
            for piece, logprob in zip(scored.pieces, scored.logprobs, strict=True):
                print(f"{logprob:9.3f}  {piece!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
