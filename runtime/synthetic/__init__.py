"""Models of random blocks in real shapes, for benchmarks and tests."""
