"""The cost of a run of tokens: bytes to read and multiply-adds to do, whatever the code that does it."""

from dataclasses import dataclass

from subbyte.kernels import FORMATS
from subbyte.runtime.bench.roofline import Roofline
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True)
class Cost:
    """n_bytes of weights, keys and values to read; multiply-adds of int8, float and bf16 numbers."""

    n_bytes: int
    int8_macs: int
    float_macs: int
    bf16_macs: int

    def seconds(self, roofline: Roofline) -> float:
        """The least time it can take under a roofline: reading memory or computing, whichever is longer."""
        return max(self._memory_seconds(roofline), self._compute_seconds(roofline))

    def bound_by(self, roofline: Roofline) -> str:
        """Whether it is memory-bound ("memory") or compute-bound ("compute")."""
        return "memory" if self._memory_seconds(roofline) >= self._compute_seconds(roofline) else "compute"

    def _memory_seconds(self, roofline: Roofline) -> float:
        return self.n_bytes / roofline.bandwidth

    def _compute_seconds(self, roofline: Roofline) -> float:
        floats = self.float_macs / roofline.float_macs + self.bf16_macs / roofline.bf16_macs
        return self.int8_macs / roofline.int8_macs + floats


def prompt_cost(model: Model, n: int, depth: int, cache_type: CacheType, activations: Activations) -> Cost:
    """Of evaluating n tokens at once behind depth others, for the logits of the last one."""
    return _cost(model, n, depth, cache_type, activations, passes=1)


def generation_cost(model: Model, n: int, depth: int, cache_type: CacheType, activations: Activations) -> Cost:
    """Of evaluating n tokens one by one behind depth others, each for its logits."""
    return _cost(model, n, depth, cache_type, activations, passes=n)


def _cost(model: Model, n: int, depth: int, cache_type: CacheType, activations: Activations, passes: int) -> Cost:
    """passes: how often the weights are read, and the logits computed."""
    n_bytes = int8 = floats = bf16 = 0
    *layers, head = model.plan.matrices()
    for (name, rows, cols), times in [*((matrix, n) for matrix in layers), (head, passes)]:
        format = FORMATS[name]
        n_bytes += rows * cols // format.block_size * format.block_bytes * passes
        if format.group and activations != "float32":
            int8 += rows * cols * times * (2 if activations == "int8x2" else 1)
        elif name == "BF16" and activations == "int8":
            bf16 += rows * cols * times
        else:
            floats += rows * cols * times
    value_bytes = FORMATS[cache_type.upper()].bits_per_weight / 8
    for n_head, n_head_kv, head_dim, window in model.plan.attentions():
        pairs = attended(n, depth, window)
        read = pairs if passes == n else attended(1, depth + n - 1, window)
        n_bytes += int(2 * read * n_head_kv * head_dim * value_bytes)
        floats += 2 * pairs * n_head * head_dim
    return Cost(n_bytes, int8, floats, bf16)


def attended(n: int, depth: int, window: int) -> int:
    """Positions that n tokens behind depth others look at, all together: itself and, with a window, window - 1 more."""
    growing = n if window == 0 else min(max(window - depth, 0), n)
    return growing * depth + growing * (growing + 1) // 2 + (n - growing) * window
