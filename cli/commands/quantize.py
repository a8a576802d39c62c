"""`subbyte quantize`: a model's file in other block types, by a recipe."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_count, human_size, write_line
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from subbyte.runtime.quantize.result import Quantized

UNITS = {"": 1, "B": 1, **{f"{letter}B": 1000**i for i, letter in enumerate("KMGT", 1)},
         **{f"{letter}IB": 1024**i for i, letter in enumerate("KMGT", 1)}}  # fmt: skip


LEAST_BYTES = 100_000  # a smaller number is one whose unit was forgotten


def size(text: str) -> int:
    """Bytes, as `2.5GB`, `700M` or `2GiB`."""
    number = text.rstrip("BKMGTIbkmgti ")
    unit = text[len(number) :].strip().upper()
    try:
        value = float(number) * UNITS[unit if not unit or unit.endswith("B") else f"{unit}B"]
        if 0 < value < LEAST_BYTES and not unit:
            raise click.BadParameter(f"{text} would be bytes, and no model is so small; write {text}MB or {text}GB")
        if 0 < value < 1e18:
            return int(value)
    except (KeyError, ValueError):
        pass
    raise click.BadParameter(f"{text!r} is no size; write bytes, or such as 700MB, 2.5GB or 2GiB")


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.argument("recipes", nargs=-1, metavar="[RECIPE]...")
@click.option("--imatrix", metavar="FILE", help="Importance matrix, as `subbyte imatrix` and llama-imatrix write it.")
@click.option(
    "--tensor-type", "tensor_types", multiple=True, metavar="PATTERN=TYPE",
    help="Override the recipe for matching tensors: ffn_down=Q6_K, attn_*=Q8_0, blk.0.*=F16, or a regular "
    "expression, /blk\\.[02]\\./=Q8_0; may be repeated.",
)  # fmt: skip
@click.option(
    "--target-size", type=size, metavar="SIZE", help="Instead of RECIPE: the largest of llama.cpp's mixtures that fits."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be written; needs no encoders.")
@options.overwrite_option
@options.threads_option()
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
@click.pass_context
def quantize(
    ctx: click.Context, source: str, out: Path, recipes: tuple[str, ...], imatrix: str | None,
    tensor_types: tuple[str, ...], target_size: int | None, dry_run: bool, overwrite: bool, threads: int | None,
    output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Quantize a model: write it in other block types, by a recipe.

    SRC is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT. RECIPE is the name of a mixture, such as
    Q4_K_M or DynamicGate-IQ2_XS, or a .toml file; `subbyte recipe show` lists and explains them. OUT appears when it is
    complete; the same command resumes a run that was interrupted.

    With several RECIPEs, or where OUT is a folder, each makes a file in it: SRC is read once for all of them.
    """
    from subbyte.runtime.quantize.quantize import quantize as write
    from subbyte.runtime.quantize.quantize import quantize_all

    path = find_model(source, verbose=verbose)
    several = len(recipes) > 1 or (recipes and os.path.isdir(out))
    if several and target_size is not None:
        raise click.UsageError("--target-size chooses one recipe, for an OUT that is no folder")
    with options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        how: dict[str, Any] = {
            "imatrix": imatrix, "tensor_types": tensor_types, "threads": threads, "dry_run": dry_run,
            "overwrite": overwrite, "on_progress": bar.update,
        }  # fmt: skip
        if several:
            results = quantize_all(path, out, recipes, **how)
        else:
            results = [write(path, out, *recipes, target_size=target_size, **how)]
    _print(output, options.command_line(ctx), results)


def _print(output: options.Output, command: str, results: "Sequence[Quantized]") -> None:
    if output == "json":
        facts = [result.to_dict() for result in results]
        print_json({"command": command, **(facts[0] if len(facts) == 1 else {"files": facts})})
    elif output == "csv":
        own = ({"out": str(result.out)} if len(results) > 1 else {} for result in results)
        print_csv(facts | row for facts, result in zip(own, results, strict=True) for row in result.records())
    elif output == "md":
        parts = [part for result in results for part in (_table(result), _facts(result))]
        print_markdown(*parts, f"    {one_line(command)}")
    else:
        for result in results:
            print_table(_table(result))
            write_line(f"\n{_facts(result)}")


def _table(result: "Quantized") -> Table:
    rows = [
        (of.type, str(of.n_tensors), human_count(of.n_weights), human_size(of.n_bytes), f"{of.share:.1%}")
        for of in result.plan.shares()
    ]
    columns = ("type", "tensors>", "weights>", "size>", "share>")
    return Table.of(f"{result.out}: {result.plan.recipe.name}", columns, rows)


def _facts(result: "Quantized") -> str:
    facts = [f"{human_size(result.n_bytes)}, {result.plan.bits_per_weight:.2f} bits per weight"]
    facts.append("nothing was written" if result.dry_run else f"{result.seconds:.1f} s")
    if result.resumed:
        facts.append(f"{result.resumed} of {len(result.plan.changes)} tensors resumed from an earlier run")
    return ", ".join(facts)
