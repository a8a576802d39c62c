"""A report read back from what `subbyte report -o json` wrote, as far as a plot of it goes.

Measuring takes hours, drawing a second: a picture can be made later, again, or on another machine.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from subbyte.errors import FormatError, ResourceError
from subbyte.runtime.files import read_regular
from subbyte.runtime.measurement import covered
from subbyte.runtime.pictures.frontier import Figure, File, Frontier, shortened
from subbyte.runtime.pictures.frontier_plot import draw_frontier
from subbyte.runtime.pictures.picture import write_plot
from subbyte.runtime.report.size_class import Maker
from subbyte.runtime.tables import short_names
from subbyte.runtime.text import escaped, printable

MAX_BYTES = 1 << 26
_Number = Annotated[float, msgspec.Meta(ge=-1e100, le=1e100)] | None
_Ppl = Annotated[float, msgspec.Meta(ge=0)] | None


class _Ends(msgspec.Struct):
    low: _Number
    high: _Number


class _PplEnds(msgspec.Struct):
    low: _Ppl
    high: _Ppl


class _Perplexity(msgspec.Struct):
    ppl: _Ppl
    interval: _PplEnds
    bits_per_byte: _Number
    n_ctx: int
    chunks: int
    total_chunks: int
    text_sha256: str | None


class _Value(msgspec.Struct):
    value: _Number


class _Divergence(msgspec.Struct):
    kld: _Value
    kld_interval: _Ends
    log_ratio: _Value
    log_ratio_interval: _Ends


class _SizeClass(msgspec.Struct):
    file_type: str
    maker: Maker


class _Row(msgspec.Struct):
    model: str
    size_class: _SizeClass
    n_bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 62)]
    perplexity: _Perplexity
    divergence: _Divergence | None


class SavedReport(msgspec.Struct):
    """What `Report.to_dict` gives, as far as it is plotted. base: where it is not None, the last row is its."""

    rows: Annotated[list[_Row], msgspec.Meta(min_length=1)]
    base: str | None

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> SavedReport:
        """From the dict itself."""
        return msgspec.convert(facts, cls)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> SavedReport:
        """From a file of JSON. Raises ResourceError where it can't be read, FormatError where it is no report."""
        name = printable(str(path))
        try:
            return msgspec.json.decode(read_regular(path, MAX_BYTES), type=cls)
        except OSError as error:
            raise ResourceError(f"{name}: can't be read: {error.strerror or error}; give another file") from None
        except (msgspec.MsgspecError, RecursionError) as error:
            hint = "give what `subbyte report -o json` wrote"
            raise FormatError(f"{name}: no report: {error}; {hint}") from None

    def save_plot(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes the plot of a report; arguments and errors as for `Report.save_plot`."""
        write_plot(path, lambda: draw_frontier(self._frontier()), overwrite=overwrite)

    def _frontier(self) -> Frontier:
        names = [escaped(name) for name in short_names([row.model for row in self.rows])]
        files = [_file(name, row) for name, row in zip(names, self.rows, strict=True)]
        base = files.pop() if self.base is not None else None
        of = self.rows[0].perplexity
        text = f", text sha256 {escaped(of.text_sha256[:16])}…" if of.text_sha256 else ""
        kld = f"; KL divergence from {shortened(base.name)}" if base else ""
        conditions = f"{covered(of.chunks, of.total_chunks)} of {of.n_ctx} tokens{text}{kld}"
        return Frontier(tuple(files), base, conditions)


def _file(name: str, row: _Row) -> File:
    """A file of the frontier; nan where JSON has null."""
    of, found = row.perplexity, row.divergence
    ppl, bits = _float(of.ppl), _float(of.bits_per_byte)
    bits_per_ln = bits / math.log(ppl) if ppl > 0 and ppl != 1 else math.nan
    if found is None:
        kld, log_ends = Figure(math.nan), (_log(of.interval.low), _log(of.interval.high))
    else:
        kld = Figure(_float(found.kld.value), _float(found.kld_interval.low), _float(found.kld_interval.high))
        log_base, ratio = _log(of.ppl) - _float(found.log_ratio.value), found.log_ratio_interval
        log_ends = log_base + _float(ratio.low), log_base + _float(ratio.high)
    low, high = (end * bits_per_ln for end in log_ends)
    maker, types = row.size_class.maker, escaped(row.size_class.file_type)
    shown = types if maker == "standard" else f"{maker} {types}"
    return File(name, maker, shown, row.n_bytes, kld, Figure(bits, low, high), ppl)


def _float(value: float | None) -> float:
    return math.nan if value is None else value


def _log(value: float | None) -> float:
    return math.log(value) if value else math.nan
