"""What benchmarks/peers.py measured, kept in a JSON file model by model: a long run can be broken off and go on."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

OURS, LLAMA_CPP, IK = "subbyte", "llama.cpp", "ik_llama.cpp"  # names of engines that the tables know

Rates = dict[str, list[float]]  # of "prompt" and "generation", one value a round


@dataclass(frozen=True)
class Setting:
    """What must be equal for two records to be of one table. isa: subbyte's; the peers are to be built for it."""

    machine: str
    isa: str
    threads: int
    prompt: int
    generation: int


@dataclass(frozen=True)
class Record:
    """One model: the tokens/s of every engine and what the machine's limits allow (`limits`), round by round.

    failed: the reasons of peers that could not run it, by name.
    """

    model: str  # a file's stem, or shape:type:layers
    format: str | None  # of a synthetic model
    mib: float
    date: str
    setting: Setting
    command: str  # without the paths of models and peers
    versions: dict[str, str]
    rates: dict[str, Rates]
    limits: Rates
    failed: dict[str, str]

    @property
    def peers(self) -> list[str]:
        """Those that were tried, whether they ran it or not."""
        return [name for name in (*self.rates, *self.failed) if name != OURS]


@dataclass(frozen=True)
class Ratio:
    """Median and extremes of ratios of values measured in the same round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f} .. {self.high:.2f}]"


def paired(ours: list[float], theirs: list[float], factor: float = 1) -> Ratio:
    """ours / (theirs x factor), round by round: a slow minute hits both sides of a pair."""
    ratios = [a / (b * factor) for a, b in zip(ours, theirs, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def load(path: Path) -> list[Record]:
    """All records of the file, none if it is not there. Raises ValueError, with the path, for other content."""
    try:
        items = json.loads(path.read_text())
        return [Record(**{**item, "setting": Setting(**item["setting"])}) for item in items]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} holds no records of this benchmark ({error}); move it away or name another") from None


def save(path: Path, records: list[Record]) -> None:
    """Replaces the file at once, so that breaking off loses nothing."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")
    os.replace(new, path)


def put(records: list[Record], record: Record) -> list[Record]:
    """The records with this one in place of an earlier one of the same model and setting."""
    same = [(r.model, r.setting) == (record.model, record.setting) for r in records]
    if True in same:
        return [record if s else r for r, s in zip(records, same, strict=True)]
    return [*records, record]
