"""Colours of block types and of bits per weight: the same in every picture, so that two pictures can be compared.

A colour is written `#rrggbb`.
"""

import math
from typing import TypeAlias

from subbyte.kernels import FORMATS

RGB: TypeAlias = tuple[int, int, int]

LEAST_BITS, MOST_BITS = 1.5, 16.0
# From few bits to many, ever lighter: readable in grey, too, and by who sees few colours (the course of viridis).
_SCALE: tuple[RGB, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))

# By the start of a type's name: what it has few bits of, and many. The first that fits counts.
_FAMILIES: tuple[tuple[tuple[str, ...], RGB, RGB], ...] = (
    (("IQ",), (122, 17, 50), (255, 183, 94)),
    (("F", "BF"), (110, 110, 110), (215, 215, 215)),
    (("TQ", "MXFP", "NVFP"), (88, 40, 140), (205, 165, 240)),
    (("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K"), (10, 84, 60), (150, 222, 130)),
    (("Q",), (20, 60, 130), (130, 195, 250)),
)
_OTHER = "#968c78"


def bits_colour(bits: float) -> str:
    """The colour of so many bits per weight, even steps for each doubling; the scale ends at 1.5 and 16 bits."""
    place = _place(bits) * (len(_SCALE) - 1)
    i = min(int(place), len(_SCALE) - 2)
    return _mix(_SCALE[i], _SCALE[i + 1], place - i)


def type_colour(type: str) -> str:
    """The colour of a block type: a hue for its family, lighter with its bits."""
    for starts, few, many in _FAMILIES:
        if type.startswith(starts):
            return _mix(few, many, _place_in_family(type, starts))
    return _OTHER


def ink(ground: str) -> str:
    """Black or white, whichever has more contrast with a colour, by https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio."""
    red, green, blue = ((value / 255) ** 2.2 for value in bytes.fromhex(ground[1:]))
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def _place(bits: float) -> float:
    """0 to 1 on the scale."""
    bits = min(max(bits, LEAST_BITS), MOST_BITS)
    return math.log(bits / LEAST_BITS) / math.log(MOST_BITS / LEAST_BITS)


def _place_in_family(type: str, starts: tuple[str, ...]) -> float:
    family = sorted({f.bits_per_weight for name, f in FORMATS.items() if name.startswith(starts)})
    bits = FORMATS[type].bits_per_weight if type in FORMATS else family[-1]
    return family.index(bits) / max(len(family) - 1, 1)


def _mix(a: RGB, b: RGB, share: float) -> str:
    return "#" + bytes(round(x + (y - x) * share) for x, y in zip(a, b, strict=True)).hex()
