"""Rows with numbers: log-probabilities of texts or of candidates behind them, and embeddings."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime import arguments
from subbyte.runtime.distributed.columns import Batch, Column, read_column
from subbyte.runtime.distributed.rows import RowFunction, attempt
from subbyte.runtime.embedding import POOLINGS, Pooling
from subbyte.runtime.scoring.choice import Choice, Normalize
from subbyte.runtime.scoring.score import Score
from subbyte.runtime.types import Activations


class ScoreRows(RowFunction["Score | Choice"]):
    """Scores the text of each row, or candidates behind it, as `Model.score` and `Model.choose` do.

    Further columns without candidates: `output`, the log-probability of the text in nats, float64, nan in a row with an
    error; OUTPUT_tokens, of how many tokens, int64. With candidates: `output`, the list of their log-probabilities;
    OUTPUT_choice, the most probable candidate; OUTPUT_index, its index, int64, -1 in a row with an error. And `error`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        text: str = "text",
        candidates: str | None = None,
        output: str = "logprob",
        error: str | None = "error",
        normalize: Normalize | None = None,
        threads: int | None = None,
    ) -> None:
        """text: the column of texts. candidates: the column of lists of texts that may follow. normalize: as for
        `Model.choose`. The others are those of `GenerateRows`.
        """
        super().__init__(model, output, error, threads=threads)
        self._text = arguments.text("text", text)
        self._candidates = None if candidates is None else arguments.text("candidates", candidates)
        if normalize is not None:
            arguments.choice("normalize", normalize, ("tokens", "bytes"))
        self._normalize = normalize

    def _find(self, batch: Batch) -> list[Score | Choice | Exception]:
        rows: list[tuple[Any, ...]] = [(text,) for text in read_column(batch, self._text)]
        if self._candidates is not None:
            given = read_column(batch, self._candidates)
            rows = [(*row, candidates) for row, candidates in zip(rows, given, strict=True)]
        return [attempt(self._score, *row) for row in rows]

    def _score(self, text: Any, candidates: Any = None) -> Score | Choice:
        model = self._settings.open_model()
        if self._candidates is None:
            return model.score(text)
        return model.choose(text, candidates, normalize=self._normalize)

    def _columns(self, found: Sequence[Score | Choice | None]) -> dict[str, Column]:
        if self._candidates is None:
            scores = [of if isinstance(of, Score) else None for of in found]
            return {
                self._output: np.array([of.total if of else np.nan for of in scores], np.float64),
                self._name("tokens"): np.array([len(of.tokens) if of else 0 for of in scores], np.int64),
            }
        choices = [of if isinstance(of, Choice) else None for of in found]
        return {
            self._output: [list(of.logprobs) if of else None for of in choices],
            self._name("choice"): [of and of.text for of in choices],
            self._name("index"): np.array([of.index if of else -1 for of in choices], np.int64),
        }


class EmbedRows(RowFunction[NDArray[np.float32]]):
    """Embeds the text of each row, as `Model.embed` does; for `map_batches` and `map_partitions`.

    Further columns: `output`, float32 [n_rows, n_embd] in a dict of arrays, lists elsewhere, nan in a row with an
    error; and `error`.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        text: str = "text",
        output: str = "embedding",
        error: str | None = "error",
        pooling: Pooling | None = None,
        normalize: bool = True,
        activations: Activations = "int8",
        threads: int | None = None,
    ) -> None:
        """text: the column of texts. pooling, normalize, activations: as for `Model.embed`. The others are those of
        `GenerateRows`.
        """
        super().__init__(model, output, error, threads=threads, activations=activations)
        self._text = arguments.text("text", text)
        if pooling is not None:
            arguments.choice("pooling", pooling, POOLINGS)
        arguments.flag("normalize", normalize)
        self._options: dict[str, Any] = {"pooling": pooling, "normalize": normalize, "activations": activations}

    def _find(self, batch: Batch) -> list[NDArray[np.float32] | Exception]:
        texts, model = read_column(batch, self._text), self._settings.open_model()
        together = attempt(model.embed, texts, **self._options)
        if not isinstance(together, Exception):
            return list(together)
        return [attempt(lambda text=text: model.embed([text], **self._options)[0]) for text in texts]

    def _columns(self, found: Sequence[NDArray[np.float32] | None]) -> dict[str, Column]:
        n_embd = self._settings.open_model().config.n_embd
        vectors = np.full((len(found), n_embd), np.nan, np.float32)
        for i, vector in enumerate(found):
            if vector is not None:
                vectors[i] = vector
        return {self._output: vectors}
