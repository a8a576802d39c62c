"""What runs, from the code: docs/supported.md and README's summary of it.

`.venv/bin/python tests/support/supported_table.py` writes both. An architecture's models and description are the first
line of its file's docstring, `models: description.`
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path

from paths import ROOT
from tool_formats import ANSWERS
from tool_formats import FORMATS as TOOL_FORMATS

from subbyte.kernels import FORMATS
from subbyte.models import ARCHITECTURES
from subbyte.runtime.tokenizer.pretokenizer import RULES
from subbyte.runtime.tokenizer.tokenizer import MODELS
from subbyte.runtime.tools.json_calls import NamedCalls, ObjectCalls
from subbyte.runtime.tools.literal_calls import BareKeyCalls, PythonCalls
from subbyte.runtime.tools.tagged_calls import TaggedCalls

BEGIN = "<!-- from the code, by .venv/bin/python tests/support/supported_table.py -->\n"
END = "<!-- end -->\n"
SYNTAXES: dict[type, str] = {
    ObjectCalls: "a JSON object of name and arguments, or a list of such",
    NamedCalls: "the name, and JSON behind it",
    TaggedCalls: "the name, and each argument between tags, as text",
    PythonCalls: "a list of Python calls",
    BareKeyCalls: "the name, and an object whose keys have no quotes",
}
FAMILIES = {"x86_64": "x86-64", "aarch64": "64-bit ARM"}


def architectures() -> list[tuple[str, str, str]]:
    """(name, its models, description) of each model file."""
    rows = []
    for name in ARCHITECTURES:
        first = (import_module(f"subbyte.models.{name}").__doc__ or "").split("\n")[0]
        models, _, description = first.partition(": ")
        assert description.endswith("."), f"models/{name}.py should begin with 'models: description.', not {first!r}"
        rows.append((f"`{name}`", models, description[0].upper() + description[1:-1]))
    return rows


def processors() -> dict[str, list[str]]:
    """The instruction sets that kernels/cpu/meson.build lists, by CPU family, weakest first."""
    rows = re.findall(r"^  \['(\w+)', '(\w+)',", (ROOT / "kernels/cpu/meson.build").read_text(), re.MULTILINE)
    lists = {FAMILIES[family]: [name for name, of in rows if of == family] for family in FAMILIES}
    return {**lists, "others": ["scalar"]}


def tool_formats() -> Iterator[tuple[str, str, str]]:
    """(models, mark, syntax) of each format of calls that a vendor's template has."""
    had = [format.syntaxes for format in TOOL_FORMATS.values() if format is not None]
    for models, (format, answer) in ANSWERS.items():
        if format.syntaxes not in had:
            continue
        place = format.find(answer, 0, at_start=True)
        assert place is not None
        mark = "".join(getattr(place.syntax, "section", ("",))[0] or place.syntax.open)
        shown = f"`{' '.join(mark.split())}`".replace("|", "\\|") if mark else "nothing: it is the answer's first text"
        yield models, shown, SYNTAXES[type(place.syntax)]


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")


def page() -> str:
    """The tables of docs/supported.md."""
    formats = [(f.name, f"{f.bits_per_weight:.4g}", str(f.block_size), str(f.block_bytes)) for f in FORMATS.values()]
    kinds = {
        "gpt2": ("`gpt2`", "byte-level BPE"),
        "llama": ("`llama`", "SentencePiece-style BPE with scores"),
        "gemma4": ("`gemma4`", "BPE over characters"),
    }
    sets = [(family, " ".join(f"`{name}`" for name in names)) for family, names in processors().items()]
    return "\n".join([
        "## Architectures\n",
        table(("`general.architecture`", "models", "description"), list(architectures())),
        "## Block types\n",
        table(("type", "bits per weight", "weights per block", "bytes per block"), formats),
        "## Tokenizers\n",
        table(("`tokenizer.ggml.model`", "kind"), [kinds[name] for name in MODELS]),
        f"Pre-tokenizers of byte-level vocabularies (`tokenizer.ggml.pre`): {', '.join(sorted(RULES))}.\n",
        "## Tools\n",
        table(("models", "a call begins with", "and goes on as"), [*tool_formats()]),
        "## Instruction sets\n",
        table(("processor", "instruction sets, weakest first"), sets),
    ])  # fmt: skip


def summary() -> str:
    """README's list."""
    names = ", ".join(name for name, _, _ in architectures())
    sets = "; ".join(f"{family} {' '.join(names)}" for family, names in processors().items())
    items = {
        f"{len(ARCHITECTURES)} architectures": names,
        "Block types": " ".join(FORMATS),
        "Instruction sets": sets,
    }
    lines = [
        *(f"- **{name}**: {text}." for name, text in items.items()),
        "- **Which models these are, and more**: [docs/supported.md](docs/supported.md).",
    ]
    return "".join(textwrap.fill(line, 140, subsequent_indent="  ", break_on_hyphens=False) + "\n" for line in lines)


PAGES: dict[Path, Callable[[], str]] = {ROOT / "docs/supported.md": page, ROOT / "README.md": summary}


def written(text: str) -> str:
    """What a page has between BEGIN and END."""
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)]


if __name__ == "__main__":
    for path, render in PAGES.items():
        text = path.read_text()
        begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
        path.write_text(text[:begin] + render() + text[end:])
