"""Packing: segments of many sequences into full batches, so that each weight is read once for all of them."""

from collections.abc import Iterable, Iterator

from subbyte.runtime.session.runner import Segment


def packed(segments: Iterable[Segment], n_batch: int, n_sequences: int) -> Iterator[list[Segment]]:
    """Steps for `Runner.step`, each of at most n_batch tokens of at most n_sequences sequences, in the order given.

    A segment that does not fit is cut. The next one is asked for when all but n_sequences - 1 of those before it have
    been given out and computed: an iterator may make its sequences as they are needed, or take one again.
    """
    step: list[Segment] = []
    room = n_batch
    for sequence, tokens, rows in segments:
        start = 0
        while start < len(tokens):
            part = tokens[start : start + room]
            step.append(Segment(sequence, part, _within(rows, start, len(part))))
            start += len(part)
            room -= len(part)
            if not room or len(step) == n_sequences:
                yield step
                step, room = [], n_batch
    if step:
        yield step


def _within(rows: range, start: int, n: int) -> range:
    """Those of rows that are among n from start on, counted from there."""
    return range(max(rows.start - start, 0), max(min(rows.stop - start, n), 0))
