"""An SVG document drawn piece by piece: texts and boxes on a ground that grows with them.

Texts have the colour of what is around them (currentColor), so that they can be read on a light page and on a dark one.
"""

from html import escape

from subbyte.runtime.files import FileKind
from subbyte.runtime.inspect.colours import ink
from subbyte.runtime.text import escaped

LINE = 19  # pixels from one line of text to the next
CHAR = 6.8  # pixels of a character at most
MARGIN = 14

_MARK = "<metadata>subbyte heatmap</metadata>"
SVG_FILE = FileKind("a heatmap", lambda head: head.startswith(b"<svg ") and _MARK.encode() in head)
_FONT = "ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_STYLE = f".m{{font:11px {_FONT}}}.d{{font:11px {_FONT};opacity:.7}}.t{{font:bold 14px {_FONT}}}"
_OF_A_FILE = ":root{color:#222;background:#fff}@media(prefers-color-scheme:dark){:root{color:#ddd;background:#181818}}"


class Canvas:
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
        """All of it as a file, on light ground, or on dark where the reader prefers that."""
        return f"{self._svg(_OF_A_FILE + _STYLE)}\n"

    def inline(self) -> str:
        """All of it as a part of a page, on its ground."""
        return self._svg(_STYLE)

    def _svg(self, style: str) -> str:
        width, height = round(self._width + MARGIN), round(self._height + MARGIN)
        size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill="currentColor">{_MARK}<style>{style}</style>'
        return f"{head}{''.join(self._parts)}</svg>"

    def _grow(self, x: float, y: float) -> None:
        self._width, self._height = max(self._width, x), max(self._height, y)


def _xml(text: str) -> str:
    return escape(escaped(text))
