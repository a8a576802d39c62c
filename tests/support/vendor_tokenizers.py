"""A small vocabulary for each vendor's template, with the control tokens that it knows of."""

from pathlib import Path

import hf_templates
from template_conversations import FAMILIES
from vocabularies import CONTROL, NORMAL, USER_DEFINED, load

from subbyte.runtime.tokenizer.tokenizer import Tokenizer


def tokenizer(name: str, path: Path) -> Tokenizer:
    """A byte-level vocabulary, and the control tokens that the template knows of."""
    family = FAMILIES[name]
    tokens, merges = hf_templates.trained()
    special = hf_templates.special_tokens(family)
    types = [NORMAL] * len(tokens) + [USER_DEFINED if token in family.text else CONTROL for token in special]
    ids = {token: len(tokens) + i for i, token in enumerate(special)}
    bos = None if family.bos is None else ids[family.bos]
    return load(
        path, model="gpt2", pre="gpt-2", tokens=[*tokens, *special], merges=merges, token_type=types,
        bos_token_id=bos, eos_token_id=ids[family.eos],
    )  # fmt: skip
