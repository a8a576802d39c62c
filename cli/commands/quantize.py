"""`subbyte quantize`: a model's file in other block types, by a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import human_count, human_size, print_json
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.quantize.quantize import Quantized

UNITS = {"": 1, "B": 1, **{f"{letter}B": 1000**i for i, letter in enumerate("KMGT", 1)},
         **{f"{letter}IB": 1024**i for i, letter in enumerate("KMGT", 1)}}  # fmt: skip


def size(text: str) -> int:
    """Bytes, as `2.5GB`, `700M` or `2GiB`."""
    number = text.rstrip("BKMGTIbkmgti ")
    unit = text[len(number) :].strip().upper()
    try:
        value = float(number) * UNITS[unit if not unit or unit.endswith("B") else f"{unit}B"]
        if 0 < value < 1e18:
            return int(value)
    except (KeyError, ValueError):
        pass
    raise click.BadParameter(f"{text!r} is no size; write bytes, or such as 700MB, 2.5GB or 2GiB")


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.argument("recipe", required=False, metavar="[RECIPE]")
@click.option("--imatrix", metavar="FILE", help="Importances, as `subbyte imatrix` and llama-imatrix write them.")
@click.option(
    "--tensor-type", "tensor_types", multiple=True, metavar="PATTERN=TYPE",
    help="A type for tensors, before the recipe: ffn_down=Q6_K, attn_*=Q8_0, blk.0.*=F16; may be repeated.",
)  # fmt: skip
@click.option(
    "--target-size", type=size, metavar="SIZE", help="In place of RECIPE: the finest of llama.cpp's mixtures that fits."
)
@click.option("--dry-run", is_flag=True, help="Show what would be written; needs no encoders.")
@options.threads_option
@options.json_option
@options.verbose_option
@options.debug_option
def quantize(
    source: str, out: Path, recipe: str | None, imatrix: str | None, tensor_types: tuple[str, ...],
    target_size: int | None, dry_run: bool, threads: int | None, as_json: bool, verbose: bool,
) -> None:  # fmt: skip
    """Write a model in other block types.

    SRC is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT. RECIPE is the name of a mixture, such as
    Q4_K_M or DynamicGate-IQ2_XS, or a .toml file; `subbyte recipe show` lists and explains them. OUT appears when it is
    whole; a run that was interrupted is taken up by the same command.
    """
    from subbyte.runtime.quantize.quantize import quantize as write

    path = find_model(source, verbose=verbose)
    with options.usage_errors(), one_interrupt(), ProgressBar() as bar:
        result = write(
            path, out, recipe, imatrix=imatrix, tensor_types=tensor_types, target_size=target_size, threads=threads,
            dry_run=dry_run, on_progress=bar.update,
        )  # fmt: skip
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)


def _print(result: "Quantized") -> None:
    plan = result.plan
    rows: list[tuple[str, ...]] = [
        (
            share.type,
            str(share.n_tensors),
            human_count(share.n_weights),
            human_size(share.n_bytes),
            f"{share.share:.1%}",
        )
        for share in plan.shares()
    ]
    print_table(f"{result.out}: {plan.recipe.name}", ("type", "tensors>", "weights>", "size>", "share>"), rows)
    facts: list[Any] = [f"{human_size(result.n_bytes)}, {plan.bits_per_weight:.2f} bits per weight"]
    if result.dry_run:
        facts.append("nothing was written")
    else:
        facts.append(f"{result.seconds:.1f} s")
    if result.resumed:
        facts.append(f"{result.resumed} of {len(plan.changes)} tensors were there from an earlier run")
    print(f"\n{', '.join(facts)}")
