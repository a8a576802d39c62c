"""`subbyte recipe`: recipes of quantized files shown, taken from files, compared with files, and for llama-quantize."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal.console import print_json, printable
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.tables import print_table

if TYPE_CHECKING:
    from subbyte.runtime.gguf.model_file import GGUF

DIFFERENT = 1  # the exit code of a check that found something, as diff's


@click.group()
def recipe() -> None:
    """Show, extract, check or export recipes.

    A recipe says which block type each tensor of a quantized file takes.
    """


@recipe.command()
@click.argument("name", required=False, metavar="[RECIPE]")
@click.argument("model", required=False, metavar="[MODEL]")
@options.json_option
@options.verbose_option
@options.debug_option
def show(name: str | None, model: str | None, as_json: bool, verbose: bool) -> None:
    """List the recipes that are built in, or show one.

    RECIPE is a name or a .toml file. Its types are those for MODEL, with an importance matrix; without MODEL those for
    32 layers with 4 query heads to a KV head, and an output matrix of its own.
    """
    from subbyte.runtime.quantize.extract import resolve, typical
    from subbyte.runtime.quantize.recipe import NAMED
    from subbyte.runtime.quantize.recipe_file import find_recipe

    if name is None:
        print_json({"recipes": list(NAMED)}) if as_json else print("\n".join(NAMED))
        return
    with options.usage_errors():
        found = find_recipe(name)
    if model is None:
        found = typical(found)
    else:
        with _opened(model, verbose) as gguf:
            found = resolve(gguf, found, imatrix=True)
    print_json(found.to_dict()) if as_json else print(found.to_toml(), end="")


@recipe.command()
@options.model_argument()
@options.json_option
@options.verbose_option
@options.debug_option
def extract(model: str, as_json: bool, verbose: bool) -> None:
    """Write the recipe that a file follows to stdout."""
    from subbyte.runtime.quantize.extract import extract as of

    with _opened(model, verbose) as gguf:
        found = of(gguf)
    print_json(found.to_dict()) if as_json else print(found.to_toml(), end="")


@recipe.command()
@options.model_argument()
@click.argument("name", metavar="RECIPE")
@options.json_option
@options.verbose_option
@options.debug_option
@click.pass_context
def check(ctx: click.Context, model: str, name: str, as_json: bool, verbose: bool) -> None:
    """List the tensors of a file that are not what a recipe makes of them; exit code 1 if there are any.

    RECIPE is a name or a .toml file.
    """
    from subbyte.runtime.quantize.extract import check as differences
    from subbyte.runtime.quantize.recipe_file import find_recipe

    with options.usage_errors(), _opened(model, verbose) as gguf:
        wanted = find_recipe(name)
        found = differences(gguf, wanted)
    if as_json:
        print_json({"recipe": wanted.name, "differences": [each.to_dict() for each in found]})
    elif found:
        rows = ((each.name, each.found, each.wanted) for each in found)
        print_table(f"not as {wanted.name} has it", ("tensor", "found", "recipe"), rows)
    else:
        print(f"all tensors are as {printable(wanted.name)} has them")
    ctx.exit(DIFFERENT if found else 0)


@recipe.command()
@click.argument("name", metavar="RECIPE")
@options.model_argument()
@click.option("--without-imatrix", is_flag=True, help="For a run without an importance matrix; some mixtures differ.")
@options.verbose_option
@options.debug_option
def export(name: str, model: str, without_imatrix: bool, verbose: bool) -> None:
    """Write a recipe as llama-quantize takes it, for one MODEL.

    stdout gets the lines of a --tensor-type-file, stderr the command that uses it.
    """
    from subbyte.runtime.quantize.extract import export as lines_of
    from subbyte.runtime.quantize.recipe_file import find_recipe

    with options.usage_errors(), _opened(model, verbose) as gguf:
        file_type, lines = lines_of(gguf, find_recipe(name), imatrix=not without_imatrix)
        source = shlex.quote(str(gguf.path))
    given = " --tensor-type-file FILE" if lines else ""
    importances = "" if without_imatrix else " --imatrix FILE.imatrix"
    click.echo(f"llama-quantize{importances}{given} {source} OUT.gguf {file_type}", err=True)
    for line in lines:
        print(line)


@contextmanager
def _opened(model: str, verbose: bool) -> "Iterator[GGUF]":
    from subbyte.runtime.gguf.model_file import GGUF

    with GGUF.open(find_model(model, verbose=verbose)) as gguf:
        yield gguf
