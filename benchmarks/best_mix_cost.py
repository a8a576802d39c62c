"""What a search of a large model takes, extrapolated from a random one of two layers of its shape."""

import re
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import subbyte as sb
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.search.groups import banded, find_groups
from subbyte.runtime.search.kept import EncodedTensors
from subbyte.runtime.search.measured import SOME
from subbyte.runtime.search.passages import Passage
from subbyte.runtime.search.variants import Variants
from subbyte.runtime.synthetic.shapes import SHAPES
from subbyte.runtime.synthetic.write import parse, write

N_CTX, STEP, PASSAGES = 256, 4, 16
HALVED = 1.5  # bands measured for each there was at first: what is large is halved
TYPE = "IQ3_S"  # about as long to encode as the mean of all types


class Cost(NamedTuple):
    """Seconds of one layer and of the head over a passage, and of encoding all weights of a layer once.

    base: bytes of the whole model's file, which is mapped. memory: bytes beside what is mapped.
    """

    shape: str
    threads: int
    layers: int
    bands: int
    layer: float
    head: float
    encode: float
    base: int
    memory: int

    def variants(self, passages: int) -> float:
        """Seconds for each band once, over so many passages."""
        layers = self.bands * (self.layers + 1) / 2
        return passages * (layers * self.layer + self.bands * self.head)

    @property
    def alone(self) -> float:
        """Seconds for all bands alone, all tensors encoded once."""
        return self.variants(SOME) + self.layers * self.encode

    @property
    def within(self) -> float:
        """Seconds for all bands within a mixture, encoded anew."""
        return self.variants(PASSAGES) + self.layers * self.encode


def measure_cost(shape: str, folder: Path) -> Cost:
    """Measures two layers of a shape in BF16."""
    path = folder / f"{shape}-2.gguf"
    if not path.exists():
        write(parse(f"{shape}:BF16:2"), path)
    with sb.load(path) as model, Encoder(model.n_threads) as encoder, tempfile.TemporaryDirectory(dir=folder) as cache:
        groups = [group for group in find_groups(model, None, None) if group.matrix.layer == 0]
        tokens = np.random.default_rng(0).integers(0, model.config.n_vocab, N_CTX).astype(np.int32)
        passage = Passage(0, tokens, np.arange(16, N_CTX - 1, STEP, dtype=np.int32))
        encoded = EncodedTensors(Path(cache), 20 * 10**9, model.gguf, encoder)
        started = time.perf_counter()
        tensors = {group.name: encoded.get(group, TYPE) for group in groups if TYPE in group.n_bytes}
        encode = time.perf_counter() - started
        variants = Variants(model, [passage], sb.EvalOptions(N_CTX))
        found = variants.divergences({}, [(start, tensors) for start in (0, 0, 1, 2)], [0])
        times = []
        for _ in range(4):
            started = time.perf_counter()
            next(found)
            times.append(time.perf_counter() - started)
        memory = anonymous_bytes()
        per_layer = sum(tensor.n_bytes for name, tensor in model.gguf.tensors.items() if name.startswith("blk.0."))
    # The first one also runs the base. Each later one runs the layers behind its start; the last one is the head alone,
    # and the base's second layer, up to where it begins.
    layer = times[1] - times[2] if times[1] > times[2] else times[1] / 3
    n_layer = len(SHAPES[shape].layers)
    base = path.stat().st_size + (n_layer - 2) * per_layer
    bands = round(HALVED * len(groups) * len(banded(list(range(n_layer)))))
    head = max(times[3] - layer, 0.0)
    return Cost(shape, model.n_threads, n_layer, bands, layer, head, encode, base, memory)


def anonymous_bytes() -> int:
    """Of this process's memory what no file backs; Linux has it."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])
