"""The prefill: how a prompt is cut into chunks."""

PREFILL_CHUNK = 256  # prompt tokens between two progress events; a cancelled prompt ends after so many at most


def chunk_ends(n_cached: int, n_prompt: int) -> list[int]:
    """Where the chunks of a prompt end whose first n_cached tokens need no computing.

    The chunks are of equal size: a last one of a few tokens would be slow.
    """
    total = n_prompt - n_cached
    n_chunks = -(-total // PREFILL_CHUNK)
    return [n_cached + total * i // n_chunks for i in range(1, n_chunks + 1)]
