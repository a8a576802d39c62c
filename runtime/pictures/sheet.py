"""What a drawing is made of: a sheet with its title, axes at places in points, ticks that read as plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from subbyte.runtime.pictures.picture import DIM, POINTS, SMALL, TITLE_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN = 14.0  # points around a sheet
LINE = 1.3  # of a text's size, from one line to the next
_STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(i / 10 for i in range(10, 100)))  # within a decade
_ENOUGH = 4  # ticks


def new_sheet(width: float, height: float, title: str, subtitle: str) -> Figure:
    """A figure of so many points, with its title in the upper left corner."""
    from matplotlib.figure import Figure

    sheet = Figure((width / POINTS, height / POINTS))
    write(sheet, MARGIN, 12, title, fontsize=TITLE_SIZE, fontweight="bold")
    write(sheet, MARGIN, 31, subtitle, fontsize=SMALL, color=DIM)
    return sheet


def write(sheet: Figure, x: float, y: float, text: str, **look: Any) -> None:
    """Lines of text whose upper left corner is so many points from the left and from the top."""
    width, height = sheet.get_size_inches() * POINTS
    sheet.text(x / width, 1 - y / height, text, va="top", ha="left", linespacing=LINE, **look)


def new_axes(sheet: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in points from the upper left corner."""
    full_width, full_height = sheet.get_size_inches() * POINTS
    place = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    axes = sheet.add_axes(place)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def text_size(text: str, size: float) -> tuple[float, float]:
    """Width and height of a line of text in points, in the first font of a picture's list; others are narrower."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=size), False)
    return float(width), LINE * size


def set_scale(axes: Axes, name: Literal["x", "y"], low: float, high: float, *, logarithmic: bool) -> None:
    """The scale of one of the axes from low to high, with its ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    axes.set(**{f"{name}scale": "log" if logarithmic else "linear", f"{name}lim": (low, high)})
    axis = axes.xaxis if name == "x" else axes.yaxis
    even = MaxNLocator(7, steps=[1, 2, 2.5, 5, 10])
    axis.set_major_locator(FixedLocator(log_ticks(low, high)) if logarithmic else even)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def log_ticks(low: float, high: float) -> Sequence[float]:
    """Round numbers between two positive ones, as few as are enough; evenly spaced where two digits tell none apart."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in _STEPS:
        ticks = [tick for decade in decades for step in steps if low <= (tick := step * 10.0**decade) <= high]
        if len(ticks) >= _ENOUGH:
            break
    if len(ticks) < _ENOUGH:
        return [tick for tick in MaxNLocator(_ENOUGH + 1).tick_values(low, high) if low <= tick <= high]
    every = -(-len(ticks) // (2 * _ENOUGH + 2))
    return ticks[::every]


def number(value: float) -> str:
    """A tick's number: 0.001, 20, 1.5e-07."""
    return f"{round(value, 12) if abs(value) >= 1e-4 else value:g}".replace("-", "\N{MINUS SIGN}")
