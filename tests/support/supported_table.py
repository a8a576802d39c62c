"""README's table of what runs, from the code; `.venv/bin/python tests/support/supported_table.py` writes it there.

An architecture's models and manner are the first line of its file's docstring, `models: manner.`
"""

from __future__ import annotations

import re
from importlib import import_module

from paths import ROOT

from subbyte.kernels import FORMATS
from subbyte.models import ARCHITECTURES
from subbyte.runtime.tokenizer.pretokenizer import RULES
from subbyte.runtime.tokenizer.tokenizer import MODELS

README = ROOT / "README.md"
BEGIN = "<!-- from the code, by .venv/bin/python tests/support/supported_table.py -->\n"
END = "<!-- end -->\n"
FAMILIES = {"x86_64": "x86-64", "aarch64": "64-bit ARM"}


def architectures() -> list[tuple[str, str, str]]:
    """(name, its models, how it differs) of each model file."""
    rows = []
    for name in ARCHITECTURES:
        first = (import_module(f"subbyte.models.{name}").__doc__ or "").split("\n")[0]
        models, _, manner = first.partition(": ")
        assert manner.endswith("."), f"models/{name}.py should begin with 'models: manner.', not {first!r}"
        rows.append((f"`{name}`", models, manner[0].upper() + manner[1:-1]))
    return rows


def block_types() -> str:
    return ", ".join(f"{format.name} {format.bits_per_weight:.3g}" for format in FORMATS.values())


def tokenizers() -> str:
    kinds = {
        "gpt2": f"byte-level BPE (`gpt2`) with the rules {', '.join(sorted(RULES))}",
        "llama": "SentencePiece-style (`llama`)",
    }
    return "; ".join(kinds[name] for name in MODELS)


def processors() -> str:
    """The instruction sets that kernels/cpu/meson.build lists, by family of processor."""
    rows = re.findall(r"^  \['(\w+)', '(\w+)',", (ROOT / "kernels/cpu/meson.build").read_text(), re.MULTILINE)
    lists = {family: " ".join(f"`{name}`" for name, of in rows if of == family) for family in FAMILIES}
    return "; ".join([*(f"{FAMILIES[family]}: {names}" for family, names in lists.items()), "others: `scalar`"])


def table() -> str:
    """Markdown between BEGIN and END, both included."""
    lines = ["| architecture | models | manner |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in architectures()]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| block types, bits a weight | {block_types()} |"]
    lines += [f"| tokenizers | {tokenizers()} |"]
    lines += [f"| processors | {processors()} |"]
    return BEGIN + "\n".join(lines) + "\n" + END


def written(readme: str) -> str:
    """The table that a README has."""
    return readme[readme.index(BEGIN) : readme.index(END) + len(END)]


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(text.replace(written(text), table()))
