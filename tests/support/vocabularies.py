"""Small vocabularies in GGUF files, and the files of real ones."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from gguf_builder import ARR, BOOL, F32, I32, STR, U32, array, pair
from gguf_builder import gguf as build
from paths import SHARED

from subbyte.errors import ModelNotFound
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.tokenizer.tokenizer import Tokenizer, load_tokenizer

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def model_file(name: str) -> Path:
    """A real model or vocabulary by name; skips the test where it is not at hand."""
    given = Path(os.environ.get("SUBBYTE_TEST_MODELS", ""))
    for path in (given / f"{name}.gguf", SHARED / f"refs/vocab/ggml-vocab-{name}.gguf"):
        if path.is_file():
            return path
    try:
        found: Path = pytest.importorskip("subbyte.runtime.store.resolve").resolve(name, offline=True)
        return found
    except ModelNotFound as error:
        pytest.skip(str(error))


def load(path: Path, name: str = "", chat_template: str | None = None, **keys: Any) -> Tokenizer:
    """Write `tokenizer.ggml.<key>` values to the file of a model called `name`, and load the tokenizer that they make.

    A list is an array of the kind of its first item, bytes are an array's payload as it is; None leaves a key out.
    """
    pairs = [pair(f"tokenizer.ggml.{key}", *payload(value)) for key, value in keys.items() if value is not None]
    if chat_template is not None:
        pairs.append(pair("tokenizer.chat_template", STR, chat_template))
    path.write_bytes(build([pair("general.architecture", STR, "llama"), pair("general.name", STR, name), *pairs]))
    return load_tokenizer(GGUF.open(path).metadata)


def payload(value: Any) -> tuple[int, Any]:
    if isinstance(value, bytes):
        return ARR, value
    if isinstance(value, list):
        return ARR, array({str: STR, bytes: STR, float: F32, int: I32}[type(value[0])], value)
    integer = I32 if isinstance(value, int) and value < 0 else U32
    return {str: STR, bool: BOOL, int: integer, float: F32}[type(value)], value


def alphabet() -> list[str]:
    """The 256 characters of the byte alphabet, as the `tokenizers` package has them."""
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def train_bpe(n_vocab: int = 700) -> tuple[list[str], list[str]]:
    """Tokens and merges of a byte-complete vocabulary, trained by `tokenizers` on a little text."""
    from tokenizers import Tokenizer as Trained
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from tokenizers.trainers import BpeTrainer

    trained = Trained(BPE())
    trained.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(vocab_size=n_vocab, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    words = "Über naïve façade … 你好,世界 你好 Привет мир 👩\u200d👧 \n\n  aaaa aaa aa 12 123 1234 don't I'LL we've"
    trained.train_from_iterator([Path(__file__).read_text(), words, words], trainer)
    model = json.loads(trained.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    return sorted(model["vocab"], key=model["vocab"].get), merges


SPM_TOKENS = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
SPM_TYPES = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
