"""OpenAI's embeddings: requests and their answers (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields, are_token_ids

MAX_INPUTS = 2048  # OpenAI's


@dataclass(frozen=True)
class EmbeddingRequest:
    """Texts, or token ids of this model, to embed. as_base64: vectors as bytes, which is what OpenAI's SDK asks for."""

    model: str
    inputs: Sequence[str | list[int]]
    as_base64: bool = False
    dimensions: int | None = None

    def check(self, n_embd: int) -> None:
        """Raises ApiError for vectors of another length than the model's: a cut vector means nothing in most models."""
        if self.dimensions not in (None, n_embd):
            found = f"dimensions is {self.dimensions}, but this model's vectors have {n_embd}; leave it out"
            raise ApiError(400, found, param="dimensions")

    def answer(self, model: str, vectors: NDArray[np.float32], n_tokens: int) -> dict[str, Any]:
        """The body of the answer; vectors: float32 [n_inputs, n_embd]."""
        data = [
            {"object": "embedding", "index": i, "embedding": self._written(vector)} for i, vector in enumerate(vectors)
        ]
        used = {"prompt_tokens": n_tokens, "total_tokens": n_tokens}
        return {"object": "list", "data": data, "model": model, "usage": used}

    def _written(self, vector: NDArray[np.float32]) -> str | list[float]:
        if self.as_base64:
            return base64.b64encode(vector.astype("<f4").tobytes()).decode()
        return list(vector.tolist())


def read_embedding_request(fields: Fields) -> EmbeddingRequest:
    """An embedding's request."""
    given = fields.get("input")
    inputs = [given] if isinstance(given, str) or are_token_ids(given) else given
    taken = f"a text, token ids, or a list of up to {MAX_INPUTS} of these, none of them empty"
    if not isinstance(inputs, list) or not 0 < len(inputs) <= MAX_INPUTS:
        raise fields.wrong("input", taken)
    if not all((isinstance(each, str) and each) or are_token_ids(each) for each in inputs):
        raise fields.wrong("input", taken)
    return EmbeddingRequest(
        fields.text("model") or "",
        inputs,
        as_base64=fields.choice("encoding_format", ("float", "base64")) == "base64",
        dimensions=fields.whole("dimensions", 1, 1 << 20),
    )
