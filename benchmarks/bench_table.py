"""What `subbyte bench -o json` wrote, as a table of a document:

    subbyte bench MODEL -o json | python benchmarks/bench_table.py threads --write docs/performance.md

TABLE is the name in the document's markers, <!-- TABLE --> and <!-- end of TABLE -->.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, TextIO

import click
from tables.document import put_table


def render(result: Mapping[str, Any], day: str) -> str:
    """Markdown: the command, then a line for every test."""
    lines = [
        f"`{result['command']}`: {result['model']['name']}, {result['model']['size'] / 2**20:.0f} MiB, "
        f"on {result['cpu']}, instruction set {result['isa']}, {day}:",
        "",
        "| test | threads | tokens/s | ± | % of roofline | bound by |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {test['name']} | {test['threads']} | {test['tokens_per_second']:.1f} | {test['spread']:.1f} "
        f"| {test['share_of_roofline']:.0%} | {test['bound_by']} |"
        for test in result["tests"]
    ]
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("table")
@click.option("--input", "file", type=click.File(), default="-", help="The JSON; default: standard input.")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The document.")
def main(table: str, file: TextIO, write: Path) -> None:
    try:
        put_table(write, table, render(json.load(file), date.today().isoformat()))
    except ValueError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
