"""docs/dynamicgate.md out of a report: DynamicGate against the standard at equal names and at equal size."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import subbyte as sb
from subbyte.runtime.tables import Table, markdown

HEAD = """# DynamicGate against the standard mixtures

Model cards of DynamicGate files show a table: the standard mixture against DynamicGate's of the same name. This is that
table for SmolLM2-135M-Instruct, measured with intervals. DynamicGate's files are larger than the standard ones of their
names, so the second table asks what a file of the same size would have.

{summary}

One model of 135 million weights does not speak for larger ones. A fifth of its weights are embeddings, which are Q5_K
in all files. The original is a Q4_1 file, decoded: that, and not the model as it was trained, is the base.
"""

HOW = """## How it was made

{facts}

The model's rows of 576 weights were widened to 768 by zero columns and zero heads (benchmarks/widen.py), which changes
nothing that it computes; else most of its matrices could not take the types in question. The zeros count as weights in
bits/weight and are in the files' sizes, in all files alike. Encoders are libgguf's, recipes `subbyte recipe show` has.
"""


@dataclass(frozen=True)
class EqualSize:
    """A file against the standard at its size: between standard files `smaller` and `larger`, so far from the smaller.

    All are places among the report's rows. delta: of ln PPL.
    """

    file: int
    smaller: int
    larger: int
    weight: float
    delta: sb.Interval


def at_equal_size(report: sb.Report) -> list[EqualSize]:
    """For each file that is not standard and lies between two that are, in bytes.

    The standard's ln PPL at a size is a straight line between neighbours. It is drawn through each chunk's losses, so
    that the difference has an interval as any other; what the line is wrong by, no interval knows.
    """
    losses = report.run.losses
    sizes = [row.n_bytes for row in report.rows]
    makers = [row.size_class.maker for row in report.rows]
    n_files = len(report.rows) - (report.base is not None)
    standard = sorted((i for i in range(n_files) if makers[i] == "standard"), key=lambda i: sizes[i])
    found = []
    for i in range(n_files):
        pair = next(((a, b) for a, b in pairwise(standard) if sizes[a] <= sizes[i] < sizes[b]), None)
        if makers[i] == "standard" or pair is None:
            continue
        a, b = pair
        weight = (sizes[i] - sizes[a]) / (sizes[b] - sizes[a])
        line = (1 - weight) * losses[a] + weight * losses[b]
        found.append(EqualSize(i, a, b, weight, report.run.tokens.interval(losses[i] - line, report.run.level)))
    return found


def document(report: sb.Report, made_from: Mapping[str, str]) -> str:
    """The whole page."""
    equal_size = at_equal_size(report)
    facts = "\n".join(f"- {name}: {value}" for name, value in made_from.items())
    parts = [
        HEAD.format(summary=_summary(report, equal_size)).rstrip(),
        "## Equal names",
        report.markdown(made_from["command"]),
        "## Equal size",
        markdown(_equal_size_table(report, equal_size)),
        "Of each DynamicGate file the difference of ln PPL from a straight line between the two standard files whose "
        "sizes are next to its own, with its interval; what the line is wrong by is not in the interval.",
        "## By size",
        markdown(_by_size_table(report)),
        "All files, the smallest first. Beaten by: a file that is no larger and better, where the interval of the "
        "difference leaves no doubt.",
        HOW.format(facts=facts).rstrip(),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(report: sb.Report, equal_size: Sequence[EqualSize]) -> str:
    names = _tally([row.delta.verdict for row in report.rows if row.delta])
    sizes = _tally([of.delta.verdict for of in equal_size])
    return f"At equal names DynamicGate is {names}. At equal size it is {sizes}."


def _tally(verdicts: Sequence[str]) -> str:
    counts = Counter(verdicts)
    said = [f"{verdict} in {counts[verdict]} of {len(verdicts)}" for verdict in ("better", "worse", "undecided")
            if counts[verdict]]  # fmt: skip
    return ", ".join(said)


def _name(report: sb.Report, i: int) -> str:
    return Path(report.rows[i].model).stem


def _equal_size_table(report: sb.Report, equal_size: Sequence[EqualSize]) -> Table:
    rows = []
    for of in equal_size:
        between = f"{_name(report, of.smaller)} {1 - of.weight:.0%}, {_name(report, of.larger)} {of.weight:.0%}"
        delta = f"{of.delta.estimate:+.4f} [{of.delta.low:+.4f} .. {of.delta.high:+.4f}]"
        size = f"{report.rows[of.file].n_bytes / 1e6:.1f}"
        rows.append((_name(report, of.file), size, between, delta, of.delta.verdict))
    return Table.of_figures("", ("file", "MB", "the line there", "Δ ln PPL", "verdict"), rows)


def _by_size_table(report: sb.Report) -> Table:
    order = sorted(range(len(report.rows)), key=lambda i: report.rows[i].n_bytes)
    rows = []
    for place, i in enumerate(order):
        row = report.rows[i]
        beaten = [_name(report, j) for j in order[:place] if report.run.delta(j, i).verdict == "better"]
        kld = f"{row.divergence.kld.value:.4f}" if row.divergence else ""
        size = f"{row.n_bytes / 1e6:.1f}"
        rows.append((_name(report, i), size, f"{row.perplexity.ppl:.2f}", kld, ", ".join(beaten)))
    return Table.of_figures("", ("file", "MB", "PPL", "KLD", "beaten by"), rows)
