"""The plot of a frontier: a panel for divergence and one for perplexity over the same axis of sizes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from subbyte.runtime.pictures.frontier import MAX_FILES, MEASURES, NAMES, Frontier, Measure, short_names
from subbyte.runtime.pictures.labels import APART, Floats, Names, Surroundings, crowds, leader, place_names
from subbyte.runtime.pictures.picture import DIM, GROUND, INK, SMALL, Picture
from subbyte.runtime.pictures.sheet import (
    LINE,
    MARGIN,
    log_ticks,
    new_axes,
    new_sheet,
    number,
    set_scale,
    text_size,
    write,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT, WIDTH, RIGHT, TOP, HEIGHT, BETWEEN, BELOW = 60.0, 452.0, 64.0, 74.0, 250.0, 16.0, 38.0  # points
FULL = 0.35  # of a panel's area that names may take before it grows
MARKER = 7.0  # points, of a marker's width
LOG_SIZE, LOG_KLD = 5.0, 8.0  # the most over the least, from which on an axis is logarithmic
LEAST_GB = 2e9  # bytes from which on a size is in GB
LEAST_KLD = 1e-12  # what is less is 0, which a logarithmic axis lacks
LOOKS = {
    "standard": ("o", "#0072b2", "#56b4e9"),
    "DynamicGate": ("D", "#c04f00", "#ff9e4a"),
    "other": ("^", "#007a55", "#2fd0a5"),
}
"""Of makers: marker, colour, and colour on dark ground. Blue, vermilion and green of Okabe and Ito, of a contrast of
4.5 with the ground."""
DASHES = (0, (5, 3))  # of the base's line
MAX_LOG = 700.0  # whose exponential is a float64
LABELS = {"kld": "KL divergence, nats a token", "bits": "bits a byte"}


def draw_frontier(frontier: Frontier) -> Picture:
    """The plot. Raises ValueError where there is nothing to draw, or too much."""
    files = frontier.files
    if not 0 < len(files) <= MAX_FILES:
        raise ValueError(f"a plot of {len(files)} files, but it takes 1 to {MAX_FILES}")
    measures = [measure for measure in MEASURES if frontier.having(measure)]
    if not measures:
        raise ValueError("no file has a finite perplexity or divergence, so that there is nothing to plot")
    names, model = short_names(file.name for file in files)
    sizes = np.array([text_size(name, SMALL) for name in names])
    height = round(HEIGHT * max(crowds(sizes, (WIDTH, HEIGHT)) / FULL, 1))
    title = " and ".join(NAMES[measure] for measure in measures)
    title = f"{title[0].upper()}{title[1:]} by size{f': {model}' if model else ''}"
    bottom = TOP + len(measures) * (height + BETWEEN)
    notes = _notes(frontier)
    sheet = new_sheet(LEFT + WIDTH + RIGHT, bottom + BELOW + len(notes) * LINE * SMALL, title, frontier.conditions)
    for i, measure in enumerate(measures):
        axes = new_axes(sheet, LEFT, TOP + i * (height + BETWEEN), WIDTH, height)
        _Panel(axes, frontier, measure).draw(names, sizes, is_last=i == len(measures) - 1)
        if not i:
            _add_legend(axes, frontier)
    write(sheet, MARGIN, bottom + 26, "\n".join(notes), fontsize=SMALL, color=DIM)
    tips = {f"{of}-{i}": f"{names[i]}: {files[i]}" for of in measures for i in frontier.having(of)}
    words = " ".join([frontier.in_words(names), *notes])
    return Picture(sheet, title, words, tips, {light: dark for _, light, dark in LOOKS.values()})


class _Panel:
    """One measure by size."""

    def __init__(self, axes: Axes, frontier: Frontier, measure: Measure) -> None:
        self._axes, self._frontier, self._measure = axes, frontier, measure
        self._shown = frontier.having(measure)
        self._figures = [file.figure(measure) for file in frontier.files]
        base = frontier.base.figure(measure).value if frontier.base else math.nan
        self._base = base if math.isfinite(base) else None
        most = max(file.n_bytes for file in frontier.files)
        self._unit, divisor = ("GB", 1e9) if most >= LEAST_GB else ("MB", 1e6)
        self._x = [file.n_bytes / divisor for file in frontier.files]

    def draw(self, names: list[str], sizes: Floats, *, is_last: bool) -> None:
        """names, and their sizes in points: of all files. is_last: has the numbers of the axis of sizes."""
        self._set_scales(is_last)
        if self._measure == "bits":
            _add_perplexities(self._axes, self._frontier)
        if self._base is not None:
            self._axes.axhline(self._base, color=DIM, linewidth=1, linestyle=DASHES, gid="base")
        steps = self._steps()
        self._axes.plot(*steps.T, color=DIM, linewidth=1.1, zorder=2, gid=f"{self._measure}-frontier")
        for i in self._shown:
            self._draw_point(i)
        self._write_names([names[i] for i in self._shown], sizes[self._shown], steps)

    def _set_scales(self, is_last: bool) -> None:
        low, high = min(self._x), max(self._x)
        logarithmic = high > LOG_SIZE * low
        set_scale(self._axes, "x", *_widened(low, high, logarithmic=logarithmic), logarithmic=logarithmic)
        self._axes.tick_params(labelbottom=is_last)
        if is_last:
            self._axes.set_xlabel(f"size, {self._unit}{', logarithmic' if logarithmic else ''}")
        values = [self._figures[i].value for i in self._shown]
        logarithmic = self._measure == "kld" and min(values) > LEAST_KLD and max(values) > LOG_KLD * min(values)
        if logarithmic and self._base is not None and self._base <= LEAST_KLD:
            self._base = None
        ends = [end for i in self._shown for end in self._figures[i].ends]
        if logarithmic:
            ends = [max(end, min(values) / 4) for end in ends]  # an interval may reach to 0, and below
        if self._base is not None:
            ends.append(self._base)
        low, high = _widened(min(ends), max(ends), logarithmic=logarithmic)
        set_scale(self._axes, "y", low, high, logarithmic=logarithmic)
        self._axes.set_ylabel(LABELS[self._measure] + (", logarithmic" if logarithmic else ""))

    def _steps(self) -> Floats:
        """The corners of the frontier, [n, 2]: what is the best at each size, up to the right edge."""
        corners: list[tuple[float, float]] = []
        for i in self._frontier.best(self._measure):
            x, y = self._x[i], self._figures[i].value
            corners += [(x, corners[-1][1])] if corners else []
            corners.append((x, y))
        return np.array([*corners, (self._axes.get_xlim()[1], corners[-1][1])])

    def _interval(self, i: int) -> tuple[float, float] | None:
        """Of a file, as far as the panel reaches."""
        figure = self._figures[i]
        return (max(figure.low, self._axes.get_ylim()[0]), figure.high) if figure.has_interval else None

    def _draw_point(self, i: int) -> None:
        x, gid = self._x[i], f"{self._measure}-{i}"
        marker, colour, _ = LOOKS[self._frontier.files[i].maker]
        if (interval := self._interval(i)) is not None:
            self._axes.plot([x, x], interval, color=colour, linewidth=1.4, marker="_", markersize=6, zorder=3,
                            gid=f"{gid}-interval")  # fmt: skip
        self._axes.plot([x], [self._figures[i].value], color=colour, marker=marker, markersize=MARKER,
                        markeredgecolor=GROUND, markeredgewidth=0.8, linestyle="none", zorder=4, gid=gid)  # fmt: skip

    def _write_names(self, names: list[str], sizes: Floats, steps: Floats) -> None:
        """Beside their points, with a line to them where there is no room beside. sizes: of the names, in points."""
        to_points = self._axes.transData.transform
        at = np.array(to_points([(self._x[i], self._figures[i].value) for i in self._shown]))
        boxes = [np.concatenate([point - MARKER / 2, point + MARKER / 2]) for point in at]
        for i in self._shown:
            if (interval := self._interval(i)) is not None:
                (x, low), (_, high) = to_points([(self._x[i], end) for end in interval])
                boxes.append(np.array([x - 3, low, x + 3, high]))
        corners = np.array(to_points(steps))
        lines = np.hstack([corners[:-1], corners[1:]])
        if self._base is not None:
            lines = np.vstack([lines, np.ravel(to_points([(x, self._base) for x in self._axes.get_xlim()]))])
        area = np.array(self._axes.bbox.padded(-APART).extents)
        around = Surroundings(area, np.array(boxes), lines)
        to_data = self._axes.transData.inverted().transform
        for i, name, point, box in zip(self._shown, names, at, place_names(Names(at, sizes), around), strict=True):
            (x, y), *line = to_data([(box[:2] + box[2:]) / 2, *leader(point, box)])
            self._axes.text(x, y, name, fontsize=SMALL, ha="center", va="center", zorder=5,
                            gid=f"{self._measure}-{i}-name")  # fmt: skip
            if line:
                self._axes.plot(*zip(*line, strict=True), color=DIM, linewidth=0.6, zorder=1)


def _widened(low: float, high: float, *, logarithmic: bool) -> tuple[float, float]:
    """Limits with room for markers, and for names above and below."""
    if logarithmic:
        margin = (high / low) ** 0.09
        return low / margin, high * margin
    margin = 0.09 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _add_perplexities(axes: Axes, frontier: Frontier) -> None:
    """Perplexities at the right, where all files have the same tokens to a byte, so that they go by bits a byte."""
    ratios = [file.bits.value / math.log(file.ppl) for file in frontier.files if 1 < file.ppl < math.inf]
    if len(ratios) < len(frontier.having("bits")) or not 0 < max(ratios) <= (1 + 1e-6) * min(ratios):
        return
    low, high = (math.exp(min(max(end / ratios[0], -MAX_LOG), MAX_LOG)) for end in axes.get_ylim())
    ticks = log_ticks(low, high)
    right = axes.twinx()
    right.spines[["top", "left"]].set_visible(False)
    right.grid(False)
    right.set_ylim(axes.get_ylim())
    right.set_yticks([math.log(tick) * ratios[0] for tick in ticks], [number(tick) for tick in ticks])
    right.set_ylabel("perplexity")


def _add_legend(axes: Axes, frontier: Frontier) -> None:
    """In a line above the panel, for what the plot has."""
    from matplotlib.lines import Line2D

    makers = [maker for maker in LOOKS if any(file.maker == maker for file in frontier.files)]
    handles = [
        Line2D([], [], color=LOOKS[maker][1], marker=LOOKS[maker][0], markersize=MARKER, markeredgecolor=GROUND,
               markeredgewidth=0.8, linestyle="none", label=maker)
        for maker in makers
    ]  # fmt: skip
    handles.append(Line2D([], [], color=DIM, linewidth=1.1, label="Pareto frontier"))
    if (base := frontier.base) is not None:
        size = f"{base.n_bytes / 1e9:.1f} GB" if base.n_bytes >= LEAST_GB else f"{base.n_bytes / 1e6:.1f} MB"
        label = f"base {short_names([base.name])[0][0]}, {size}"
        handles.append(Line2D([], [], color=DIM, linewidth=1, linestyle=DASHES, label=label))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(handles), frameon=False,
                fontsize=SMALL, borderaxespad=0.3, handletextpad=0.5, columnspacing=1.4, labelcolor=INK)  # fmt: skip


def _notes(frontier: Frontier) -> list[str]:
    """What intervals are of, and what is not shown."""
    files = frontier.files
    notes = ["Too few chunks for intervals."]
    if any(file.figure(measure).has_interval for file in files for measure in MEASURES):
        own = "of each file by itself; differences on the same text are surer than they look"
        notes = [f"Bars: 95 % intervals, {'of perplexity for its difference from the base' if frontier.base else own}."]
    for measure in MEASURES:
        lacking = len(files) - len(frontier.having(measure))
        if 0 < lacking < len(files):
            notes.append(f"Without a finite {NAMES[measure]}, and not shown there: {lacking} of {len(files)} files.")
    return notes
