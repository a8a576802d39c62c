"""Answers the lines of a text on a Ray cluster, or on this machine's cores: python examples/ray_rows.py MODEL TEXT"""

import sys

import ray

import subbyte as sb


def main(model: str, text: str) -> None:
    rows = ray.data.read_text(text)
    answered = rows.map_batches(
        sb.GenerateRows,
        fn_constructor_kwargs={"model": model, "prompt": "text", "max_tokens": 20},
        concurrency=1,  # actors, each with a model and a scheduler; they share the mapped file
        num_cpus=1,  # the threads of each; reading the text takes a CPU, too
        batch_size=64,  # rows, of which 8 are answered at once
    )
    for row in answered.take_all():
        print(f"{row['text']} -> {row['error'] or row['answer']!r}")


if __name__ == "__main__":
    main(*sys.argv[1:])
