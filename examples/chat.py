"""A chat in a loop: python examples/chat.py [MODEL]. An empty line ends it."""

import sys

import subbyte as sb


def main(name: str = "smollm2") -> None:
    greedy = sb.Sampling(temperature=0)  # with int8x2: so small a model as smollm2 is easily led astray
    with sb.load(name) as model, model.chat(sampling=greedy, activations="int8x2", max_tokens=300) as chat:
        while question := input("> ").strip():
            reply = chat.send(question)
            print(reply.text)
            print(f"({reply.usage.completion} tokens, {reply.timings.generation_rate:.0f} tokens/s)", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
