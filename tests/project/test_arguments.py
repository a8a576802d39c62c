"""Public functions given absurd arguments: TypeError, ValueError or SubbyteError, whose message names the argument."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from template_conversations import source
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.compare.base_file import write_base

TEXT = "the thing and another one in the garden. " * 20

CASE = '{"id": "irrelevance_0", "question": [[{"role": "user", "content": "?"}]], "function": [{"name": "f"}]}'


class Odd:
    """An object that nothing takes; its repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


ABSURD: dict[str, Any] = {
    "none": None, "nan": float("nan"), "inf": float("inf"), "fraction": 1.5, "negative": -1, "zero": 0,
    "huge": 2**64 - 1, "10^400": 10**400, "numpy nan": np.float32("nan"), "numpy huge": np.uint64(2**64 - 1),
    "bool": True, "bytes": b"the",
    "word": "nonsense", "long": "x" * 10_000, "nul": "a\0b", "empty": "", "surrogate": "\udc80", "list": [],
    "list of objects": [object()], "list of nan": [float("nan")], "nested": [[1]], "dict": {"temperature": 0},
    "list of dicts": [{"role": "user", "content": "hi"}], "set": {1}, "function": len, "type": int, "object": Odd(),
    "array": np.zeros((2, 2)), "list of bytes": [b"the"], "complex": 1j, "folder": Path("/"), "sampling": sb.Sampling(),
}  # fmt: skip
HARMLESS = {"nan", "fraction", "dict", "object", "function"}
"""Of each of these kinds no argument is: what takes a value of them has not looked."""


class Place:
    """A model with what else functions take, and a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path, self.recipe = folder, folder / "m.gguf", folder / "r.toml"
        write_model(self.path)
        self.recipe.write_text('type = "Q8_0"\n')
        self.model = sb.load(self.path, threads=1)
        self.parts = sb.split(self.path, folder / "parts", max_tensors=12).parts[0].path
        self.imatrix = sb.Imatrix({"a": np.ones((1, 4))}, {"a": np.ones(1)}, {}, (), 1, 32)
        self.session = self.model.session(32)
        self.chat = self.model.chat(n_ctx=256, max_tokens=1)
        self.callers = folder / "callers.gguf"
        write_model(self.callers, strings={"tokenizer.chat_template": source("lfm2-1.2b")})
        self.base = folder / "base"
        with write_base(self.base, np.ones((2, 32), np.int32), self.model.config.n_vocab):
            pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("arguments"))
    yield place
    place.chat.close()
    place.model.close()


class Function(NamedTuple):
    """A public function: how to reach it, its arguments that are right, and those that take what others don't."""

    of: Callable[[Place], Callable[..., Any]]
    right: Callable[[Place], dict[str, Any]]
    anything: tuple[str, ...] = ()


def options(model: str = "model", **right: Any) -> Callable[[Place], dict[str, Any]]:
    return lambda place: {model: place.model, "text": TEXT, "n_ctx": 32, "chunks": 1, **right}


FUNCTIONS: dict[str, Function] = {
    "load": Function(lambda p: sb.load, lambda p: {"model": p.path}),
    "Model.session": Function(lambda p: p.model.session, lambda p: {"n_ctx": 8}),
    "Model.chat": Function(lambda p: p.model.chat, lambda p: {"n_ctx": 8}, ("variables",)),
    "Model.generate": Function(lambda p: p.model.generate, lambda p: {"prompt": "the", "max_tokens": 1, "n_ctx": 32}),
    "Model.score": Function(lambda p: p.model.score, lambda p: {"text": "the", "candidates": ["in"]}),
    "Model.choose": Function(lambda p: p.model.choose, lambda p: {"prefix": "the", "candidates": ["in", "an"]}),
    "Model.embed": Function(lambda p: p.model.embed, lambda p: {"texts": ["the"]}),
    "Model.tokenize": Function(lambda p: p.model.tokenize, lambda p: {"text": "the"}),
    "Model.detokenize": Function(lambda p: p.model.detokenize, lambda p: {"ids": [1]}),
    "Session.eval": Function(lambda p: p.session.eval, lambda p: {"tokens": [1]}),
    "Session.logprobs": Function(lambda p: p.session.logprobs, lambda p: {"tokens": [1, 2], "targets": [1]}),
    "Session.rewind": Function(lambda p: p.session.rewind, lambda p: {"n": 0}),
    "Session.reuse": Function(lambda p: p.session.reuse, lambda p: {"tokens": [1]}),
    "Chat.send": Function(lambda p: p.chat.send, lambda p: {"text": "the"}),
    "Chat.stream": Function(lambda p: p.chat.stream, lambda p: {"text": "the"}),
    "Chat.save": Function(lambda p: p.chat.save, lambda p: {"path": p.folder / "chat.json"}),
    "Chat.load": Function(lambda p: p.chat.load, lambda p: {"path": p.folder / "chat.json"}),
    **{
        f"Chat.{name}": Function(
            lambda p, name=name: lambda **given: setattr(p.chat, name, given[name]),  # type: ignore[misc]
            lambda p, name=name: {name: getattr(p.chat, name)},  # type: ignore[misc]
        )
        for name in ("system", "sampling", "thinking", "reasoning_budget")
    },
    "Sampling": Function(lambda p: sb.Sampling, lambda p: {}),
    "EvalOptions": Function(lambda p: sb.EvalOptions, lambda p: {}),
    "perplexity": Function(lambda p: sb.perplexity, options()),
    "compare": Function(lambda p: sb.compare, lambda p: {"base": p.model, **options("models")(p)}),
    "blame": Function(lambda p: sb.blame, lambda p: {"base": p.model, **options()(p)}),
    "choices": Function(
        lambda p: sb.choices,
        lambda p: {"models": p.model, "questions": [{"question": "the", "choices": ["in", "an"], "answer": 0}]},
    ),
    "Conversations": Function(lambda p: sb.Conversations, lambda p: {"data": b""}),
    "imatrix": Function(lambda p: sb.imatrix, options()),
    "merge_imatrices": Function(lambda p: sb.merge_imatrices, lambda p: {"matrices": [p.imatrix], "weights": [2]}),
    "imatrix_statistics": Function(lambda p: sb.imatrix_statistics, lambda p: {"imatrix": p.imatrix}),
    "report": Function(
        lambda p: sb.report, options("models", prompt=1, generate=1, repeats=1), ("prompt", "generate", "repeats")
    ),
    "toolcheck": Function(
        lambda p: sb.toolcheck,
        lambda p: {"models": p.callers, "cases": CASE, "max_tokens": 1, "n_ctx": 256, "modes": "free"},
    ),
    "bench": Function(
        lambda p: sb.bench, lambda p: {"model": p.model, "prompt": [1], "generate": [1], "repeats": 1}, ("repeats",)
    ),
    "heatmap": Function(lambda p: sb.heatmap, lambda p: {"model": p.model}),
    "Heatmap.svg": Function(lambda p: sb.heatmap(p.model).svg, lambda p: {"by": "bits"}),
    "Attribution.save_plot": Function(
        lambda p: _attribution().save_plot, lambda p: {"path": p.folder / "p.svg", "overwrite": True}
    ),
    "diff": Function(lambda p: sb.diff, lambda p: {"a": p.model, "b": p.path}),
    "quantize": Function(
        lambda p: sb.quantize,
        lambda p: {"source": p.model, "out": p.folder / "q.gguf", "recipe": p.recipe, "dry_run": True},
    ),
    "quantize_all": Function(
        lambda p: sb.quantize_all,
        lambda p: {"source": p.model, "folder": p.folder, "recipes": [p.recipe], "dry_run": True},
    ),
    "split": Function(
        lambda p: sb.split,
        lambda p: {"source": p.model, "out": p.folder / "s", "max_tensors": 9, "max_bytes": 9999, "dry_run": True},
    ),
    "merge": Function(lambda p: sb.merge, lambda p: {"source": p.parts, "out": p.folder / "w", "overwrite": True}),
    "set_metadata": Function(
        lambda p: sb.set_metadata,
        lambda p: {"source": p.model, "values": ["a=str:b"], "out": p.folder / "c", "overwrite": True},
    ),
    "search_recipes": Function(
        lambda p: sb.search_recipes,
        lambda p: {
            "source": p.model,
            "text": TEXT,
            "n_ctx": 64,
            "kld": 1e-6,
            "types": ["IQ4_NL"],
            "cache": p.folder / "cache",
        },
        ("step", "rounds", "passages"),
    ),
    "GenerateRows": Function(lambda p: sb.GenerateRows, lambda p: {"model": p.path}),
    "ScoreRows": Function(lambda p: sb.ScoreRows, lambda p: {"model": p.path}),
    "EmbedRows": Function(lambda p: sb.EmbedRows, lambda p: {"model": p.path}),
    "Recipe.named": Function(lambda p: sb.Recipe.named, lambda p: {"name": "Q4_K_M"}),
    "Recipe.dynamic_gate": Function(lambda p: sb.Recipe.dynamic_gate, lambda p: {"type": "IQ2_M"}),
    "Recipe.open": Function(lambda p: sb.Recipe.open, lambda p: {"path": p.recipe}),
    "Imatrix.open": Function(lambda p: sb.Imatrix.open, lambda p: {"path": p.path}),
    "GGUF.open": Function(lambda p: sb.GGUF.open, lambda p: {"path": p.path}),
    "BaseFile": Function(lambda p: sb.BaseFile, lambda p: {"path": p.base}),
}


def _attribution() -> sb.Attribution:
    group = sb.Sensitivity("output.weight", "F32 → Q8_0", 2, 1, sb.Estimate(0.1, 0.1), 0.1)
    return sb.Attribution("b", "m", "tensor", (group,), sb.Estimate(0.1, 0.1), 32, 1, 16, None, "f16", "int8x2", 1.0)


def cases() -> Iterator[Any]:
    for name, function in FUNCTIONS.items():
        of: Any = NAMED.get(name)
        parameters = inspect.signature(of).parameters if of else {name.partition(".")[2]: None}
        for parameter in parameters:
            if parameter not in ("self", *function.anything):
                yield pytest.param(name, parameter, marks=[pytest.mark.slow] if name in LONG else [])


LONG = {"report", "bench"}  # which measure times for each value that is right


def _named(name: str) -> Any:
    owner, _, attribute = name.partition(".")
    of = getattr(sb, owner)
    found = getattr(of, attribute) if attribute else of
    return None if isinstance(found, property) else found


NAMED = {name: _named(name) for name in FUNCTIONS}


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "parameter"), list(cases()))
def test_absurd_arguments(place: Place, name: str, parameter: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    function = FUNCTIONS[name]
    wrong = []
    for kind, value in ABSURD.items():
        if parameter in ("chunks", "n_ctx", "max_tokens", "top_k", "seed") and kind in ("huge", "none", "numpy huge"):
            continue  # what a text, a context or a vocabulary holds
        if parameter.startswith("on_") and kind in ("function", "type"):
            continue  # whose errors, when they are called, are their own
        place.session.rewind(0)
        try:
            result = function.of(place)(**{**function.right(place), parameter: value})
        except sb.SubbyteError:
            continue
        except (TypeError, ValueError) as error:
            if parameter not in str(error) and not _says(error, parameter):
                wrong.append(f"{kind}: {type(error).__name__} without the argument's name: {error}")
        except Exception as error:
            wrong.append(f"{kind}: {type(error).__name__}: {error}")
        else:
            if kind in HARMLESS and not _takes(name, parameter, kind):
                wrong.append(f"{kind}: taken without a word")
            if hasattr(result, "close"):
                result.close()
    assert not wrong, "\n".join(wrong)


def _says(error: Exception, parameter: str) -> bool:
    """Whether the message says in other words what the argument is for."""
    words = {
        "tokens": "token", "targets": "token", "n": "tokens", "n_ctx": "context", "isa": "instruction set",
        "thinking": "think", "models": "model", "name": "recipe", "type": "recipe", "depth": "nothing to measure",
        "threads": "nothing to measure", "fast_on": "instruction set",
    }  # fmt: skip
    return words.get(parameter, "?") in str(error)


def _takes(name: str, parameter: str, kind: str) -> bool:
    numbers = (
        "temperature",
        "timeout",
        "min_p",
        "top_p",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
        "dry_multiplier",
        "dry_base",
        "bits",
        "kld",
    )
    return parameter in numbers if kind == "fraction" else (parameter, kind) == ("override_kv", "dict")


def test_numbers_of_numpy_are_numbers(place: Place) -> None:
    sampling = sb.Sampling(np.float32(0.5), np.int64(3), seed=np.int64(3))  # type: ignore[arg-type]
    assert sampling == sb.Sampling(0.5, 3, seed=3) and type(sampling.seed) is int
    reply = place.model.generate("the", max_tokens=np.int32(2), n_ctx=np.uint8(32), sampling=sampling).run()  # type: ignore[arg-type]
    assert len(reply.tokens) <= 2
    assert sb.perplexity(place.model, TEXT, n_ctx=np.int64(32), chunks=np.int16(2)).chunks == 2  # type: ignore[call-overload]
    with sb.load(place.path, threads=np.int8(1)) as model:  # type: ignore[arg-type]
        assert model.n_threads == 1


def test_a_wrong_kind_is_a_type_error_that_says_what_is_taken(place: Place) -> None:
    for call, message in (
        (lambda: sb.report([3], TEXT), r"models\[0\] is 3, but must be a Model, or a path or a model's name"),
        (lambda: sb.perplexity(3, TEXT), "model.* is 3, but must be a Model, a path or a model's name, or a list"),
        (lambda: place.model.score([1]), r"text is \[1\], but must be a text \(str, or bytes of UTF-8\)"),
        (lambda: place.chat.stream([{"role": "user"}]), r"text is \[\{'role': 'user'\}\], but must be a text"),
        (lambda: place.model.chat(sampling={"seed": 1}), "sampling is {'seed': 1}, but must be a Sampling"),
        (lambda: place.model.generate(b"the"), "prompt is b'the', but must be a text .* or a list of token ids"),
        (lambda: place.model.generate("the", max_tokens=float("nan")), "max_tokens is nan, but must be a whole number"),
        (lambda: sb.load(place.path, threads=1.5), "threads is 1.5, but must be a whole number"),
        (lambda: sb.load(3), "model is 3, but must be a path or a model's name"),
        (lambda: place.chat.load(3), "path is 3, but must be a path"),
    ):  # fmt: skip
        with pytest.raises(TypeError, match=message):
            call()  # type: ignore[no-untyped-call]


@pytest.mark.thorough
def test_a_model_is_taken_as_object_path_or_name(place: Place) -> None:
    options: dict[str, Any] = {"n_ctx": 32, "chunks": 2}
    expected = sb.perplexity(place.model, TEXT, **options).ppl
    model = str(place.path)
    assert sb.perplexity(model, TEXT, **options).ppl == pytest.approx(expected)
    both = sb.perplexity([model, place.model], TEXT, **options).results
    assert [each.ppl for each in both] == [pytest.approx(expected)] * 2
    assert sb.compare(model, model, TEXT, **options).results[0].kld.value == pytest.approx(0, abs=1e-6)
    assert sb.blame(model, place.model, TEXT, **options).groups == ()
    assert sb.imatrix(model, TEXT, **options).chunk_count == 2
    sizes: dict[str, Any] = {"prompt": [2], "generate": [], "repeats": 1}
    assert sb.bench(model, **sizes).measured[0].case.n_tokens == 2
    assert sb.bench(place.model, threads=[1, 2], **sizes).measured[1].case.threads == 2
    quick: dict[str, Any] = {"prompt": 2, "generate": 1, "repeats": 1, **options}
    assert sb.report(model, TEXT, **quick).rows[0].perplexity.ppl == pytest.approx(expected)
    assert sb.report([place.model, model], TEXT, against=place.model, **quick).rows[1].delta is not None
    assert sb.heatmap(model) == sb.heatmap(place.model) == sb.heatmap(place.model.gguf)
    assert sb.diff(model, place.model).same
    assert not place.model.session(8).eval([1], "none")  # the model that was given is still open
