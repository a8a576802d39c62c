"""The plot of what each tensor of a quantized model costs, a grid of layers and kinds: by itself, and for each MB."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subbyte.runtime.gguf.names import in_layer_order, split_name
from subbyte.runtime.pictures.picture import DIM, FAINT, GROUND, SMALL, TEXT_SIZE, TITLE_SIZE, Picture
from subbyte.runtime.pictures.sheet import MARGIN, new_axes, new_sheet, set_scale, text_size, write
from subbyte.runtime.text import escaped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CELLS, MAX_LAYERS = 10_000, 1000
TOP, HEAD, ROW, BETWEEN, BELOW, RIGHT = 60.0, 34.0, 19.0, 20.0, 36.0, 74.0  # points
GAP = 0.5  # of a row, above tensors outside of the layers
WIDTH, LEAST, MOST = 430.0, 6.0, 22.0  # of all layers, and of a cell
RANGE = 1e4  # from the most to the least that colours tell apart: what costs less costs nothing
COLOURS = "viridis"  # ever lighter: read in grey, too, and by who sees few colours
STEPS = 64  # of the scale
DEAREST = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one tensor: the KL divergence that it causes, nats, and that for each 10^6 bytes saved; types: old → new."""

    tensor: str
    types: str
    kld: float
    error: float
    kld_per_mb: float

    @property
    def layer(self) -> int | None:
        """None outside of the layers."""
        return split_name(self.tensor).layer

    @property
    def kind(self) -> str:
        """The row of a plot: `ffn_down`, `attn_q.bias`."""
        return split_name(self.tensor).rest.removesuffix(".weight")

    def __str__(self) -> str:
        name = escaped(self.tensor.removesuffix(".weight"))
        per_mb = f", {self.kld_per_mb:.3g} for each MB saved" if math.isfinite(self.kld_per_mb) else ""
        return f"{name}: {escaped(self.types)}, KL divergence {self.kld:.3g} ± {self.error:.2g}{per_mb}"


def draw_sensitivities(costs: Sequence[Cost], model: str, conditions: str) -> Picture:
    """The plot of all tensors that differ. model, conditions: for its title, and the line below it.

    Raises ValueError where none does, or where there are too many of them or of layers.
    """
    if not 0 < len(costs) <= MAX_CELLS:
        raise ValueError(f"a plot of {len(costs)} tensors, but it takes 1 to {MAX_CELLS}")
    if (last := max(cost.layer or 0 for cost in costs)) >= MAX_LAYERS:
        raise ValueError(f"a tensor of layer {last}, but a plot ends with {MAX_LAYERS - 1}")
    grid = _Grid(costs)
    title = f"KL divergence by tensor: {model}"
    bottom = TOP + 2 * (HEAD + grid.height + BETWEEN)
    note = grid.note()
    lines = [conditions, *note.splitlines()]
    texts = 2 * MARGIN + max(1.1 * text_size(title, TITLE_SIZE)[0], *(text_size(line, SMALL)[0] for line in lines))
    sheet = new_sheet(max(grid.left + grid.width + RIGHT, texts), bottom + BELOW, title, conditions)
    panels: tuple[tuple[str, str, Callable[[Cost], float]], ...] = (
        ("kld", "nats a token", lambda cost: cost.kld),
        ("per-mb", "nats a token for each MB saved", lambda cost: cost.kld_per_mb),
    )  # fmt: skip
    for i, (gid, label, value) in enumerate(panels):
        top = TOP + i * (HEAD + grid.height + BETWEEN)
        write(sheet, MARGIN, top, f"{label}, by layer", fontsize=TEXT_SIZE)
        axes = new_axes(sheet, grid.left, top + HEAD, grid.width, grid.height)
        scale = new_axes(sheet, grid.left + grid.width + 16, top + HEAD, 11, grid.height)
        grid.draw(axes, scale, gid, value)
    write(sheet, MARGIN, bottom, note, fontsize=SMALL, color=DIM)
    tips = {f"{gid}-{i}": str(cost) for gid, _, _ in panels for i, cost in enumerate(costs)}
    return Picture(sheet, title, " ".join([f"{conditions}.", *(f"{cost}." for cost in costs)]), tips)


class _Grid:
    """Rows of kinds, columns of layers; a tensor outside of the layers has a row of its own, below."""

    def __init__(self, costs: Sequence[Cost]) -> None:
        self._costs = costs
        inside = dict.fromkeys(cost.kind for cost in costs if cost.layer is not None)
        outside = dict.fromkeys(cost.kind for cost in costs if cost.layer is None)
        kinds = in_layer_order(inside)
        below = len(kinds) + GAP
        self._rows = {kind: float(i) for i, kind in enumerate(kinds)} | {
            kind: below + i for i, kind in enumerate(outside)
        }
        self._n_kinds = len(kinds)
        self.n_layer = 1 + max((cost.layer for cost in costs if cost.layer is not None), default=2)
        self._cell = float(round(min(max(WIDTH / self.n_layer, LEAST), MOST)))
        self.width = self._cell * self.n_layer
        self._labels = [escaped(kind) for kind in self._rows]
        self.height = ROW * (1 + max(self._rows.values()))
        self.left = math.ceil(MARGIN + 10 + max(text_size(label, SMALL)[0] for label in self._labels))

    def draw(self, axes: Axes, scale: Axes, gid: str, value: Callable[[Cost], float]) -> None:
        """A panel of values with the scale of its colours; cells are found by gid and the index of their tensor."""
        from matplotlib.patches import Rectangle

        colours = _Colours.of([value(cost) for cost in self._costs])
        axes.add_patch(Rectangle((0, 0), self.n_layer, self._n_kinds, facecolor=FAINT))
        for i, cost in enumerate(self._costs):
            column, width = (0, min(3, self.n_layer)) if cost.layer is None else (cost.layer, 1)
            cell = Rectangle((column, self._rows[cost.kind]), width, 1, edgecolor=GROUND, linewidth=0.8)
            cell.set_facecolor(colours(value(cost)))
            cell.set_gid(f"{gid}-{i}")
            axes.add_patch(cell)
        axes.set_xlim(0, self.n_layer)
        axes.set_ylim(self.height / ROW, 0)
        axes.xaxis.tick_top()
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        every = next(step for step in (1, 2, 5, 10, 20, 50) if step * self._cell >= max(16, self.width / 30))
        layers = range(0, self.n_layer, every)
        axes.set_xticks([layer + 0.5 for layer in layers], [str(layer) for layer in layers])
        axes.set_yticks([row + 0.5 for row in self._rows.values()], self._labels)
        colours.draw(scale)

    def note(self) -> str:
        """What no colour tells."""
        worth = sorted((cost for cost in self._costs if math.isfinite(cost.kld_per_mb)), key=lambda c: -c.kld_per_mb)
        dearest = [escaped(cost.tensor.removesuffix(".weight")) for cost in worth[:DEAREST]]
        return f"Grey: no such tensor, or the same in both files.\nDearest for what they save: {', '.join(dearest)}."


@dataclass(frozen=True, slots=True)
class _Colours:
    """A logarithmic scale of colours; what lies outside has the colour of its end."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> _Colours:
        """Up to the largest finite value, and from the least one within RANGE of it."""
        positive = [value for value in values if 0 < value < math.inf]
        high = max(positive, default=1.0)
        low = max(min(positive, default=high), high / RANGE)
        return cls(low if low < high else high / 10, high)

    def __call__(self, value: float) -> tuple[float, float, float, float]:
        from matplotlib import colormaps

        value = min(max(value, self.low), self.high)
        return colormaps[COLOURS](math.log(value / self.low) / math.log(self.high / self.low))

    def draw(self, axes: Axes) -> None:
        """As a band with its numbers."""
        set_scale(axes, "y", self.low, self.high, logarithmic=True)
        for i in range(STEPS):
            bottom, middle = (self.low * (self.high / self.low) ** ((i + part) / STEPS) for part in (0, 0.5))
            axes.axhspan(bottom, self.high, facecolor=self(middle), linewidth=0)
        axes.yaxis.tick_right()
        axes.set_xticks([])
        axes.grid(False)
        axes.spines[:].set_visible(False)
