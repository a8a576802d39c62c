"""llama.cpp's llama-batched-bench: tokens/s of all sequences together, by how many of them are in a batch."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engines.turns import EngineError

PROMPT = 2  # tokens of each sequence before those that are counted
_ROW = re.compile(r"^\|(.*)\|$", re.MULTILINE)


def rates(program: Path, model: Path, numbers: Sequence[int], n_steps: int, threads: int) -> dict[int, float]:
    """Tokens/s of n_steps tokens of each sequence, by the number of sequences. Raises EngineError."""
    n_ctx = max(numbers) * (PROMPT + n_steps + 1)
    sizes = {"-c": n_ctx, "-npp": PROMPT, "-ntg": n_steps, "-npl": ",".join(map(str, numbers)), "-t": threads}
    command = [str(program), "-m", str(model), *(str(word) for pair in sizes.items() for word in pair)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse(done.stdout, numbers, done.stderr)


def parse(text: str, numbers: Sequence[int], complaint: str = "") -> dict[int, float]:
    """The column S_TG (tokens/s of generation) of its table, by the column B."""
    rows = [[cell.strip() for cell in row.split("|")] for row in _ROW.findall(text)]
    named = next((row for row in rows if "S_TG t/s" in row), None)
    found: dict[int, float] = {}
    if named is not None:
        b, speed = named.index("B"), named.index("S_TG t/s")
        found = {int(row[b]): float(row[speed]) for row in rows if len(row) > speed and row[b].isdigit()}
    if missing := [n for n in numbers if n not in found]:
        raise EngineError(f"llama-batched-bench gave nothing for {missing[0]} sequences: {complaint[-200:]!r}")
    return found
