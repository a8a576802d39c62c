"""An answer while it is made, reasoning apart: python examples/stream.py QUESTION [MODEL]."""

import sys

import subbyte as sb


def main(question: str, name: str = "smollm2") -> None:
    greedy = sb.Sampling(temperature=0)
    with sb.load(name) as model, model.chat(sampling=greedy, activations="int8x2", max_tokens=200) as chat:
        for event in chat.stream(question):
            match event:
                case sb.PrefillProgress():
                    print(f"prompt: {event.done} of {event.total} tokens", file=sys.stderr)
                case sb.ThinkingDelta():
                    print(event.text, end="", flush=True, file=sys.stderr)
                case sb.TextDelta():
                    print(event.text, end="", flush=True)
                case sb.Done():
                    print(f"\nended by: {event.reply.stop_reason}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
