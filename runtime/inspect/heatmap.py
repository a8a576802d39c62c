"""Where the bits of a file are: its matrices as a grid of layers and kinds of tensors, with the size of each kind."""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from subbyte.runtime import arguments
from subbyte.runtime.files import atomic_write, write_failure
from subbyte.runtime.gguf.model_file import GGUF, TensorInfo
from subbyte.runtime.gguf.names import in_layer_order, split_name
from subbyte.runtime.gguf.tensors import Size, size_of
from subbyte.runtime.inspect.colours import LEAST_BITS, MOST_BITS, bits_colour, ink, type_colour
from subbyte.runtime.inspect.summary import count_of, text_of
from subbyte.runtime.inspect.svg import CHAR, LINE, MARGIN, SVG_FILE, Canvas
from subbyte.runtime.records import Record, Tabular
from subbyte.runtime.source import Source, open_source
from subbyte.runtime.text import printable

__all__ = ["By", "Cell", "Heatmap", "Share", "chart", "colour", "heatmap", "ink"]

By: TypeAlias = Literal["bits", "type"]
"""What the colour of a cell tells."""

MAX_LAYERS, MAX_KINDS, MAX_OUTSIDE = 1000, 24, 8  # what a picture can show; a file may name 65536 of each

WIDTH, HEIGHT, GAP, PAD = 17, 54, 1, 10  # pixels of a cell in the picture: its text runs upwards
SCALE_STEPS, SCALE_WIDTH = 60, 300
SCALE_MARKS = (1.5, 2, 3, 4, 6, 8, 16)


@dataclass(frozen=True, slots=True)
class Cell(Record):
    """One matrix, or all experts of a kind.

    layer: None outside of the layers, where `kind` is its name without `.weight`.
    """

    layer: int | None
    kind: str
    type: str
    n_weights: int
    n_bytes: int

    @property
    def bits(self) -> float:
        """Bits per weight, scales included."""
        return Size(self.n_bytes, self.n_weights).bits_per_weight or 0.0

    def text(self, by: By) -> str:
        """What the cell says of itself: `4.50` or `Q4_K`."""
        return f"{self.bits:.2f}" if by == "bits" else self.type


@dataclass(frozen=True, slots=True)
class Share(Record):
    """All tensors of a kind; types: the most frequent first."""

    kind: str
    n_tensors: int
    n_weights: int
    n_bytes: int
    types: tuple[str, ...]

    @property
    def bits(self) -> float | None:
        """Bits per weight; None where there are no weights."""
        return Size(self.n_bytes, self.n_weights).bits_per_weight


@dataclass(frozen=True, slots=True)
class Heatmap(Record, Tabular):
    """The grid of a file's matrices; in a notebook it shows itself as a picture, `svg` writes one.

    kinds:   of the cells, in the order in which a layer uses them
    n_layer: rows; a layer may lack any of the kinds, or all
    cells:   the matrices of the layers; outside: those before and after them
    shares:  sizes of each kind, of each matrix outside, and of all other tensors (norms, biases, …) as "others"
    whole:   of all tensors together
    """

    path: str
    architecture: str | None
    n_bytes: int
    kinds: tuple[str, ...]
    n_layer: int
    cells: tuple[Cell, ...]
    outside: tuple[Cell, ...]
    shares: tuple[Share, ...]
    whole: Share

    def records(self) -> list[dict[str, Any]]:
        """A matrix each, those outside of the layers last."""
        return [{**cell.to_dict(), "bits_per_weight": cell.bits} for cell in (*self.cells, *self.outside)]

    def rows(self) -> list[tuple[Cell | None, ...]]:
        """The cells of each layer in the order of `kinds`, None where it has no such tensor."""
        at = {(cell.layer, cell.kind): cell for cell in self.cells}
        return [tuple(at.get((layer, kind)) for kind in self.kinds) for layer in range(self.n_layer)]

    def svg(self, by: By = "bits") -> str:
        """The picture as an SVG document, coloured by bits per weight or by block type."""
        arguments.choice("by", by, get_args(By))
        return draw(self, by).document()

    def save_svg(self, path: str | os.PathLike[str], by: By = "bits", *, overwrite: bool = False) -> None:
        """Writes the picture, whole or not at all. overwrite: also over an older one.

        Raises ResourceError, and FileExists for any other file.
        """
        try:
            with atomic_write(path, SVG_FILE, overwrite=overwrite) as temporary:
                temporary.write_text(self.svg(by), encoding="utf-8")
        except OSError as error:
            raise write_failure(path, error) from error

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x: auto">{draw(self, "bits").inline()}</div>'


def colour(cell: Cell, by: By) -> str:
    """The colour of a cell as `#rrggbb`."""
    return bits_colour(cell.bits) if by == "bits" else type_colour(cell.type)


def heatmap(model: Source) -> Heatmap:
    """The heatmap of a model: a path, a built-in name or hf:user/repo:QUANT, as `load` takes it, a `Model` or a `GGUF`.

    Nothing is loaded, so that any GGUF file will do. Raises what `GGUF.open` raises.
    """
    with open_source("model", model) as gguf:
        return chart(gguf)


def chart(gguf: GGUF) -> Heatmap:
    """The heatmap of an open file."""
    inside: dict[str, dict[int, TensorInfo]] = defaultdict(dict)
    outside: list[TensorInfo] = []
    others: list[TensorInfo] = []
    for tensor in gguf.tensors.values():
        layer, rest = split_name(tensor.name)
        if len(tensor.shape) < 2 or rest.endswith(".bias"):  # of experts it has two dimensions
            others.append(tensor)
        elif layer is not None and layer < MAX_LAYERS and rest.endswith(".weight"):
            inside[rest.removesuffix(".weight")][layer] = tensor
        else:
            outside.append(tensor)
    kinds = in_layer_order(inside)
    others += outside[MAX_OUTSIDE:] + [tensor for kind in kinds[MAX_KINDS:] for tensor in inside[kind].values()]
    del outside[MAX_OUTSIDE:], kinds[MAX_KINDS:]
    shares = [
        *(_share(_name(tensor), [tensor]) for tensor in outside),
        *(_share(kind, inside[kind].values()) for kind in kinds),
        *([_share("others", others)] if others else []),
    ]
    n_layer = max((layer + 1 for kind in kinds for layer in inside[kind]), default=0)
    architecture = text_of(gguf.metadata, "general.architecture")
    declared = count_of(gguf.metadata, f"{architecture}.block_count") or 0
    return Heatmap(
        path=str(gguf.path),
        architecture=architecture,
        n_bytes=gguf.size,
        kinds=tuple(kinds),
        n_layer=declared if n_layer < declared <= MAX_LAYERS else n_layer,  # the last ones may have no matrix
        cells=tuple(_cell(tensor, kind, layer) for kind in kinds for layer, tensor in inside[kind].items()),
        outside=tuple(_cell(tensor, _name(tensor), None) for tensor in outside),
        shares=tuple(shares),
        whole=_share("all", gguf.tensors.values()),
    )


def _name(tensor: TensorInfo) -> str:
    return tensor.name.removesuffix(".weight")


def _cell(tensor: TensorInfo, kind: str, layer: int | None) -> Cell:
    return Cell(layer, kind, tensor.type, tensor.n_weights, tensor.n_bytes)


def _share(kind: str, tensors: Collection[TensorInfo]) -> Share:
    types = Counter(tensor.type for tensor in tensors)
    size = size_of(tensors)
    return Share(kind, len(tensors), size.n_weights, size.n_bytes, tuple(name for name, _ in types.most_common()))


def draw(heatmap: Heatmap, by: By) -> Canvas:
    """The picture: layers from left to right, a row for each kind, embeddings and head below."""
    canvas, y = Canvas(), float(MARGIN)
    canvas.text(MARGIN, y, Path(heatmap.path).name, "t")
    canvas.text(MARGIN, y + LINE, _describe(heatmap), "d")
    left = MARGIN + CHAR * max((len(share.kind) for share in heatmap.shares), default=0) + PAD
    y = _draw_layers(canvas, heatmap, by, left, y + 2 * LINE + PAD)
    y = _draw_outside(canvas, heatmap, by, left, y)
    if by == "bits":
        _draw_scale(canvas, y)
    else:
        _draw_types(canvas, heatmap, y)
    return canvas


def _describe(heatmap: Heatmap) -> str:
    """The file in a line: architecture, size, weights and what each takes."""
    whole = heatmap.whole
    bits = "no weights" if whole.bits is None else f"{whole.bits:.3f} bits per weight"
    name = printable((heatmap.architecture or "unknown architecture")[:64])
    return f"{name}, {heatmap.n_bytes / 1e6:.1f} MB, {whole.n_weights / 1e6:.1f}M weights, {bits} (all tensors)"


def _draw_layers(canvas: Canvas, heatmap: Heatmap, by: By, left: float, y: float) -> float:
    if not heatmap.n_layer:
        return y
    every = 1 if heatmap.n_layer <= 20 else 5
    for layer in range(0, heatmap.n_layer, every):
        canvas.text(left + layer * (WIDTH + GAP) + 1, y, str(layer), "d")
    canvas.text(MARGIN, y, "layer", "d")
    y += LINE
    shares = {share.kind: share for share in heatmap.shares}
    right = left + heatmap.n_layer * (WIDTH + GAP) + PAD
    for kind, cells in zip(heatmap.kinds, zip(*heatmap.rows(), strict=True), strict=True):
        middle = y + (HEIGHT - LINE) / 2
        canvas.text(MARGIN, middle, kind)
        for cell in cells:
            if cell is not None:
                x, text = left + (cell.layer or 0) * (WIDTH + GAP), cell.text(by)
                canvas.written_box(x, y, WIDTH, HEIGHT, colour(cell, by), text, _tip(cell), turn=-90)
        canvas.text(right, middle, _size(shares[kind]), "d")
        y += HEIGHT + GAP
    return y + PAD


def _draw_outside(canvas: Canvas, heatmap: Heatmap, by: By, left: float, y: float) -> float:
    """Matrices before and after the layers, and a line for all other tensors."""
    shares = {share.kind: share for share in heatmap.shares}
    for cell in heatmap.outside:
        canvas.text(MARGIN, y, cell.kind)
        canvas.written_box(left, y, 3.5 * WIDTH, LINE, colour(cell, by), cell.text(by), _tip(cell))
        canvas.text(left + 3.5 * WIDTH + PAD, y, _size(shares[cell.kind]), "d")
        y += LINE + GAP
    if "others" in shares:
        canvas.text(MARGIN, y, "others")
        canvas.text(left, y, f"{_size(shares['others'])}: norms, biases and all else", "d")
        y += LINE
    return y + PAD


def _draw_scale(canvas: Canvas, y: float) -> None:
    step, ratio = SCALE_WIDTH / SCALE_STEPS, MOST_BITS / LEAST_BITS
    for i in range(SCALE_STEPS):
        bits = LEAST_BITS * ratio ** ((i + 0.5) / SCALE_STEPS)
        canvas.box(MARGIN + i * step, y, step + 0.3, LINE - 6, bits_colour(bits))
    for mark in SCALE_MARKS:
        place = SCALE_WIDTH * math.log(mark / LEAST_BITS, ratio)
        canvas.text(MARGIN + place - CHAR / 2, y + LINE - 6, f"{mark:g}", "d")
    canvas.text(MARGIN + SCALE_WIDTH + 2 * PAD, y + LINE - 6, "bits per weight", "d")


def _draw_types(canvas: Canvas, heatmap: Heatmap, y: float) -> None:
    bits = {cell.type: cell.bits for cell in (*heatmap.cells, *heatmap.outside)}
    x = float(MARGIN)
    for type in sorted(bits, key=lambda type: (bits[type], type)):
        canvas.box(x, y + 2, LINE - 6, LINE - 6, type_colour(type))
        label = f"{type} {bits[type]:.2f} bits"
        canvas.text(x + LINE, y, label)
        x += LINE + CHAR * len(label) + PAD


def _tip(cell: Cell) -> str:
    name = cell.kind if cell.layer is None else f"blk.{cell.layer}.{cell.kind}"
    return f"{name}: {cell.type}, {cell.bits:.4g} bits per weight, {cell.n_bytes / 1e6:.2f} MB"


def _size(share: Share) -> str:
    return f"{share.n_bytes / 1e6:.1f} MB, {share.bits:.2f} bits" if share.bits is not None else "empty"
