"""Embeddings: a vector for each text, from its hidden states behind the final norm, which the head reads."""

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ContextOverflow, NumericError, UnsupportedError
from subbyte.runtime import arguments
from subbyte.runtime.gguf.metadata import Metadata
from subbyte.runtime.machine import available_memory
from subbyte.runtime.session.packing import packed
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.session.sequence import Sequence as TokenSequence
from subbyte.runtime.tokenizer.tokenizer import Tokenizer
from subbyte.runtime.types import Progress, Tokens

Pooling: TypeAlias = Literal["mean", "last", "cls"]
"""What becomes of the hidden states of a text: their mean, that of the last token, or that of the first."""

POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
MAX_SEQUENCES = 64  # in a step: more gain nothing
RANK = 4
_POOLING_TYPES: dict[int, Pooling] = {1: "mean", 2: "cls", 3: "last"}  # GGUF's, llama.cpp's enum llama_pooling_type


def pooling_of(metadata: Metadata, architecture: str) -> Pooling:
    """What a file says of pooling, or "mean". Raises UnsupportedError for a model that ranks texts."""
    key = f"{architecture}.pooling_type"
    found = metadata.u32(key, 0)
    if found == RANK:
        raise UnsupportedError(
            f"{key} is {RANK}: the model ranks texts; to embed with it, give pooling mean, last or cls"
        )
    return _POOLING_TYPES.get(found, "mean")


def tokens_of(texts: Sequence[str | bytes | Tokens], tokenizer: Tokenizer, n_ctx_train: int) -> list[list[int]]:
    """The tokens of each text, with BOS and EOS where the model wants them; token ids are taken as they are.

    Raises ValueError for a text without tokens, ContextOverflow for one longer than the model was trained for.
    """
    found = []
    for i, text in enumerate(texts):
        ids = _tokens(f"texts[{i}]", text, tokenizer)
        if not ids:
            raise ValueError(f"texts[{i}] has no tokens to embed")
        if len(ids) > n_ctx_train:
            raise ContextOverflow(
                f"texts[{i}] has {len(ids)} tokens, the model was trained for {n_ctx_train}: shorten it, or embed parts"
            )
        found.append(ids)
    return found


def _tokens(name: str, text: object, tokenizer: Tokenizer) -> list[int]:
    if not isinstance(text, str | bytes):
        found = arguments.items(name, text, "a text (str, or bytes of UTF-8) or a list of token ids")
        return list(arguments.token_ids(name, found, tokenizer.n_vocab).tolist())
    ids = tokenizer.encode(text, add_bos=True)
    if tokenizer.add_eos and tokenizer.eos is not None and ids[-1:] != [tokenizer.eos]:
        ids.append(tokenizer.eos)
    return ids


def embed(
    texts: Sequence[Sequence[int]], runner: Runner, pooling: Pooling, *, normalize: bool, on_progress: Progress | None
) -> NDArray[np.float32]:
    """Embeddings of texts that are given as tokens, float32 [n_texts, n_embd], each as if it were alone, to the bit.

    Texts are computed together, in full batches. Raises NumericError for a result that is not finite.
    """
    plan, head = runner.plan, runner.plan.operations[-1]
    pools = np.zeros((len(texts), head.matrices[0].cols))
    running: dict[TokenSequence, int] = {}  # the texts that have begun, by number

    def segments() -> Iterator[Segment]:
        for i, tokens in enumerate(texts):
            sequence = runner.new_sequence("f16", n_ctx=len(tokens))
            running[sequence] = i
            yield Segment(sequence, np.array(tokens, np.int32))

    room = available_memory() // 4 // max(plan.cache_bytes(1, "f16"), 1)  # a step has no more positions than tokens
    n_done = 0
    for step in packed(segments(), runner.n_batch, max(1, min(MAX_SEQUENCES, room))):
        runner.step(step)
        hidden, start = head.normed(runner.engine.read(head.reads[0])), 0
        for sequence, tokens, _ in step:
            _pool(pools[running[sequence]], hidden[start : start + len(tokens)], sequence, pooling)
            start += len(tokens)
            if sequence.n_past == sequence.n_ctx:
                del running[sequence]
                n_done += 1
        if on_progress is not None:
            on_progress(n_done, len(texts))
    if not np.isfinite(pools).all():
        raise NumericError("the model's output is not finite: its weights or hyper-parameters are damaged")
    if normalize:
        pools /= np.maximum(np.linalg.norm(pools, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return pools.astype(np.float32)


def _pool(pool: NDArray[np.float64], rows: NDArray[np.float32], sequence: TokenSequence, pooling: Pooling) -> None:
    """Takes the hidden states of the latest tokens of a sequence into its pool, [n_embd]."""
    if pooling == "last":
        pool[:] = rows[-1]
    elif pooling == "mean":
        for row in rows:  # one after the other, so that the sum does not depend on how a text was cut
            pool += row
        if sequence.n_past == sequence.n_ctx:
            pool /= sequence.n_ctx
    elif sequence.n_past == len(rows):
        pool[:] = rows[0]
