"""Models where other programs keep them: Ollama's store, LM Studio's and llama.cpp's folders, read in place."""

import json
import logging
import os
from pathlib import Path

import pytest

from subbyte.errors import ModelNotFound
from subbyte.runtime.store import resolve as store

DIGEST = "0123456789abcdef" * 4
MODEL, OTHER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.template"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, without any model."""
    for key in ("OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUBBYTE_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("subbyte.runtime.store.ollama._SYSTEM", tmp_path / "system")
    return tmp_path


def names() -> list[str]:
    found = store.installed()
    assert [store.resolve(model.name) for model in found] == [model.path for model in found]
    return [model.name for model in found]


def add(path: Path, data: bytes = b"GGUF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def manifest(folder: Path, name: str, *layers: object) -> None:
    """A manifest, HOST/NAMESPACE/MODEL/TAG."""
    add(folder / "manifests" / name, json.dumps({"schemaVersion": 2, "layers": layers}).encode())


def layer(digest: str = f"sha256:{DIGEST}", kind: str = MODEL) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest, "size": 4}


def test_ollamas_names_lead_to_blobs(home: Path) -> None:
    models = home / ".ollama/models"
    blob = add(models / f"blobs/sha256-{DIGEST}", b"GGUF!")
    for name in ("registry.ollama.ai/library/llama3.2/1b", "registry.ollama.ai/library/llama3.2/latest",
                 "registry.ollama.ai/me/tuned/q4", "hf.co/u/r/Q4_K_M"):  # fmt: skip
        manifest(models, name, layer(kind=OTHER), layer())
    assert names() == ["ollama:hf.co/u/r:Q4_K_M", "ollama:llama3.2:1b", "ollama:llama3.2:latest", "ollama:me/tuned:q4"]
    assert store.resolve("ollama:llama3.2") == blob
    assert [(model.size, model.place) for model in store.installed()] == [(5, "Ollama")] * 4


def test_ollamas_stores_are_those_of_user_variable_and_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, name in ((home / "system", "a"), (home / ".ollama/models", "b"), (home / "chosen", "c")):
        add(folder / f"blobs/sha256:{DIGEST}")  # as older versions named them
        manifest(folder, f"registry.ollama.ai/library/{name}/latest", layer())
    assert names() == ["ollama:a:latest", "ollama:b:latest"]
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "chosen"))
    assert names() == ["ollama:a:latest", "ollama:b:latest", "ollama:c:latest"]


def test_broken_manifests_are_passed_over_and_told(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    models = home / ".ollama/models"
    add(models / f"blobs/sha256-{DIGEST}")
    library = models / "manifests/registry.ollama.ai/library"
    for name, data in {"text": b"no JSON", "deep": b"[" * 100_000, "list": b"[]", "bytes": b"\xff\xfe"}.items():
        add(library / name / "latest", data)
    manifest(models, "registry.ollama.ai/library/out/latest", layer("sha256:../../../etc/passwd"))
    manifest(models, "registry.ollama.ai/library/gone/latest", layer("sha256:" + "f" * 64))
    manifest(models, "registry.ollama.ai/library/odd/latest", "text", {"mediaType": MODEL}, layer(kind=OTHER))
    manifest(models, "registry.ollama.ai/library/good/latest", layer())
    os.mkfifo(library / "pipe")
    (library / "link").symlink_to("nowhere")
    with caplog.at_level(logging.INFO, "subbyte"):
        assert names() == ["ollama:good:latest"]
    ours = [record for record in caplog.records if record.name.startswith("subbyte.")]
    assert caplog.text.count("passed over") >= 7 and {record.levelno for record in ours} == {logging.INFO}


def test_folders_of_lm_studio_and_llama_cpp(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    studio, cache = home / ".lmstudio/models", home / ".cache/llama.cpp"
    add(studio / "pub/repo-GGUF/model-Q4_K_M.gguf")
    add(studio / "pub/repo-GGUF/mmproj-model-f16.gguf")
    add(studio / "pub/repo-GGUF/README.md")
    for folder in ("a", "b"):
        add(studio / folder / "same-Q8_0.gguf")
    for i in (1, 2):
        add(cache / f"split-Q2_K-0000{i}-of-00002.gguf", b"GGUF" * i)
    add(cache / "half-Q2_K-00001-of-00002.gguf")
    add(cache / "endless-00001-of-99999.gguf")
    (cache / "gone.gguf").symlink_to("nowhere")
    (cache / "around").symlink_to(cache)
    with caplog.at_level(logging.INFO, "subbyte"):
        assert names() == [
            "lmstudio:a/same-Q8_0",
            "lmstudio:b/same-Q8_0",
            "lmstudio:model-Q4_K_M",
            "llama.cpp:split-Q2_K",
        ]
    assert "gone.gguf: passed over" in caplog.text and "half-Q2_K-00001-of-00002.gguf: passed over" in caplog.text
    assert [model.size for model in store.installed()] == [4, 4, 4, 12]
    for name in ("pub/repo-GGUF/model-Q4_K_M", "pub/repo-GGUF/model-Q4_K_M.gguf", "model-Q4_K_M.gguf"):
        assert store.resolve(f"lmstudio:{name}").name == "model-Q4_K_M.gguf"


def test_variables_move_llama_cpps_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(home / "xdg/llama.cpp/x.gguf")
    add(home / "chosen/c.gguf")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert names() == ["llama.cpp:x"]
    monkeypatch.setenv("LLAMA_CACHE", str(home / "chosen"))
    assert names() == ["llama.cpp:c"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ollama:llama3", r"Ollama has no 'llama3:latest' \(did you mean llama3.2:1b"),
        ("ollama:", "Ollama has no ':latest'"),
        ("lmstudio:../../etc/passwd", "LM Studio has no"),
        ("lmstudio:modelQ4_K_M", r"did you mean model-Q4_K_M\?"),
        ("llama.cpp:x", r"llama.cpp has no 'x' in ~/\.cache/llama\.cpp \(which is not there\)"),
        ("ollama:\x1b[31m\n" + "x" * 200, "Ollama has no"),
    ],
)
def test_names_that_no_place_has(home: Path, name: str, says: str) -> None:
    add(home / f".ollama/models/blobs/sha256-{DIGEST}")
    manifest(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/1b", layer())
    add(home / ".lmstudio/models/p/r/model-Q4_K_M.gguf")
    with pytest.raises(ModelNotFound, match=says) as error:
        store.resolve(name)
    assert str(error.value).isprintable() and len(str(error.value)) < 600
