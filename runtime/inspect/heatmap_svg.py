"""A heatmap as an SVG picture: layers from left to right, a row for each kind, embeddings and head below."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from subbyte.runtime.inspect.colours import LEAST_BITS, MOST_BITS, bits_colour, ink, type_colour
from subbyte.runtime.inspect.heatmap import By, Cell, Heatmap, Share, colour
from subbyte.runtime.text import printable

WIDTH, HEIGHT, GAP = 17, 54, 1  # pixels of a cell: its text runs upwards
LINE = 19  # pixels from one line of text to the next; a cell whose text runs to the right is so high
CHAR = 6.8  # pixels of a character at most
MARGIN, PAD = 14, 10
SCALE_STEPS, SCALE_WIDTH = 60, 300
SCALE_MARKS = (1.5, 2, 3, 4, 6, 8, 16)

_FONT = "ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_STYLE = f".m{{font:11px {_FONT};fill:#222}}.d{{font:11px {_FONT};fill:#666}}.t{{font:bold 14px {_FONT};fill:#222}}"


class _Canvas:
    """What is drawn, and the room it takes."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._width = self._height = 0.0

    def text(self, x: float, y: float, text: str, style: str = "m") -> None:
        """A text in the line whose upper end is y. style: m plain, d dim, t title."""
        self._parts.append(f'<text x="{x:.1f}" y="{y + 14:.1f}" class="{style}">{_xml(text)}</text>')
        self._grow(x + CHAR * len(text) * (1.3 if style == "t" else 1), y + LINE)

    def box(self, x: float, y: float, width: float, height: float, colour: str, tip: str = "") -> None:
        """A filled rectangle; `tip` shows when the mouse is over it."""
        title = f"<title>{_xml(tip)}</title>" if tip else ""
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.2f}" height="{height:.1f}"'
        self._parts.append(f'<rect {place} fill="{colour}">{title}</rect>')
        self._grow(x + width, y + height)

    def written_box(
        self, x: float, y: float, width: float, height: float, colour: str, text: str, tip: str = "", turn: int = 0
    ) -> None:
        """A box with a text in its middle, turned by so many degrees."""
        self.box(x, y, width, height, colour, tip)
        place = f'transform="translate({x + width / 2:.1f} {y + height / 2:.1f}) rotate({turn})"'
        look = f'class="m" text-anchor="middle" dy="4" style="fill:{ink(colour)};pointer-events:none"'
        self._parts.append(f"<text {place} {look}>{_xml(text)}</text>")

    def document(self) -> str:
        """All of it on white ground."""
        width, height = round(self._width + MARGIN), round(self._height + MARGIN)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ground = '<rect width="100%" height="100%" fill="#fff"/>'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>{ground}'
        return f"{head}{''.join(self._parts)}</svg>\n"

    def _grow(self, x: float, y: float) -> None:
        self._width, self._height = max(self._width, x), max(self._height, y)


def draw(heatmap: Heatmap, by: By) -> str:
    """The document."""
    canvas, y = _Canvas(), float(MARGIN)
    canvas.text(MARGIN, y, Path(heatmap.path).name, "t")
    canvas.text(MARGIN, y + LINE, _describe(heatmap), "d")
    left = MARGIN + CHAR * max((len(share.kind) for share in heatmap.shares), default=0) + PAD
    y = _draw_layers(canvas, heatmap, by, left, y + 2 * LINE + PAD)
    y = _draw_outside(canvas, heatmap, by, left, y)
    if by == "bits":
        _draw_scale(canvas, y)
    else:
        _draw_types(canvas, heatmap, y)
    return canvas.document()


def _describe(heatmap: Heatmap) -> str:
    """The file in a line: architecture, size, weights and what each takes."""
    whole = heatmap.whole
    bits = "no weights" if whole.bits is None else f"{whole.bits:.3f} bits per weight"
    name = printable((heatmap.architecture or "unknown architecture")[:64])
    return f"{name}, {heatmap.n_bytes / 1e6:.1f} MB, {whole.n_weights / 1e6:.1f}M weights, {bits} (all tensors)"


def _draw_layers(canvas: _Canvas, heatmap: Heatmap, by: By, left: float, y: float) -> float:
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


def _draw_outside(canvas: _Canvas, heatmap: Heatmap, by: By, left: float, y: float) -> float:
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


def _draw_scale(canvas: _Canvas, y: float) -> None:
    step, ratio = SCALE_WIDTH / SCALE_STEPS, MOST_BITS / LEAST_BITS
    for i in range(SCALE_STEPS):
        bits = LEAST_BITS * ratio ** ((i + 0.5) / SCALE_STEPS)
        canvas.box(MARGIN + i * step, y, step + 0.3, LINE - 6, bits_colour(bits))
    for mark in SCALE_MARKS:
        place = SCALE_WIDTH * math.log(mark / LEAST_BITS, ratio)
        canvas.text(MARGIN + place - CHAR / 2, y + LINE - 6, f"{mark:g}", "d")
    canvas.text(MARGIN + SCALE_WIDTH + 2 * PAD, y + LINE - 6, "bits per weight", "d")


def _draw_types(canvas: _Canvas, heatmap: Heatmap, y: float) -> None:
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


def _xml(text: str) -> str:
    return escape(text if text.isprintable() else ascii(text)[1:-1])
