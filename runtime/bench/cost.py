"""The cost of a run of tokens: bytes to read and multiply-adds to do, whatever the code that does it."""

from dataclasses import dataclass

from subbyte.kernels import FORMATS, OperationCost
from subbyte.runtime.bench.roofline import Roofline
from subbyte.runtime.model import Model
from subbyte.runtime.types import Activations, CacheType


@dataclass(frozen=True)
class Cost:
    """n_bytes of weights, keys and values to read, and of recurrent states to read and write; multiply-adds by kind."""

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
    *layers, head = model.plan.operations
    costs = [*(operation.cost(n, depth) for operation in layers), head.cost(1, depth)]
    return _cost(costs, cache_type, activations)


def generation_cost(model: Model, n: int, depth: int, cache_type: CacheType, activations: Activations) -> Cost:
    """Of evaluating n tokens one by one behind depth others, each for its logits."""
    operations = model.plan.operations
    return _cost([of.cost(1, depth + i) for i in range(n) for of in operations], cache_type, activations)


def weight_bytes(model: Model) -> int:
    """Of the weights that one token meets."""
    costs = [operation.cost(1, 0)._replace(cached=0, state=0) for operation in model.plan.operations]
    return _cost(costs, "f16", "int8").n_bytes


def _cost(costs: list[OperationCost], cache_type: CacheType, activations: Activations) -> Cost:
    value_bytes = FORMATS[cache_type.upper()].bits_per_weight / 8
    n_bytes = int(sum(cost.cached for cost in costs) * value_bytes) + sum(2 * 4 * cost.state for cost in costs)
    int8, floats, bf16 = 0, sum(cost.float_macs for cost in costs), 0
    for name, weights, macs in (product for cost in costs for product in cost.products):
        format = FORMATS[name]
        n_bytes += weights // format.block_size * format.block_bytes
        if format.group and activations != "float32":
            int8 += macs * (2 if activations == "int8x2" else 1)
        elif name == "BF16" and activations == "int8":
            bf16 += macs
        else:
            floats += macs
    return Cost(n_bytes, int8, floats, bf16)
