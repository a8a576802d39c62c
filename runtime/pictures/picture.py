"""A picture for a model card, as SVG or PNG of one drawing: its look, what it says in words, and its file.

An SVG follows the reader's preference for dark or light; a PNG has its own light ground, which is read on both.
Texts of an SVG are texts, in fonts that every viewer has. The same figures give the same bytes.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subbyte.errors import ResourceError
from subbyte.runtime import arguments
from subbyte.runtime.files import FileKind, atomic_write, check_place, write_failure
from subbyte.runtime.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUND, INK, DIM, FAINT = "#ffffff", "#222222", "#595959", "#dcdcdc"
ON_DARK = {GROUND: "#181818", INK: "#dddddd", DIM: "#a8a8a8", FAINT: "#3c3c3c"}
"""What a colour is where the reader prefers dark; a picture has more of its own."""

POINTS = 72  # an inch, the unit of figures
TEXT_SIZE, SMALL, TITLE_SIZE = 9.0, 8.0, 12.0  # points
PNG_DPI = 200
_MARK = "<metadata>subbyte plot</metadata>"
_SOFTWARE = "subbyte plot"
_KIND = {
    ".svg": FileKind("a plot", lambda head: head.startswith(b"<svg ") and _MARK.encode() in head),
    ".png": FileKind("a plot", lambda head: head.startswith(b"\x89PNG") and _SOFTWARE.encode() in head),
}
_FONTS = ["DejaVu Sans", "Verdana", "Arial", "Helvetica"]  # the first comes with matplotlib, others are no wider
_STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"], "font.sans-serif": _FONTS, "font.size": TEXT_SIZE, "text.parse_math": False,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": DIM, "xtick.color": DIM, "ytick.color": DIM,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "grid.color": FAINT, "grid.linewidth": 0.6,
    "axes.grid": True, "axes.axisbelow": True, "axes.facecolor": "none", "figure.facecolor": GROUND,
    "figure.dpi": POINTS, "savefig.facecolor": "auto", "svg.fonttype": "none", "svg.hashsalt": "subbyte",
    "path.simplify": False, "xtick.labelsize": SMALL, "ytick.labelsize": SMALL,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawing. description: all of it in words, for who can't see it. tips: of its parts, by their gid.

    on_dark: colours where the reader prefers dark, beside ON_DARK.
    """

    figure: Figure
    title: str
    description: str
    tips: Mapping[str, str] = field(default_factory=dict)
    on_dark: Mapping[str, str] = field(default_factory=dict)


def check_plot(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Whether a picture can be written there, to be asked before a measurement.

    Raises ValueError for a name that ends in neither .svg nor .png, ResourceError where matplotlib is missing, and as
    `check_place`.
    """
    check_place(path, _KIND[_suffix(path)], overwrite=overwrite)
    with _style():
        pass


def write_plot(path: str | os.PathLike[str], draw: Callable[[], Picture], *, overwrite: bool = False) -> None:
    """Writes what `draw` draws, whole or not at all, as the name's ending says. Raises as `check_plot`."""
    suffix = _suffix(path)
    arguments.flag("overwrite", overwrite)
    with _style():
        picture = draw()
        content = _svg(picture) if suffix == ".svg" else _png(picture)
    try:
        with atomic_write(path, _KIND[suffix], overwrite=overwrite) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise write_failure(path, error) from error


def _suffix(path: str | os.PathLike[str]) -> str:
    place = arguments.path("path", path)
    suffix = Path(place).suffix.lower()
    if suffix not in _KIND:
        raise ValueError(f"path is {printable(str(place))}, but must end with .svg or .png")
    return suffix


@contextmanager
def _style() -> Iterator[None]:
    """The look of all pictures, whatever the user's own settings of matplotlib are."""
    try:
        import matplotlib
    except ImportError:
        problem = "a plot needs matplotlib; install it with: pip install 'subbyte[plot]'"
        raise ResourceError(problem) from None
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name may have characters that no font has
        matplotlib.rcdefaults()
        settings: MutableMapping[Any, Any] = matplotlib.rcParams
        settings.update(_STYLE)
        yield


def _png(picture: Picture) -> bytes:
    file = io.BytesIO()
    facts = {"Software": _SOFTWARE, "Title": picture.title, "Description": picture.description}
    picture.figure.savefig(file, format="png", dpi=PNG_DPI, metadata=facts)
    return file.getvalue()


def _svg(picture: Picture) -> bytes:
    file = io.StringIO()
    picture.figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    _, start, drawing = file.getvalue().partition("<svg ")
    attributes, _, parts = drawing.partition(">")
    dark = "".join(
        f"[style*='{what}: {light}']{{{what}:{colour}!important}}"
        for light, colour in {**ON_DARK, **picture.on_dark}.items()
        for what in ("fill", "stroke")
    )
    head = (
        f'{start}{attributes} role="img" aria-labelledby="plot-title plot-desc">{_MARK}'
        f'<title id="plot-title">{_xml(picture.title)}</title><desc id="plot-desc">{_xml(picture.description)}</desc>'
        f"<style>@media(prefers-color-scheme:dark){{{dark}}}</style>"
    )

    def with_tip(group: re.Match[str]) -> str:
        tip = picture.tips.get(group[1])
        return group[0] if tip is None else f"{group[0]}<title>{_xml(tip)}</title>"

    return (head + re.sub(r'<g id="([\w-]+)">', with_tip, parts)).encode()


def _xml(text: str) -> str:
    return escape(text, quote=False)
