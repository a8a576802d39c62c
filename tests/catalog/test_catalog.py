"""What `subbyte ls` tells of the models at hand, from their headers and from what was kept of them."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
from tiny_models import write_model

import subbyte as sb
from subbyte.errors import SubbyteError
from subbyte.runtime.catalog import catalog as catalog_module
from subbyte.runtime.catalog.catalog import Entry, catalog
from subbyte.runtime.catalog.facts import read_facts


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder with models: llama.cpp's."""
    for key, name in {"HOME": "home", "SUBBYTE_CACHE": "own", "LLAMA_CACHE": "models"}.items():
        monkeypatch.setenv(key, str(tmp_path / name))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("subbyte.runtime.store.ollama._SYSTEM", tmp_path / "system")
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose headers are read from now on."""
    paths: list[Path] = []

    def read(path: Path) -> object:
        paths.append(path)
        return read_facts(path)

    monkeypatch.setattr(catalog_module, "read_facts", read)
    return paths


def names(entries: list[Entry]) -> list[str]:
    return [entry.name.removeprefix("llama.cpp:") for entry in entries]


def test_facts_of_a_model_are_those_of_its_loaded_self(folder: Path) -> None:
    write_model(folder / "tiny.gguf")
    (entry,) = catalog()
    with sb.load("llama.cpp:tiny", threads=1) as model:
        info = model.info
        assert entry.facts is not None and entry.supported and entry.fits
        assert (entry.facts.architecture, entry.facts.n_params) == (info.architecture, info.n_params)
        assert entry.facts.bits_per_weight == info.bits_per_weight
        assert entry.facts.context_length == model.config.n_ctx_train
        assert sum(share for _, share in entry.facts.types) == pytest.approx(1)
    row = entry.to_dict()
    assert json.loads(json.dumps(row))["types"] and row["place"] == "llama.cpp" and row["path"].endswith("/tiny.gguf")


def test_base_models_are_told_as_the_chat_tells_them(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    base, chat = folder / "base.gguf", folder / "chat.gguf"
    write_model(base)
    write_model(chat, strings={"tokenizer.chat_template": "{{ messages }}"})
    assert [read_facts(path).base_model for path in (base, chat)] == [True, False]
    with sb.load(base, threads=1) as model, model.chat(n_ctx=32):
        assert "as for a base model" in caplog.text


def test_what_is_no_model_is_passed_over_and_what_is_broken_is_named(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_model(folder / "good.gguf")
    (folder / "cut.gguf").write_bytes((folder / "good.gguf").read_bytes()[:200])
    (folder / "page.gguf").write_text("<html>")
    (folder / "empty.gguf").touch()
    (folder / "gone.gguf").symlink_to("nowhere")
    (folder / "folder.gguf").mkdir()
    os.mkfifo(folder / "pipe.gguf")
    with caplog.at_level(logging.INFO, "subbyte"):
        entries = catalog()
    assert names(entries) == ["cut", "good"]
    assert entries[0].problem and entries[0].facts is None and entries[0].supported is None
    for name in ("page", "empty", "gone", "pipe"):
        assert name in caplog.text


def test_headers_are_read_once(folder: Path, reads: list[Path]) -> None:
    for name in ("a", "b", "c"):
        write_model(folder / f"{name}.gguf")
    first = catalog()
    assert len(reads) == 3 and catalog() == first and len(reads) == 3
    write_model(folder / "b.gguf", seed=1)
    (folder / "c.gguf").unlink()
    second = catalog()
    assert [path.name for path in reads[3:]] == ["b.gguf"] and names(second) == ["a", "b"]
    kept = json.loads((folder.parent / "own/models/facts.json").read_text())
    assert len(kept["models"]) == 2


@pytest.mark.parametrize(
    "content",
    [b"", b"no JSON", b"[]", b"\xff", b"[" * 100_000, b'{"format": "subbyte model facts 1"}',
     b'{"format": "subbyte model facts 1", "models": {"/x": 1}}'],
)  # fmt: skip
def test_damaged_kept_facts_cost_only_time(folder: Path, reads: list[Path], content: bytes) -> None:
    write_model(folder / "a.gguf")
    kept = folder.parent / "own/models/facts.json"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    assert names(catalog()) == ["a"] and len(reads) == 1


def test_facts_that_can_not_be_kept_are_read_again(folder: Path, reads: list[Path]) -> None:
    write_model(folder / "a.gguf")
    (folder.parent / "own").write_text("a file")
    assert names(catalog()) == names(catalog()) == ["a"] and len(reads) == 2


def test_shards_are_one_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(folder / "whole.gguf")
    for i in (1, 2, 3):
        shutil.copy(folder / "whole.gguf", folder / f"split-0000{i}-of-00003.gguf")
    (split, whole) = catalog()
    assert split.name == "llama.cpp:split" and split.size == 3 * whole.size


def test_a_model_larger_than_memory_does_not_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(folder / "a.gguf")
    monkeypatch.setattr(catalog_module, "available_memory", lambda: 1000)
    assert [entry.fits for entry in catalog()] == [False]


def test_facts_of_what_can_not_be_read_are_an_error(folder: Path) -> None:
    with pytest.raises(SubbyteError, match=r"none\.gguf"):
        read_facts(folder / "none.gguf")
