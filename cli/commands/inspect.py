"""`subbyte inspect`: what is in a GGUF file; also one that holds no model that subbyte could run."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from subbyte.cli import options
from subbyte.cli.terminal import heatmap as grid
from subbyte.cli.terminal.console import human_count, human_size, write_line
from subbyte.cli.terminal.loading import find_model, open_model
from subbyte.cli.terminal.output import print_csv, print_json, print_markdown
from subbyte.cli.terminal.progress_bar import ProgressBar
from subbyte.cli.terminal.tables import print_table
from subbyte.runtime.tables import Table
from subbyte.runtime.text import printable, visible

if TYPE_CHECKING:
    from subbyte.runtime.bench.fit import ContextFit, Fit
    from subbyte.runtime.imatrix.expert_use import ExpertUse
    from subbyte.runtime.inspect.heatmap import By, Heatmap
    from subbyte.runtime.inspect.summary import Summary


@click.command()
@options.model_argument()
@click.option("--tensors", is_flag=True, help="Also list the tensors.")
@click.option("--heatmap", is_flag=True, help="Instead, a coloured grid of layers by kinds of tensor, and their sizes.")
@click.option(
    "--by", type=click.Choice(["bits", "type"]), default="bits", show_default=True,
    help="Colour the heatmap by bits per weight or by block type.",
)  # fmt: skip
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write the heatmap as an SVG image."
)
@click.option(
    "--experts", type=click.Path(path_type=Path), metavar="IMATRIX",
    help="Instead, how often each expert was chosen, as an importance matrix of the model has it.",
)  # fmt: skip
@click.option(
    "--fit",
    is_flag=True,
    help="Instead, what of it fits this machine's memory, at several contexts, and how fast that lets it generate.",
)
@options.overwrite_option
@options.output_option("text", "json", "csv", "md")
@options.verbose_option
@options.debug_option
def inspect(
    model: str, tensors: bool, heatmap: bool, by: "By", svg: Path | None, experts: Path | None, fit: bool,
    overwrite: bool, output: options.Output, verbose: bool,
) -> None:  # fmt: skip
    """Show what a model file contains.

    Its metadata, the mix of block types, the bits per weight; how much of a mixture of experts works for a token. As
    CSV: the block types, with --tensors the tensors, with --heatmap the matrices, with --experts the experts, with
    --fit the contexts.

    MODEL is a GGUF file, a name that `subbyte ls` shows, or hf:user/repo:QUANT.
    """
    from subbyte.runtime.gguf.model_file import GGUF

    if tensors + heatmap + fit + (experts is not None) > 1:
        raise click.UsageError("--tensors, --heatmap, --experts and --fit exclude each other")
    if fit:
        from subbyte.runtime.bench.fit import fit as measure_fit

        with open_model(model, verbose=verbose) as loaded, ProgressBar() as bar:
            found = measure_fit(loaded, bar.update)
        print_fit(output, found)
        return
    with GGUF.open(find_model(model, verbose=verbose)) as gguf:
        if experts is not None:
            from subbyte.runtime.imatrix.expert_use import checked_use
            from subbyte.runtime.imatrix.imatrix import Imatrix
            from subbyte.runtime.inspect.mixture import mixture

            n_expert = of.n_expert if (of := mixture(gguf)) else 0
            print_experts(output, checked_use(Imatrix.open(experts), n_expert, printable(str(gguf.path))))
            return
        if not heatmap and svg is None:
            from subbyte.runtime.inspect.summary import summarize

            print_summary(output, summarize(gguf), tensors)
            return
        from subbyte.runtime.inspect.heatmap import chart

        picture = chart(gguf)
    if svg is not None:
        picture.save_svg(svg, by, overwrite=overwrite)
    if heatmap or output != "text":
        print_heatmap(output, picture, by)


TYPE_FIELDS = ("type", "n_tensors", "n_weights", "n_bytes", "share")
TENSOR_FIELDS = ("name", "type", "shape", "n_bytes")
EXPERT_FIELDS = ("layer", "expert", "count", "share")
SHOWN_EXPERTS = 8  # those chosen most often
MATRIX_FIELDS = ("layer", "kind", "type", "n_weights", "n_bytes", "bits_per_weight")


def print_summary(output: options.Output, summary: "Summary", tensors: bool) -> None:
    """Writes a file in numbers to stdout; tensors: each of them, too."""
    if output == "json":
        facts = summary.to_dict()
        if not tensors:
            del facts["tensors"]
        print_json(facts)
    elif output == "csv" and tensors:
        print_csv(({**asdict(of), "shape": " x ".join(map(str, of.shape))} for of in summary.tensors), TENSOR_FIELDS)
    elif output == "csv":
        print_csv(map(asdict, summary.types), TYPE_FIELDS)
    elif output == "md":
        print_markdown(Table.of("", ("", ""), _head(summary)), *_tables(summary, tensors))
    else:
        for label, value in _head(summary):
            write_line(f"{label:14}{visible(value)}")
        for table in _tables(summary, tensors):
            print_table(table)


def print_heatmap(output: options.Output, heatmap: "Heatmap", by: "By") -> None:
    """Writes the grid of layers by kinds of tensor, and the sizes of the kinds, to stdout."""
    if output == "json":
        print_json(heatmap.to_dict())
    elif output == "csv":
        print_csv(heatmap.records(), MATRIX_FIELDS)
    elif output == "md":
        rows = [
            [str(layer), *(cell.text(by) if cell else "" for cell in row)] for layer, row in enumerate(heatmap.rows())
        ]
        columns = ("layer>", *(f"{kind}>" for kind in heatmap.kinds))
        outside = Table.of("", ("tensor", f"{by}>"), [(cell.kind, cell.text(by)) for cell in heatmap.outside])
        print_markdown(Table.of("", columns, rows), outside, grid.shares_table(heatmap))
    else:
        grid.print_grid(heatmap, by)
        print_table(grid.shares_table(heatmap))


def print_experts(output: options.Output, layers: "list[ExpertUse]") -> None:
    """Writes how often experts were chosen to stdout: a row for each layer; as CSV for each expert."""
    if output == "json":
        print_json({"layers": [of.to_dict() for of in layers]})
    elif output == "csv":
        rows = (
            {"layer": of.layer, "expert": i, "count": count, "share": share}
            for of in layers
            for i, (count, share) in enumerate(zip(of.counts, of.shares, strict=True))
        )
        print_csv(rows, EXPERT_FIELDS)
    else:
        columns = ("layer>", "choices>", "never chosen>", "least>", "median>", "most>", "most often")
        table = Table.of("experts", columns, [_expert_row(of) for of in layers])
        print_markdown(table) if output == "md" else print_table(table)


def print_fit(output: options.Output, fit: "Fit") -> None:
    """Writes what fits, and how fast that is, to stdout: a row for each context and type of KV cache."""
    columns = ("context>", "KV cache", "size>", "in all>", "from disk>", "share>", "tokens/s>")
    table = Table.of("a token behind a full context reads", columns, [_fit_row(of) for of in fit.contexts])
    if output == "json":
        print_json(fit.to_dict())
    elif output == "csv":
        print_csv(fit.records())
    elif output == "md":
        print_markdown(Table.of("", ("", ""), _fit_head(fit)), table, "; ".join(FIT_NOTES))
    else:
        for label, value in _fit_head(fit):
            write_line(f"{label:14}{value}")
        print_table(table)
        write_line("\n".join(["", *FIT_NOTES]))


FIT_NOTES = (
    "in all: weights, keys and values",
    "from disk: expected to be missing where file and cache exceed memory, each expert as likely as any other",
    "tokens/s: at most, by the bandwidth of memory and disk",
)


def _fit_head(fit: "Fit") -> list[tuple[str, str]]:
    of, experts = fit.weights, ""
    if of.expert_bytes:
        experts = f", {human_size(of.used_bytes)} of them of experts, which are {human_size(of.expert_bytes)} in all"
    disk = "unknown" if fit.disk_rate is None else f"{human_size(int(fit.disk_rate))}/s"
    threads = f"{fit.threads} thread{'s' if fit.threads > 1 else ''}"
    return [
        ("file", human_size(of.n_bytes)),
        ("a token reads", f"{human_size(of.active_bytes)} of weights{experts}"),
        ("memory", f"{human_size(fit.available)} available, read at {human_size(int(fit.bandwidth))}/s by {threads}"),
        ("disk", disk),
    ]


def _fit_row(of: "ContextFit") -> tuple[str, ...]:
    sizes = str(of.n_ctx), of.cache_type, human_size(of.cache_bytes)
    if not of.fits:
        return *sizes, "", "", "", "no memory"
    share = f"{of.disk_bytes / of.read_bytes:.0%}"
    rate = of.tokens_per_second
    shown = "unknown" if rate is None else f"{rate:.{0 if rate >= 100 else 1 if rate >= 10 else 2}f}"
    return *sizes, human_size(of.read_bytes), human_size(int(of.disk_bytes)), share, shown


def _expert_row(of: "ExpertUse") -> tuple[str, ...]:
    ranked = sorted(range(len(of.counts)), key=lambda i: -of.counts[i])
    shares = [f"{of.shares[i]:.2%}" for i in (ranked[-1], ranked[len(ranked) // 2], ranked[0])]
    return str(of.layer), str(sum(of.counts)), str(len(of.never)), *shares, ", ".join(map(str, ranked[:SHOWN_EXPERTS]))


def _head(summary: "Summary") -> list[tuple[str, str]]:
    bits = f"{summary.bits_per_weight:.2f} bits per weight" if summary.bits_per_weight is not None else "no weights"
    files = f" in {summary.n_files} files" if summary.n_files > 1 else ""
    rows: list[tuple[str, str | None]] = [
        ("file", f"{summary.path} (GGUF version {summary.version})"),
        ("name", summary.name),
        ("architecture", summary.architecture),
        ("size", f"{human_size(summary.n_bytes)}{files}, {human_count(summary.n_params)} weights, {bits}"),
        ("context", f"{summary.context_length} tokens" if summary.context_length else None),
        ("vocabulary", f"{summary.n_vocab} tokens" if summary.n_vocab else None),
    ]
    if (of := summary.mixture) is not None:
        active = f"{human_count(of.n_active)} weights, {human_size(of.active_bytes)}, are multiplied"
        rows.insert(4, ("experts", f"{of.n_used} of {of.n_expert} for a token, so that {active}"))
    return [(label, value or "(not given)") for label, value in rows]


def _tables(summary: "Summary", tensors: bool) -> Iterator[Table]:
    if summary.types:
        rows = [
            (of.type, str(of.n_tensors), human_count(of.n_weights), human_size(of.n_bytes), f"{of.share:.1%}")
            for of in summary.types
        ]
        yield Table.of("types", ("type", "tensors>", "weights>", "size>", "share>"), rows)
    yield Table.of("metadata", ("key", "type", "value"), [(of.key, of.type, of.text) for of in summary.metadata])
    if tensors:
        items = [(of.name, of.type, " x ".join(map(str, of.shape)), str(of.n_bytes)) for of in summary.tensors]
        yield Table.of("tensors", ("name", "type", "shape>", "bytes>"), items)
