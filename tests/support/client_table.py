"""Which features of which clients work, by the tests of tests/clients that pass: the table in docs/serving.md.

`make test-clients` compares it; `make test-clients CLIENT_TABLE=write` writes it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from paths import ROOT
from supported_table import table

PAGE = ROOT / "docs/serving.md"
BEGIN = "<!-- by the tests that pass: make test-clients CLIENT_TABLE=write -->\n"
END = "<!-- end -->\n"

OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC = "openai: chat", "openai: responses", "anthropic"
LANGCHAIN, LITELLM_OPENAI, LITELLM_ANTHROPIC = "LangChain", "LiteLLM `openai/`", "LiteLLM `anthropic/`"
LM_EVAL = "lm-eval `local-completions`"
CLIENTS = (OPENAI_CHAT, OPENAI_RESPONSES, ANTHROPIC, LANGCHAIN, LITELLM_OPENAI, LITELLM_ANTHROPIC, LM_EVAL)
FEATURES = (
    "answers", "streams", "async", "several at once", "tool calls", "tool calls, streamed", "tool loop",
    "JSON by a schema", "reasoning", "log-probabilities", "completions with echo", "embeddings", "models",
    "token counts", "errors",
)  # fmt: skip


def shows(client: str, *features: str) -> pytest.MarkDecorator:
    """Marks a test that shows features of a client."""
    assert client in CLIENTS and set(features) <= set(FEATURES), (client, features)
    return pytest.mark.shows(client, *features)


def rendered(shown: Iterable[tuple[str, str]]) -> str:
    """The table of (client, feature) that tests have shown."""
    found = set(shown)
    rows = [(feature, *("yes" if (client, feature) in found else "" for client in CLIENTS)) for feature in FEATURES]
    return table(("", *CLIENTS), rows)


def written() -> str:
    """The table that the page has."""
    text = PAGE.read_text()
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


def write(table: str) -> None:
    """Puts a table into the page."""
    PAGE.write_text(PAGE.read_text().replace(BEGIN + written(), BEGIN + table))
