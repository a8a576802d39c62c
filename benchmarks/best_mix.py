"""Found mixtures against llama.cpp's and DynamicGate's of the same size, from the models to docs/best-mix.md.

    python benchmarks/best_mix.py -f wiki.test.raw [--models smollm2,gemma3-270m] [--chunks 40] [--passages 16]
        [--rounds 3] [--mixtures 30] [--cost llama-3.1-8b] [--folder FOLDER] [--out FILE]

Each model is decoded to F32 and widened (benchmarks/widen.py), and mixtures of llama.cpp's and DynamicGate's
are written with an importance matrix of benchmarks/alice.txt and Python's `help()`. For the size of each,
`sb.search_recipes` finds a mixture on the same texts and, where the model is one for chats, on its answers to
benchmarks/questions.txt. All files are compared with the F32 one on the text of -f, which the search never sees: the
same chunks for all, so that differences have intervals. Standard mixtures whose embeddings take fewer bits, as searches
find right, are rows like others: they tell how much is due to the embeddings alone.

Random mixtures of SmolLM2, whose divergence is predicted from what the search knows and then measured on held-out
passages, show what predictions are worth. --cost: a random model of that shape, of two layers, is measured for what a
search of the whole one takes.

FOLDER keeps all of it (default: a temporary one, which goes): what is there is used as it is, so that a run goes on.
"""

import argparse
import json
import math
import pickle
import shlex
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from best_mix_cost import Cost, measure_cost
from dynamicgate import ALICE, default_calibration, file_name
from tables.best_mix_document import Mixtures, ModelResult, Row, document
from widen import widen

import subbyte as sb
from subbyte.runtime.pictures.frontier import Figure, File, Frontier
from subbyte.runtime.pictures.frontier_plot import draw_frontier
from subbyte.runtime.pictures.picture import write_plot
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.search.groups import find_groups
from subbyte.runtime.search.kept import EncodedTensors, KeptFigures
from subbyte.runtime.search.measured import Measured
from subbyte.runtime.search.passages import choose_passages

QUESTIONS = Path(__file__).with_name("questions.txt")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "best-mix.md"
SPREAD = 1.5  # steps of types that random mixtures vary by, around one for all tensors
START = time.perf_counter()


def say(what: str) -> None:
    print(f"{time.perf_counter() - START:6.0f} s  {what}", flush=True)


class Subject(NamedTuple):
    """A model. width: of its rows, widened. recipes: mixtures whose sizes are searched for; MIXTURE+PATTERN=TYPE is one
    as `quantize --tensor-type PATTERN=TYPE` changes it. random: whether random mixtures are measured, too, to see what
    predictions are worth.
    """

    model: str
    width: int
    recipes: tuple[str, ...]
    random: bool


SUBJECTS = (
    Subject("smollm2", 768, (
        "IQ1_M", "DynamicGate-IQ1_M", "IQ2_XXS", "DynamicGate-IQ2_XXS", "IQ2_XS", "DynamicGate-IQ2_XS", "IQ2_S",
        "DynamicGate-IQ2_S", "IQ3_XXS", "Q3_K_M", "Q4_K_M",
        "IQ2_S+token_embd=Q3_K", "IQ3_XXS+token_embd=Q3_K", "IQ4_XS+token_embd=Q4_K",
    ), random=True),
    Subject("gemma3-270m", 768, (
        "IQ2_XS", "IQ3_XXS", "Q3_K_M",
        "IQ4_XS+token_embd=IQ4_XS", "Q4_K_M+token_embd=Q4_K",
    ), random=False),  # the original is a Q4_K_M file
)  # fmt: skip


class Stages:
    """Progress: a line a minute."""

    def __init__(self) -> None:
        self._last = 0.0

    def update(self, what: str, done: int, total: int) -> None:
        if time.perf_counter() - self._last > 60:
            self._last = time.perf_counter()
            say(f"{done} of {total}: {what}")


class Bench:
    """The files of one model, in a folder of its own."""

    def __init__(self, subject: Subject, arguments: argparse.Namespace, folder: Path) -> None:
        self.subject, self.a = subject, arguments
        self.folder = folder / subject.model
        self.folder.mkdir(exist_ok=True)
        self.base, self.imatrix = self.folder / "F32.gguf", self.folder / "imatrix.gguf"
        self.chat = self.folder / "chat.jsonl"

    @property
    def evaluated(self) -> list[bytes | sb.Conversations]:
        """What is searched on: the texts, and answers of the model if it is one for chats."""
        texts = [ALICE.read_bytes(), default_calibration()[len(ALICE.read_bytes()) :]]
        return [*texts, *([sb.Conversations.read(self.chat)] if self.chat.exists() else [])]

    def prepare(self) -> None:
        """The base, its answers, and its importance matrix, of the output's columns, too."""
        with sb.load(self.subject.model) as model:
            path, chats = model.path, "tokenizer.chat_template" in model.metadata
        if not self.base.exists():
            say(f"F32 of {self.subject.model}")
            widen(path, self.base, self.subject.width)
        if chats and not self.chat.exists():
            say("answers to questions")
            self.chat.write_text(answers(path))
        if not self.imatrix.exists():
            say("importance matrix")
            resume = self.folder / "imatrix.sums"
            with sb.load(self.base) as model:
                made = sb.imatrix(model, default_calibration(), chunks=60, process_output=True, resume=resume)
            made.save(self.imatrix)

    def standard(self) -> list[Path]:
        """Standard files and DynamicGate's."""
        parts = [(name, *name.partition("+")[::2]) for name in self.subject.recipes]
        return [self._written(name, mixture, [changed] if changed else []) for name, mixture, changed in parts]

    def _written(self, name: str, recipe: str | sb.Recipe, tensor_types: Sequence[str] = ()) -> Path:
        path = self.folder / f"{name}.gguf"
        if not path.exists():
            say(f"quantizing {name}")
            sb.quantize(self.base, path, recipe, imatrix=self.imatrix, tensor_types=tensor_types)
        return path

    def search(self, sizes: list[int]) -> sb.RecipeSearch:
        """What is found for these sizes; kept whole, since a search that reads its cache is no measure of one."""
        kept = self.folder / f"search-{self.a.passages}-{self.a.rounds}.pickle"
        if kept.exists():
            found: sb.RecipeSearch = pickle.loads(kept.read_bytes())
            return found
        found = sb.search_recipes(
            self.base, self.evaluated, size=sizes, imatrix=self.imatrix,
            passages=self.a.passages, rounds=self.a.rounds, cache=self.folder / "cache", on_progress=Stages().update,
        )  # fmt: skip
        kept.write_bytes(pickle.dumps(found))
        return found

    def rows(self, files: list[Path], search: sb.RecipeSearch) -> tuple[list[Row], sb.CompareRun]:
        """Each file beside the found one of its size, on the text of -f."""
        found = [
            self._written(f"found-{file.stem}", of.open_recipe()) for file, of in zip(files, search.found, strict=True)
        ]
        say("comparing all files on the test text")
        resume = self.folder / f"compare-{self.a.chunks}.checkpoint"
        run = sb.compare(self.base, [*files, *found], self.a.file.read_bytes(), chunks=self.a.chunks, resume=resume)
        n, loss = len(files), [of.loss for of in run.per_token]
        rows = [
            Row(
                name=file.stem,
                n_bytes=file.stat().st_size,
                found_bytes=found[i].stat().st_size,
                of_file=run.results[i],
                of_found=run.results[n + i],
                bits_of_file=bits_by_kind(file),
                bits_of_found=bits_by_kind(found[i]),
                delta=run.delta(n + i, i),
                delta_ppl=run.tokens.interval(loss[n + i] - loss[i]),
                found=search.found[i],
            )
            for i, file in enumerate(files)
        ]
        return rows, run

    def mixtures(self, of: sb.FoundRecipe) -> Mixtures:
        """Random mixtures: what is predicted of them, and what is measured on held-out passages."""
        rng = np.random.default_rng(0)
        types = {tensor.tensor: [cost.type for cost in tensor.types] for tensor in of.tensors}
        predicted, measured = [], []
        with sb.load(self.base) as model, Encoder(model.n_threads) as encoder:
            groups = find_groups(model, sb.Imatrix.open(self.imatrix), None)
            passages = choose_passages(model, self.evaluated, n_ctx=256, n=self.a.passages, step=4).held_out
            encoded = EncodedTensors(self.folder / "cache", 20 * 10**9, model.gguf, encoder)
            on = Measured(model, groups, passages, sb.EvalOptions(256), encoded, KeptFigures(self.folder / "cache"))
            for i in range(self.a.mixtures):
                say(f"random mixture {i + 1} of {self.a.mixtures}")
                centre = rng.uniform(0.15, 0.85)
                mixture = {
                    name: each[int(np.clip(round(centre * (len(each) - 1) + rng.normal(0, SPREAD)), 0, len(each) - 1))]
                    for name, each in types.items()
                }
                predicted.append(of.predict(mixture))
                measured.append(float(on.whole([mixture[group.name] for group in groups]).mean()))
                encoded.release()
        return Mixtures(tuple(predicted), tuple(measured))


def bits_by_kind(path: Path) -> dict[str, float]:
    """Bits per weight of all tensors of a kind together."""
    n_bytes: dict[str, int] = defaultdict(int)
    n_weights: dict[str, int] = defaultdict(int)
    with sb.GGUF.open(path) as gguf:
        for name, tensor in gguf.tensors.items():
            if len(tensor.shape) > 1:
                kind = name.removesuffix(".weight").rpartition(".")[2]
                n_bytes[kind] += tensor.n_bytes
                n_weights[kind] += tensor.n_weights
    return {kind: 8 * n / n_weights[kind] for kind, n in n_bytes.items()}


def answers(path: Path) -> str:
    """Conversations of a question and the model's answer, as lines of JSON."""
    lines = []
    with sb.load(path) as model:
        for i, question in enumerate(QUESTIONS.read_text().splitlines()):
            with model.chat(max_tokens=200, sampling=sb.Sampling(0.8, seed=i), n_ctx=512) as chat:
                reply = chat.send(question)
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply.text}]
            lines.append(json.dumps({"messages": turns}))
    return "\n".join(lines) + "\n"


def measure(subject: Subject, arguments: argparse.Namespace, folder: Path) -> ModelResult:
    """All that the page has of one model; its figures are kept as JSON, too."""
    bench = Bench(subject, arguments, folder)
    bench.prepare()
    files = bench.standard()
    search = bench.search([file.stat().st_size for file in files])
    rows, run = bench.rows(files, search)
    mixtures = bench.mixtures(search.found[len(search.found) // 2]) if arguments.mixtures and subject.random else None
    facts = {"rows": [row.to_dict() for row in rows], "search": search.to_dict()}
    (bench.folder / "best-mix.json").write_text(json.dumps(facts, indent=1) + "\n")
    return ModelResult(subject.model, subject.width, rows, run, search, mixtures)


def cost_of(shape: str, folder: Path) -> Cost:
    """In a process of its own, whose memory is that of this measurement alone."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure_cost, shape, folder).result()


def draw(of: ModelResult, path: Path) -> None:
    """KL divergence by size, of all files."""
    files = []
    for row in of.rows:
        maker, _, types = row.name.rpartition("-")
        for name, by, n_bytes, found in (
            (row.name, maker or "standard", row.n_bytes, row.of_file),
            (f"found {row.found_bytes / 1e6:.0f} MB", "other", row.found_bytes, row.of_found),
        ):
            kld = Figure(found.kld.value, found.kld_interval.low, found.kld_interval.high)
            files.append(File(name, by, types, n_bytes, kld, Figure(math.nan), found.ppl.value))
    conditions = f"{of.run.chunks} chunks of {of.run.n_ctx} tokens, text sha256 {(of.run.text_sha256 or '')[:16]}…"
    frontier = Frontier(tuple(files), None, f"{conditions}; KL divergence from {of.model} in F32")
    write_plot(path, lambda: draw_frontier(frontier), overwrite=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-f", "--file", type=Path, required=True)
    parser.add_argument("--models", default=",".join(subject.model for subject in SUBJECTS))
    parser.add_argument("--chunks", type=int, default=40)
    parser.add_argument("--passages", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mixtures", type=int, default=30)
    parser.add_argument("--cost", default="llama-3.1-8b", help="a synthetic shape; empty for none")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--out", type=Path, default=PAGE)
    a = parser.parse_args()
    subjects = [subject for subject in SUBJECTS if subject.model in a.models.split(",")]
    if not subjects:
        parser.error(f"--models: {a.models}: none of {', '.join(subject.model for subject in SUBJECTS)}")
    with ExitStack() as stack:
        folder = a.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="subbyte-")))
        folder.mkdir(exist_ok=True)
        results = [measure(subject, a, folder) for subject in subjects]
        cost = cost_of(a.cost, folder) if a.cost else None
    command = shlex.join(["python", "benchmarks/best_mix.py", *map(file_name, sys.argv[1:])])
    for result in results:
        draw(result, a.out.with_name(f"{a.out.stem}-{result.model}.svg"))
    a.out.write_text(document(results, cost, command, a.out.stem))
    say(f"wrote {a.out}")


if __name__ == "__main__":
    main()
