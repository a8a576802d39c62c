"""`subbyte recipe`: recipes of quantized files searched, shown, taken from files, compared with them, and exported."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.commands import recipe_search
from subbyte.cli.terminal.console import say, write_line
from subbyte.cli.terminal.loading import find_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import one_line

if TYPE_CHECKING:
    from subbyte.runtime.gguf.model_file import GGUF
    from subbyte.runtime.recipes.recipe import Recipe

DIFFERENT = 1  # the exit code of a check that found something, as diff's


@click.group()
def recipe() -> None:
    """Search, show, extract, check, export or import quantization recipes.

    A recipe says which block type each tensor of a quantized file gets.
    """


recipe.add_command(recipe_search.search)


@recipe.command()
@click.argument("name", required=False, metavar="[RECIPE]")
@click.argument("model", required=False, metavar="[MODEL]")
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
def show(name: str | None, model: str | None, output: options.Output, verbose: bool) -> None:
    """List the built-in recipes, or show one as TOML.

    RECIPE is a name or a .toml file. Its types are those for MODEL, with an importance matrix; without MODEL those for
    32 layers with 4 query heads to a KV head, and an output matrix of its own.
    """
    from subbyte.runtime.recipes.extract import resolve, typical
    from subbyte.runtime.recipes.recipe import NAMED, find_recipe

    if name is None:
        print_json({"recipes": list(NAMED)}) if output == "json" else write_line("\n".join(NAMED))
        return
    with options.usage_errors():
        named = find_recipe(name)
    if model is None:
        resolved = typical(named)
    else:
        with _opened(model, verbose) as gguf:
            resolved = resolve(gguf, named, imatrix=True)
            _say_notes(gguf, named, imatrix=True)
    _print(output, resolved)


@recipe.command()
@options.model_argument()
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
def extract(model: str, output: options.Output, verbose: bool) -> None:
    """Write the recipe that a file follows, as TOML."""
    from subbyte.runtime.recipes.extract import extract as of

    with _opened(model, verbose) as gguf:
        extracted = of(gguf)
    _print(output, extracted)


@recipe.command()
@options.model_argument()
@click.argument("name", metavar="RECIPE")
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
@click.pass_context
def check(ctx: click.Context, model: str, name: str, output: options.Output, verbose: bool) -> None:
    """List the tensors whose type differs from a recipe's.

    RECIPE is a name or a .toml file. The exit code is 0 if no type differs, 1 if one does.
    """
    from subbyte.runtime.recipes.extract import check as differences_of
    from subbyte.runtime.recipes.recipe import find_recipe

    with options.usage_errors(), _opened(model, verbose) as gguf:
        expected = find_recipe(name)
        differences = differences_of(gguf, expected)
        _say_notes(gguf, expected, imatrix=True)
    rows = [(each.name, each.found, each.wanted) for each in differences]
    table = Table.of(f"differs from {expected.name}", ("tensor", "found", "recipe"), rows)
    if output == "json":
        print_json({"recipe": expected.name, "differences": [each.to_dict() for each in differences]})
    elif output == "csv":
        print_csv((dict(zip(table.columns, row, strict=True)) for row in rows), table.columns)
    elif not differences:
        write_line(f"all tensors match {one_line(expected.name)}")
    else:
        print_markdown(table) if output == "md" else print_table(table)
    ctx.exit(DIFFERENT if differences else 0)


@recipe.command()
@click.argument("name", metavar="RECIPE")
@options.model_argument()
@click.option("--without-imatrix", is_flag=True, help="For a run without an importance matrix; some mixtures differ.")
@options.output_option("text", "json")
@options.verbose_option
@options.debug_option
def export(name: str, model: str, without_imatrix: bool, output: options.Output, verbose: bool) -> None:
    """Write a recipe for llama-quantize, for one MODEL.

    stdout gets the lines of a --tensor-type-file, stderr the command that uses it.
    """
    from subbyte.runtime.recipes.extract import export as lines_of
    from subbyte.runtime.recipes.recipe import find_recipe

    with options.usage_errors(), _opened(model, verbose) as gguf:
        wanted = find_recipe(name)
        file_type, lines = lines_of(gguf, wanted, imatrix=not without_imatrix)
        _say_notes(gguf, wanted, imatrix=not without_imatrix)
        source = shlex.quote(str(gguf.path))
    given = " --tensor-type-file FILE" if lines else ""
    importances = "" if without_imatrix else " --imatrix FILE.imatrix"
    command = f"llama-quantize{importances}{given} {source} OUT.gguf {file_type}"
    if output == "json":
        print_json({"command": command, "file_type": file_type, "tensor_types": lines})
        return
    write_line(one_line(command), stream=sys.stderr)
    for line in lines:
        write_line(line)


@recipe.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.argument("mix", metavar="MIXTURE")
@options.output_option("text", "json")
@options.debug_option
def import_(file: Path, mix: str, output: options.Output) -> None:
    """Write the recipe that llama-quantize follows, as TOML.

    FILE is its --tensor-type-file; MIXTURE the file type beside it, such as Q4_K_M, which decides about all else.
    """
    from subbyte.runtime.recipes.extract import from_tensor_types

    with options.usage_errors():
        imported = from_tensor_types(file, mix)
    _print(output, imported)


def _say_notes(gguf: "GGUF", recipe: "Recipe", *, imatrix: bool) -> None:
    from subbyte.runtime.recipes.extract import notes_of

    for line in notes_of(gguf, recipe, imatrix=imatrix):
        say(f"warning: {line}")


def _print(output: options.Output, recipe: "Recipe") -> None:
    print_json(recipe.to_dict()) if output == "json" else write_line(recipe.to_toml().rstrip("\n"))


@contextmanager
def _opened(model: str, verbose: bool) -> "Iterator[GGUF]":
    from subbyte.runtime.gguf.model_file import GGUF

    with GGUF.open(find_model(model, verbose=verbose)) as gguf:
        yield gguf
