"""A value of a type as the answer: python examples/object.py QUESTION [MODEL]. It needs the extra `json`."""

import sys
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

import subbyte as sb


@dataclass
class Review:
    """What a text says of a product. Bounds keep a small model from going on for ever."""

    summary: Annotated[str, Meta(max_length=80)]
    mood: Literal["good", "mixed", "bad"]
    stars: Annotated[int, Meta(ge=1, le=5)]


def main(text: str, name: str = "smollm2") -> None:
    with sb.load(name) as model, model.chat(sampling=sb.Sampling(temperature=0)) as chat:
        review = chat.object(f"Sum up as JSON, with mood and stars: {text}", Review)
        print(f"{review.mood}, {review.stars} of 5: {review.summary}")


if __name__ == "__main__":
    main(*sys.argv[1:])
