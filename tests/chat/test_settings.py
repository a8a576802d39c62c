"""What a conversation answers with: a built-in model's own settings, by one rule for the library and the command."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.runtime.store.builtin import BUILT_IN, BuiltIn, Recommended
from subbyte.runtime.store.resolve import cache_folder, recommended


@pytest.fixture
def built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a built-in model "tiny" in the cache."""
    monkeypatch.setenv("SUBBYTE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    cache_folder().mkdir(parents=True)
    write_model(tmp_path / "written.gguf")
    size = (tmp_path / "written.gguf").stat().st_size
    model = BuiltIn("tiny", "none", "0" * 64, size, (), Recommended({"temperature": 0.0, "top_k": 3}, "int8x2"))
    monkeypatch.setitem(BUILT_IN, "tiny", model)
    (tmp_path / "written.gguf").rename(model.path(cache_folder()))
    yield model.path(cache_folder())


def settings(model: str | Path, **options: object) -> sb.ChatSettings:
    with sb.load(model, threads=1) as loaded, loaded.chat(n_ctx=64, **options) as chat:  # type: ignore[arg-type]
        assert chat.sampling == chat.settings.sampling
        return chat.settings


def test_a_built_in_model_has_its_own_settings(built_in: Path) -> None:
    """By its name as by the path of its file: the library used to know them by neither."""
    for model in ("tiny", built_in, str(built_in)):
        own = settings(model)
        assert (own.sampling, own.activations) == (sb.Sampling(temperature=0.0, top_k=3), "int8x2")
        assert recommended(model) == BUILT_IN["tiny"].chat  # what the command applies
        assert (own.n_ctx, own.cache_type, own.max_tokens, own.system) == (64, "f16", None, None)


def test_what_is_given_goes_first(built_in: Path) -> None:
    given = settings("tiny", sampling=sb.Sampling(seed=1), max_tokens=3, system="S", stop=["x"])
    assert given.sampling == sb.Sampling(seed=1) and given.activations == "int8x2"
    assert (given.max_tokens, given.system, given.stop[0]) == (3, "S", "x")
    assert settings("tiny", activations="int8", cache_type="q8_0").to_dict()["activations"] == "int8"


def test_other_models_have_the_defaults_of_the_library(built_in: Path, tmp_path: Path) -> None:
    for copy in ("other.gguf", "tiny"):  # a file goes before a name
        shutil.copy(built_in, tmp_path / copy)
        other = settings(tmp_path / copy)
        assert (other.sampling, other.activations) == (sb.Sampling(), "int8")
        assert recommended(copy) == Recommended()


@pytest.mark.model
@pytest.mark.thorough
def test_the_first_question_of_the_readme() -> None:
    with sb.load("smollm2") as model, model.chat(n_ctx=256, max_tokens=40) as chat:
        assert "Paris" in chat.send("What is the capital of France?").text
