"""A chat in a loop: python examples/chat.py [MODEL]. An empty line ends it."""

import sys

import subbyte as sb


def main(name: str = "smollm2") -> None:
    with sb.load(name) as model, model.chat(system="Answer briefly.") as chat:
        while question := input("> ").strip():
            reply = chat.send(question)
            print(reply.text)
            print(f"({reply.usage.completion} tokens, {reply.timings.generation_rate:.0f} tokens/s)", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
