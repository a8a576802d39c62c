"""Prompts of the vendors' chat templates as Hugging Face transformers renders them.

`python tests/support/hf_templates.py`, with transformers installed, writes tests/template/templates/rendered.json anew.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any
from unittest.mock import patch

from template_conversations import CONVERSATIONS, FAMILIES, FOLDER, NOW, Family, source, variants
from vocabularies import train_bpe

STORED = FOLDER / "rendered.json"
EXAMPLE = "three turns"  # the conversation whose prompt is stored in full, to be read
trained = cache(train_bpe)  # tokens and merges of the byte-level vocabulary
Render = Callable[..., str | None]  # messages and variables to the prompt, None where the template refuses them


def prompts(name: str, render: Render) -> dict[str, list[str | None]]:
    """By conversation, the prompts of the template's variants."""
    return {
        conversation: [render(messages, **variables) for variables in variants(source(name))]
        for conversation, messages in CONVERSATIONS.items()
    }


def summary(found: Mapping[str, list[str | None]]) -> dict[str, Any]:
    """`prompts` as they are stored: a digest for each conversation, or "refused"."""
    return {"example": found[EXAMPLE], "digests": {key: _digest(texts) for key, texts in found.items()}}


def _digest(texts: list[str | None]) -> str:
    if all(text is None for text in texts):
        return "refused"
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:24]


def special_tokens(family: Family) -> list[str]:
    """What is added to a byte-level vocabulary for a family: first control tokens, then those of `family.text`."""
    bos = () if family.bos is None else (family.bos,)
    return [*dict.fromkeys([*bos, family.eos, *family.control]), *family.text]


def transformers_tokenizer(name: str) -> Any:
    """A transformers tokenizer with a small vocabulary, the template's control tokens and the template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    family = FAMILIES[name]
    tokens, merges = trained()
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    inner = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, pairs))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    for token in special_tokens(family):
        inner.add_tokens([AddedToken(token, special=token not in family.text, normalized=False)])
    named = {"eos_token": family.eos} | ({"bos_token": family.bos} if family.bos else {})
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=source(name), **named)


@contextmanager
def stopped_clock() -> Iterator[None]:
    """In it, templates that transformers renders see `NOW`."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return NOW

    with patch("transformers.utils.chat_template_utils.datetime", Clock):
        yield


def transformers_prompts(name: str) -> dict[str, list[str | None]]:
    """`prompts`, rendered by transformers."""
    tokenizer = transformers_tokenizer(name)

    def render(messages: list[dict[str, Any]], **variables: Any) -> str | None:
        try:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, **variables))
        except Exception:  # whatever the template or jinja2 raises
            return None

    with stopped_clock():
        return prompts(name, render)


def main() -> None:
    import transformers

    templates = {name: summary(transformers_prompts(name)) for name in FAMILIES}
    data = {"transformers": transformers.__version__, "templates": templates}
    STORED.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
