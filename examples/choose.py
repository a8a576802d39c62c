"""Which label fits each line of stdin best: python examples/choose.py MODEL LABEL..."""

import sys

import subbyte as sb


def main(name: str, *labels: str) -> None:
    with sb.load(name) as model:
        for line in sys.stdin:
            prefix = f"Text: {line.strip()}\nThe text is about one of {', '.join(labels)}. It is about"
            choice = model.choose(prefix, [f" {label}" for label in labels], normalize="tokens")
            shares = ", ".join(f"{label} {p:.0%}" for label, p in zip(labels, choice.probabilities, strict=True))
            print(f"{choice.text.strip()} ({shares}): {line.strip()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
