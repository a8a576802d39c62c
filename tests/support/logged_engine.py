"""An engine of benchmarks/ that notes its turns."""

from itertools import count


class LoggedEngine:
    """It writes them into `log`; its rates are 1, 2, 3, ..."""

    about: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self._log, self._rates = name, log, count(1)

    def run(self, what: str) -> float:
        self._log.append(f"{self.name} {what}")
        return float(next(self._rates))

    def close(self) -> None: ...
