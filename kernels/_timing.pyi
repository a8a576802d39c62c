import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

def product(isa: str, format: str, data: Bytes, rows: int, x: Floats, repeat: int = 1) -> tuple[float, Floats]:
    """Seconds to compute out [n_tokens, rows] = x [n_tokens, cols] times the transposed weights so often, and out."""

def unpack(isa: str, format: str, data: Bytes, rows: int, cols: int, repeat: int = 1) -> float:
    """Seconds to unpack all rows of a quantized format `repeat` times."""

def cycles(n: int) -> float:
    """Seconds that n cycles of the core take now."""
