"""What a benchmark found: cases, their runs, and the figures made of them."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any, Literal

from subbyte.runtime.bench.cost import Cost
from subbyte.runtime.bench.roofline import Roofline, combine
from subbyte.runtime.inspect.mixture import Mixture
from subbyte.runtime.records import Tabular

Kind = Literal["prompt", "generation"]


@dataclass(frozen=True)
class Case:
    """n_tokens at once ("prompt") or one by one ("generation"), behind `depth` others."""

    kind: Kind
    n_tokens: int
    depth: int
    threads: int

    @property
    def name(self) -> str:
        """As llama-bench writes it: pp512, tg64 @ d2048."""
        name = f"{'pp' if self.kind == 'prompt' else 'tg'}{self.n_tokens}"
        return f"{name} @ d{self.depth}" if self.depth else name


@dataclass(frozen=True)
class Run:
    """One run, and the roofline: the better of what was measured right before and right after it."""

    seconds: float
    roofline: Roofline


@dataclass(frozen=True)
class Measured:
    """A case, its cost, and all of its runs."""

    case: Case
    cost: Cost
    runs: tuple[Run, ...]

    @property
    def rate(self) -> float:
        """Tokens/s: the median of the runs."""
        return statistics.median(self._rates)

    @property
    def spread(self) -> float:
        """The median distance of a run from `rate`: half of the runs lie within rate ± spread."""
        return statistics.median(abs(rate - self.rate) for rate in self._rates)

    @property
    def share(self) -> float:
        """Share of the roofline: the least time that it allows, over the time taken; the median of the runs."""
        return statistics.median(self.cost.seconds(run.roofline) / run.seconds for run in self.runs)

    @property
    def roofline(self) -> Roofline:
        """The medians of what was measured around its runs."""
        return combine([run.roofline for run in self.runs], statistics.median)

    @property
    def bound_by(self) -> str:
        """Whether it is memory-bound ("memory") or compute-bound ("compute")."""
        return self.cost.bound_by(self.roofline)

    @property
    def _rates(self) -> list[float]:
        return [self.case.n_tokens / run.seconds for run in self.runs]

    def to_dict(self) -> dict[str, Any]:
        """Figures and runs by name, fit for JSON."""
        return {
            "name": self.case.name, **asdict(self.case),
            "tokens_per_second": self.rate, "spread": self.spread,
            "share_of_roofline": self.share, "bound_by": self.bound_by, "roofline": asdict(self.roofline),
            "cost": asdict(self.cost), "runs": [asdict(run) for run in self.runs],
        }  # fmt: skip


@dataclass(frozen=True)
class BenchResult(Tabular):
    """All that was measured, and what another needs to measure it again.

    model: the facts of `ModelInfo`. types: bytes of the file by block type. mixture: None for a dense model.
    """

    version: str
    cpu: str
    isa: str
    model: dict[str, Any]
    types: dict[str, int]
    mixture: Mixture | None
    activations: str
    cache_type: str
    repeats: int
    measured: tuple[Measured, ...]

    def rooflines(self) -> dict[int, Roofline]:
        """By number of threads, the medians of what was measured."""
        threads = dict.fromkeys(of.case.threads for of in self.measured)
        found = {n: [of.roofline for of in self.measured if of.case.threads == n] for n in threads}
        return {n: combine(all, statistics.median) for n, all in found.items()}

    def records(self) -> list[dict[str, Any]]:
        """A test each, every figure in full."""
        conditions = {
            "version": self.version, "cpu": self.cpu, "isa": self.isa,
            "model": self.model["name"], "architecture": self.model["architecture"],
            "bytes": self.model["size"], "types": " ".join(self.types),
            "activations": self.activations, "cache_type": self.cache_type,
        }  # fmt: skip
        return [{**conditions, **_record(of), "repeats": self.repeats} for of in self.measured]

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, fit for JSON. A roofline is bytes and multiply-adds a second, a cost those of a run."""
        facts = {name: value for name, value in vars(self).items() if name != "measured"}
        facts["mixture"] = self.mixture and asdict(self.mixture)
        return {**facts, "tests": [measured.to_dict() for measured in self.measured]}


def _record(of: Measured) -> dict[str, Any]:
    case, peak = of.case, of.roofline
    return {
        "test": case.name, "kind": case.kind, "n_tokens": case.n_tokens, "depth": case.depth, "threads": case.threads,
        "tokens_per_second": of.rate, "spread": of.spread, "share_of_roofline": of.share, "bound_by": of.bound_by,
        "bandwidth": peak.bandwidth, "int8_macs": peak.int8_macs, "float_macs": peak.float_macs,
        "bf16_macs": peak.bf16_macs,
    }  # fmt: skip
