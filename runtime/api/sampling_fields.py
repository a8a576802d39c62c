"""What all requests share: sampling parameters, limits, stop strings, and what the text must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from subbyte.runtime.api.errors import ApiError
from subbyte.runtime.api.fields import Fields
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.grammar.constraint import Constraint

MAX_TOKENS = 1 << 30
MAX_LOGPROBS = 20
MAX_BIASES = 1024
_NUMBERS = {  # of a request: of `Sampling`, lowest, highest
    "temperature": ("temperature", 0.0, 100.0),
    "top_p": ("top_p", 0.0, 1.0),
    "min_p": ("min_p", 0.0, 1.0),
    "presence_penalty": ("presence_penalty", -100.0, 100.0),
    "frequency_penalty": ("frequency_penalty", -100.0, 100.0),
    "repeat_penalty": ("repeat_penalty", 0.01, 100.0),
    "repetition_penalty": ("repeat_penalty", 0.01, 100.0),  # as vLLM calls it
    "dry_multiplier": ("dry_multiplier", 0.0, 100.0),
    "dry_base": ("dry_base", 1.0, 100.0),
    "xtc_probability": ("xtc_probability", 0.0, 1.0),
    "xtc_threshold": ("xtc_threshold", 0.0, 1.0),
}
_WHOLE = {"top_k": -1, "repeat_last_n": -1, "dry_allowed_length": 1, "dry_penalty_last_n": -1, "seed": -1}


def sampling_fields(fields: Fields) -> dict[str, Any]:
    """The parameters of `Sampling` that a request gives, by their names there."""
    given: dict[str, Any] = {}
    for name, (parameter, low, high) in _NUMBERS.items():
        if (value := fields.number(name, low, high)) is not None:
            given[parameter] = value
    for name, least in _WHOLE.items():
        if (whole := fields.whole(name, least, (1 << 63) - 1)) is not None:
            given[name] = whole
    if given.get("seed") == -1:  # llama.cpp's word for one that differs each time
        del given["seed"]
    if given.get("top_k") == -1:  # vLLM's word for all
        given["top_k"] = 0
    if fields.flag("ignore_eos"):
        given["ignore_eos"] = True
    if biases := _biases(fields):
        given["logit_bias"] = biases
    return given


def sampling_of(given: Mapping[str, Any], default: Sampling, choice: int) -> Sampling:
    """The sampling of an answer: the default's where nothing is given. choice: of several answers, which differ."""
    sampling = replace(default, **given)
    return sampling if sampling.seed is None else replace(sampling, seed=sampling.seed + choice)


def _biases(fields: Fields) -> dict[int, float]:
    found = fields.object("logit_bias")
    if found is None:
        return {}
    if len(found.values) > MAX_BIASES:
        raise fields.wrong("logit_bias", f"an object of at most {MAX_BIASES} tokens")
    biases: dict[int, float] = {}
    for token in found.values:
        if not isinstance(token, str) or not token.isascii() or not token.isdigit() or len(token) > 9:
            raise ApiError(400, f"logit_bias has a key {token!r:.40}, but must have token ids", param="logit_bias")
        biases[int(token)] = found.number(token, -100.0, 100.0) or 0.0
    return biases


def limit_of(fields: Fields, *names: str) -> int | None:
    """The limit of tokens under the first of these names that is given; -1 is no limit."""
    for name in names:
        if (limit := fields.whole(name, -1, MAX_TOKENS)) is not None:
            return None if limit < 0 else limit
    return None


def text_constraint(fields: Fields) -> Constraint | None:
    """What the answer's text must be: `response_format` as OpenAI has it, or `grammar` (GBNF) as llama.cpp has it."""
    format = fields.object("response_format")
    if format is None:
        grammar = fields.text("grammar")
        return None if not grammar else Constraint.gbnf(grammar)
    return format_constraint(format)


def format_constraint(format: Fields) -> Constraint | None:
    """What a format asks for, whose schema is in it or in its `json_schema`."""
    kind = format.choice("type", ("text", "json_object", "json_schema"))
    if kind == "json_object":
        return Constraint.json_schema({"type": "object"} if format.get("schema") is None else format.get("schema"))
    if kind != "json_schema":
        return None
    described = format.object("json_schema") or format
    schema = described.object("schema")
    if schema is None:
        raise described.wrong("schema", "a JSON schema")
    return Constraint.json_schema(schema.values)
