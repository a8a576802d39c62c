"""Running perplexities as a picture: a line for each model with the band of its error, drawn by plotext."""

import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from rich.console import RenderableType
from rich.progress import Progress, ProgressColumn
from rich.text import Text

from subbyte.cli.terminal.console import rich_console
from subbyte.errors import ResourceError
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.evaluation.perplexity import ChunkResult

SECONDS = 1.0  # from one picture to the next, which takes some 50 ms of a processor
HEIGHT, LEAST_HEIGHT, MAX_WIDTH = 18, 8, 120
LINES_AROUND = 3  # the bar, and what a terminal needs to keep it in place
LINE, BAND = "braille", "░"
COLOURS = ("cyan", "yellow", "magenta", "green", "red", "blue")
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # draw the lines where there are no colours
SETTLED = 0.1  # of the values, the first, may lie outside of the picture: they are far off yet
LEAST_RANGE = 1e-3  # of the values' size; plotext complains where it can't tell them apart
POINTS, TICKS = 400, 5


class Plot:
    """Collects running values and draws them, fit for stderr; raises ResourceError where plotext is missing."""

    def __init__(self, models: Sequence[str]) -> None:
        self._plotext = _import_plotext()
        self._console = rich_console(stderr=True)
        self._names = [one_line(Path(model).name) for model in models]
        self._chunks: list[ChunkResult] = []
        self._picture, self._drawn = Text(), -math.inf

    def add(self, chunk: "ChunkResult") -> None:
        """Takes the result of one more chunk."""
        self._chunks.append(chunk)

    def above_bar(self, *columns: str | ProgressColumn, **options: Any) -> Progress:
        """A bar as rich makes it of these arguments, below the picture."""
        return _PlottedProgress(self, *columns, **options)

    def latest(self) -> Text:
        """A picture that is at most SECONDS old."""
        if self._chunks and time.monotonic() - self._drawn >= SECONDS:
            self._picture = self._draw()
            self._drawn = time.monotonic()
        return self._picture

    def print_last(self) -> None:
        """The final picture, on stderr."""
        if self._chunks:
            self._console.print(self._draw(final=True), soft_wrap=True)

    def _draw(self, *, final: bool = False) -> Text:
        """Fit for stderr's size and colours; until it is final, with room for what is to come."""
        console = self._console
        curves = [_Curve.of(self._chunks, i) for i in range(len(self._names))]
        if not any(curve.x for curve in curves):
            return Text("nothing finite to plot" if final else "")
        colourless = console.color_system is None or console.no_color
        height = max(min(HEIGHT, console.height - LINES_AROUND - len(curves)), LEAST_HEIGHT)
        figure = self._plotext.figure
        figure.clear()
        figure.theme("simple")
        figure.legend(False)
        figure.plot_size(min(console.width, MAX_WIDTH), height)
        for i, curve in enumerate(curves):
            x, *edges = curve.band()
            upper, lower = (self._signal(x, edge, BAND, i) for edge in edges)
            figure.draw(upper.fill(lower))
        for i, curve in enumerate(curves):
            symbol = LETTERS[i % len(LETTERS)] if colourless else LINE
            figure.draw(self._signal(curve.x, curve.ppl, symbol, i).lines())
        last = self._chunks[-1].index if final else self._chunks[-1].total
        figure.ruler("x").lim(1, max(last, 2)).ticks(sorted({1 + (last - 1) * i // TICKS for i in range(TICKS + 1)}))
        figure.ruler("y").lim(*_limits(curves))
        picture = Text.from_ansi(figure.build().string(colourless).rstrip())
        return Text("\n").join([*(self._legend(i, colourless) for i in range(len(curves))), picture])

    def _signal(self, x: Sequence[float], y: Sequence[float], symbol: str, model: int) -> Any:
        pixel = self._plotext.pixel(foreground=COLOURS[model % len(COLOURS)])
        return self._plotext.figure.signal(list(x), list(y), marker=self._plotext.marker(symbol, pixel))

    def _legend(self, model: int, colourless: bool) -> Text:
        last = self._chunks[-1]
        sign = f"{LETTERS[model % len(LETTERS)]} " if colourless else "━━ "
        value = f"{self._names[model]}: {last.ppl[model]:.4f} ± {last.error[model]:.4f} after {last.index} chunks"
        return Text(sign, style=COLOURS[model % len(COLOURS)]).append(value, style="default")


class _PlottedProgress(Progress):
    def __init__(self, plot: Plot, *columns: str | ProgressColumn, **options: Any) -> None:
        self._plot = plot  # first: rich asks for what to show while it is made
        super().__init__(*columns, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What rich redraws."""
        yield self._plot.latest()
        yield from super().get_renderables()


class _Curve(NamedTuple):
    """The finite values of a model: chunks counted from 1, perplexities and their errors."""

    x: list[int]
    ppl: list[float]
    error: list[float]

    @staticmethod
    def of(chunks: "Sequence[ChunkResult]", model: int) -> "_Curve":
        """At most POINTS of them, more than can be seen, the last one among them."""
        every = -(-len(chunks) // POINTS)
        shown = chunks[::-every][::-1]
        finite = [of for of in shown if math.isfinite(of.ppl[model]) and math.isfinite(of.error[model])]
        return _Curve([of.index for of in finite], [of.ppl[model] for of in finite], [of.error[model] for of in finite])

    def band(self) -> tuple[list[float], list[float], list[float]]:
        """Chunks, so many that no column of characters stays empty, and the upper and the lower edge there."""
        if not self.x:
            return [], [], []
        x = np.linspace(self.x[0], self.x[-1], POINTS)
        ppl, error = np.interp(x, self.x, self.ppl), np.interp(x, self.x, self.error)
        return x.tolist(), (ppl + error).tolist(), (ppl - error).tolist()


def _limits(curves: Sequence[_Curve]) -> tuple[float, float]:
    """Of the values' axis."""
    edges = [value for curve in curves for edge in curve.band()[1:] for value in edge[int(len(edge) * SETTLED) :]]
    low, high = min(edges), max(edges)
    least = LEAST_RANGE * max(abs(low), abs(high), 1)
    return (low, high) if high - low > least else (low - least, high + least)


def _import_plotext() -> Any:
    try:
        import plotext

        plotext.figure.signal  # noqa: B018 - plotext 5 has no such thing
    except (ImportError, AttributeError):
        problem = "--plot needs plotext 6 or newer; install it with: pip install 'subbyte[plot]'"
        raise ResourceError(problem) from None
    return plotext
