"""Fuzz targets: a function for each parser, which takes any bytes, and the sound inputs that a fuzzer begins with.

A SubbyteError of one printable line is right. Everything else, and every report of a sanitizer, is a bug.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
from api_target import REQUESTS, read_requests
from gguf_builder import STR, pair, seed, tensor, u32
from gguf_builder import gguf as build
from paths import ROOT
from tiny_models import N_VOCAB, SHAPES, write_hyper_parameters, write_model
from tool_formats import ANSWERS, TOOLS
from vocabularies import SPM_TOKENS, SPM_TYPES, alphabet, payload

from subbyte.errors import SubbyteError
from subbyte.models import architecture, check_unread
from subbyte.runtime.chat.messages import Message
from subbyte.runtime.chat.saved_chat import read_conversation, write_conversation
from subbyte.runtime.choices.questions import read_questions
from subbyte.runtime.compare.base_file import BaseFile, n_scored, write_base
from subbyte.runtime.evaluation.checkpoint import Checkpoint, Figures
from subbyte.runtime.evaluation.losses import are_losses
from subbyte.runtime.evaluation.texts import Conversations
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.writer import lay_out
from subbyte.runtime.imatrix.imatrix import Imatrix
from subbyte.runtime.inspect.summary import summarize
from subbyte.runtime.loading import load
from subbyte.runtime.recipes.extract import from_tensor_types
from subbyte.runtime.recipes.recipe import Recipe, format_recipe, read_recipe
from subbyte.runtime.rewrite.typed_value import parse_value
from subbyte.runtime.template.worker import answer
from subbyte.runtime.tokenizer.tokenizer import Tokenizer, load_tokenizer
from subbyte.runtime.toolcheck.answers import CaseAnswer
from subbyte.runtime.toolcheck.cases import example_cases, read_cases
from subbyte.runtime.toolcheck.scoring import score
from subbyte.runtime.tools.call import ToolCall
from subbyte.runtime.tools.parser import ToolParser


class Target(NamedTuple):
    run: Callable[[bytes], object]
    seeds: Callable[[], Iterable[bytes]]


TEMPLATES = ROOT / "tests/template/templates"
FOLDER = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())


def _file(data: bytes) -> Path:
    """The input as a file: the same one each time, in memory."""
    path = FOLDER / f"subbyte-fuzz-{os.getpid()}"
    path.write_bytes(data)
    return path


def _written(write: Callable[[Path], object]) -> bytes:
    path = FOLDER / f"subbyte-seed-{os.getpid()}"
    try:
        write(path)
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)


# ---- model files


def _gguf(data: bytes) -> None:
    with GGUF.open(_file(data)) as file:
        for info in file.tensors.values():
            assert len(info.data) == info.n_bytes
        json.dumps(summarize(file).to_dict())
        dict(file.metadata)


def _model(data: bytes) -> None:
    with load(_file(data), threads=1) as model, model.session(8) as session:
        session.eval(model.tokenize("the thing")[:4] or [0])


SMALL = {"n_layer": 1, "n_embd": 8, "n_head": 2, "n_head_kv": 1, "head_dim": 4, "n_ff": 8}


def _model_seeds() -> Iterable[bytes]:
    yield _written(lambda path: write_model(path, shape=SMALL))
    yield _written(lambda path: write_model(path, "gemma3", shape={**SMALL, "window": 4}))
    yield _written(lambda path: write_model(path, "phi3", shape={**SMALL, "n_rot": 4, "n_ctx_orig": 32}))
    yield _written(lambda path: write_model(path, "qwen3", shape=SMALL))


def _config(data: bytes) -> None:
    with GGUF.open(_file(data)) as file:
        name = file.metadata.str("general.architecture")
        config = architecture(name).configure(file.metadata, N_VOCAB)
        check_unread(file.metadata.unused(f"{name}."), config)


def _write_config(path: Path, arch: str) -> None:
    writer = gguf.GGUFWriter(path, arch)
    write_hyper_parameters(writer, arch, SHAPES[arch], {})
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def _config_seeds() -> Iterable[bytes]:
    for arch in SHAPES:
        yield _written(partial(_write_config, arch=arch))


# ---- vocabularies, and texts

BPE = {"model": "gpt2", "pre": "llama-bpe", "tokens": [*alphabet(), "ab", "abc", "<|x|>"], "merges": ["a b", "ab c"],
       "token_type": [1] * 258 + [3]}  # fmt: skip
SPM = {"model": "llama", "tokens": [*SPM_TOKENS, "a", "▁", "▁a"], "scores": [0.0] * 262,
       "token_type": [*SPM_TYPES, 1, 1, 1]}  # fmt: skip
CHARACTERS = SPM | {"model": "gemma4", "merges": ["▁ a", "\n \n", "a ▁"]}


def _vocabulary_file(keys: dict[str, Any]) -> bytes:
    return build([pair(f"tokenizer.ggml.{key}", *payload(value)) for key, value in keys.items()])


def _vocabulary(data: bytes) -> None:
    with GGUF.open(_file(data)) as file:
        tokenizer = load_tokenizer(file.metadata)
        tokenizer.decode(tokenizer.encode("abc <|x|> é", special=True))


@cache
def _tokenizer(index: int) -> Tokenizer:
    with GGUF.open(_file(_vocabulary_file([BPE, SPM, CHARACTERS][index]))) as file:
        return load_tokenizer(file.metadata)


def _text(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    _round_trip(_tokenizer(0), text, text)
    # These write a space as ▁, and SentencePiece one before the text, which only a whole text is decoded without.
    for index in (1, 2):
        _round_trip(_tokenizer(index), text, text.replace("▁", " "))


def _round_trip(tokenizer: Tokenizer, text: str, said: str) -> None:
    ids = tokenizer.encode(text)
    stream = tokenizer.stream()
    streamed = "".join([stream.feed(id) for id in ids]) + stream.finish()
    assert tokenizer.decode(ids) == said and streamed in (said, " " + said), (text, streamed)
    tokenizer.encode(text, special=True)


# ---- what lies beside a model


def _template(data: bytes) -> None:
    request = {
        "source": data.decode("utf-8", "replace"),
        "marks": {"<|im_start|>": "\ue000a.0.1\ue001", "<|im_end|>": "\ue000a.1.1\ue001"},
        "roles": {"user": "\ue000a.2.1\ue001"},
        "context": {"messages": [{"role": "user", "content": "hello"}], "add_generation_prompt": True},
        "now": "2026-01-01T00:00:00",
    }
    assert answer(json.dumps(request).encode()).keys() <= {"text", "error", "line", "bound"}


def _imatrix(data: bytes) -> None:
    matrix = Imatrix.open(_file(data))
    matrix.weights("blk.0.attn_q.weight")
    matrix.digest()


def _imatrix_seeds() -> Iterable[bytes]:
    name = b"blk.0.attn_q.weight"
    values = np.arange(8, dtype=np.float32).tobytes()
    yield u32(1) + u32(len(name)) + name + u32(3) + u32(8) + values + u32(3) + u32(4) + b"text"
    tensors = [tensor("blk.0.attn_q.weight.in_sum2", [8, 1]), tensor("blk.0.attn_q.weight.counts", [1, 1], 0, 32)]
    yield build([pair("general.type", STR, "imatrix")], tensors, bytes(64))


def _base_file(data: bytes) -> None:
    with BaseFile(_file(data)) as base:
        for chunk in range(len(base.tokens)):
            base.log_probs(chunk, range(1))


def _write_base(path: Path) -> None:
    with write_base(path, np.arange(8, dtype=np.int32).reshape(1, 8), 9) as write:
        write(np.random.default_rng(0).standard_normal((n_scored(8), 9)).astype(np.float32))


def _open_checkpoint(path: Path) -> Checkpoint:
    def is_sound(figures: Figures) -> bool:
        return all(map(are_losses, figures))

    return Checkpoint(path, "perplexity", {"n_ctx": 8, "text": "abc"}, lambda _: [(3,), (2, 2)], 3, is_sound)


def _checkpoint(data: bytes) -> None:
    """What is no checkpoint stays as it was; one that is keeps its records, and the one that comes to them."""
    path = _file(data)
    try:
        checkpoint = _open_checkpoint(path)
    except SubbyteError:
        assert path.read_bytes() == data
        raise
    checkpoint.add(RECORD)
    again = _open_checkpoint(path).records
    expected = [*checkpoint.records, RECORD][:3]
    assert len(again) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(chain(*again), chain(*expected), strict=True))


RECORD = [np.full(3, 0.5), np.full((2, 2), 1e-3)]


def _checkpoint_seed(path: Path) -> None:
    checkpoint = _open_checkpoint(path)
    checkpoint.add(RECORD)
    checkpoint.add([of * 3 for of in RECORD])


def _conversation_seed(path: Path) -> None:
    write_conversation(path, "Be kind.", [Message("user", "hi"), Message("assistant", "hello", "hm")])


def _metadata_value(data: bytes) -> None:
    """What is set is read back, and as its type."""
    try:
        value = parse_value(data.decode("utf-8", "surrogateescape"), None)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    head = lay_out({"x": value}, [], 32).head
    assert GGUF.open(_file(head)).metadata.entries["x"].type == value.type


def _evaluated(data: bytes) -> None:
    """Lines of conversations and of questions; what is wrong with them is told in a line."""
    try:
        list(Conversations(data))
        read_questions(data)
    except ValueError as error:
        raise SubbyteError(str(error)) from None


EVALUATED = [
    b'{"question": "a", "choices": ["b", "c"], "answer": 1, "messages": [{"role": "assistant", "content": "d"}]}\n',
]

FORMATS = [format for format, _ in ANSWERS.values()]


def _tool_calls(data: bytes) -> None:
    """Calls in an answer, the format by the first byte: nothing is lost, and pieces do not matter."""
    format, text = FORMATS[data[0] % len(FORMATS)] if data else FORMATS[0], data[1:].decode(errors="replace")
    whole, parser = ToolParser(format, TOOLS), ToolParser(format, TOOLS)
    pieces = [*whole.feed(text), *whole.finish()]
    calls = [piece for piece in pieces if not isinstance(piece, str)]
    streamed = [*(piece for c in text for piece in parser.feed(c)), *parser.finish()]
    assert [piece for piece in streamed if not isinstance(piece, str)] == calls
    assert calls or "".join(map(str, pieces)) == text


def _tool_cases(data: bytes) -> None:
    """Cases of function calling; each is scored against the calls that it expects, whatever their values are."""
    try:
        cases = read_cases([data])
    except ValueError as error:
        raise SubbyteError(str(error)) from None
    for case in cases:
        calls = [
            ToolCall("", e.name, {name: values[:1] for name, values in e.arguments.items()}) for e in case.expected
        ]
        score(case, CaseAnswer(tuple(calls)))
        score(
            case, CaseAnswer(tuple(ToolCall("", c.name, {n: v[0] for n, v in c.arguments.items() if v}) for c in calls))
        )


TARGETS: dict[str, Target] = {
    "gguf": Target(_gguf, lambda: [seed()]),
    "model": Target(_model, _model_seeds),
    "config": Target(_config, _config_seeds),
    "vocabulary": Target(_vocabulary, lambda: map(_vocabulary_file, (BPE, SPM, CHARACTERS))),
    "text": Target(_text, lambda: [b"abc  abc\n\n don't 12345 <|x|>", "é 你好 👩\u200d👧 ▁a".encode(), b"\xff\xfe a"]),
    "template": Target(_template, lambda: [path.read_bytes() for path in TEMPLATES.glob("*.jinja")]),
    "imatrix": Target(_imatrix, _imatrix_seeds),
    "base_file": Target(_base_file, lambda: [_written(_write_base)]),
    "checkpoint": Target(_checkpoint, lambda: [b"", _written(_checkpoint_seed)]),
    "recipe": Target(
        lambda data: read_recipe(_file(data)),
        lambda: [format_recipe(Recipe.named(name)).encode() for name in ("Q4_K_M", "DynamicGate-IQ2_XS")],
    ),
    "tensor_types": Target(
        lambda data: from_tensor_types(_file(data), "Q8_0"),
        lambda: [rb"^blk\.(0|1)\.attn_v\.weight$=q4_k" b"\nffn_(up|gate)=Q6_K  [^x]+?=f16"],
    ),
    "metadata_value": Target(
        _metadata_value, lambda: [b"str:a", b"int:-7", b"f32:1e-3", b'[str]:["a", ""]', b"[u8]:[1, 255]", b"bool:true"]
    ),
    "tool_calls": Target(
        _tool_calls, lambda: [bytes([i]) + text.encode() for i, (_, text) in enumerate(ANSWERS.values())]
    ),
    "tool_cases": Target(_tool_cases, lambda: example_cases().splitlines()[::7]),
    "api": Target(read_requests, lambda: [json.dumps(seed).encode() for seed in REQUESTS]),
    "evaluated": Target(_evaluated, lambda: EVALUATED),
    "conversation": Target(lambda data: read_conversation(_file(data)), lambda: [_written(_conversation_seed)]),
}


def run(name: str, data: bytes) -> bool:
    """Gives a target its input; whether the input was taken."""
    try:
        TARGETS[name].run(data)
    except SubbyteError as error:
        assert str(error).isprintable(), repr(str(error))
        return False
    return True
