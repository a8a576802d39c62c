"""Random models of real shapes, to measure speed without a download: `llama-3.2-1b:Q4_K:8`.

A model is named SHAPE:TYPE[:LAYERS]. SHAPE is one of `SHAPES`; TYPE a block type for all projections (the output matrix
is Q6_K then) or one of the mixtures of `MIXES`; LAYERS how many of the real model's layers to write. Blocks are random,
their scales such that activations stay sane; the vocabulary has the real size and means nothing.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from subbyte.errors import ResourceError
from subbyte.kernels import FORMATS
from subbyte.runtime._mixes import MIXES, Place
from subbyte.runtime._random_blocks import random_blocks
from subbyte.runtime.bpe import BYTE_OF

if TYPE_CHECKING:
    from gguf import GGUFWriter

Progress = Callable[[int, int], None]
"""Called with the bytes written and the bytes in all."""

MAX_LAYERS = 512  # what llama.cpp reads, too
ALIGNMENT = 32
POOL = 16381  # units of random blocks of one type, repeated to fill a tensor; a prime, so that its rows differ
UNIT = 256  # weights, a whole number of any format's blocks


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of a real model. real: its `general.architecture`; architecture: the one it is written as."""

    name: str
    real: str
    architecture: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_vocab: int
    n_ctx_train: int
    freq_base: float
    eps: float
    tied: bool


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("llama-3.2-1b", "llama", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 5e5, 1e-5, True),
        Shape("llama-3-8b", "llama", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 8192, 5e5, 1e-5, False),
        Shape("qwen3-14b", "qwen3", "llama", 40, 5120, 40, 8, 128, 17408, 151936, 40960, 1e6, 1e-6, False),
        Shape("exaone-7.8b", "exaone", "llama", 32, 4096, 32, 8, 128, 14336, 102400, 32768, 1e6, 1e-5, False),
    )
}


@dataclass(frozen=True)
class Synthetic:
    """A random model: a shape, and the type or mixture of types that its matrices take."""

    shape: Shape
    mix: str

    @property
    def description(self) -> str:
        """For people: `qwen3-14b's shape as llama, Q4_K, 8 layers`."""
        s = self.shape
        other = f" as {s.architecture}" if s.architecture != s.real else ""
        return f"{s.name}'s shape{other}, {self.mix}, {s.n_layer} layer{'s' if s.n_layer > 1 else ''}"

    def tensors(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Of each tensor the numpy shape (rows first) and the block type, in the order of the file."""
        s = self.shape
        n, q, kv, ff = s.n_embd, s.n_head * s.head_dim, s.n_head_kv * s.head_dim, s.n_ff
        found = {"output_norm": ((n,), "F32"), "token_embd": ((s.n_vocab, n), self._type("token_embd"))}
        if not s.tied:
            found["output"] = ((s.n_vocab, n), self._type("output"))
        block = {"attn_q": (q, n), "attn_k": (kv, n), "attn_v": (kv, n), "attn_output": (n, q),
                 "ffn_gate": (ff, n), "ffn_up": (ff, n), "ffn_down": (n, ff)}  # fmt: skip
        for i in range(s.n_layer):
            found |= {f"blk.{i}.{name}": ((n,), "F32") for name in ("attn_norm", "ffn_norm")}
            found |= {f"blk.{i}.{name}": (shape, self._type(name, i)) for name, shape in block.items()}
        return {f"{name}.weight": tensor for name, tensor in found.items()}

    def n_bytes(self) -> int:
        """Of all tensors with the gaps between them: the size of the file but for its header."""
        return sum(_padded(_tensor_bytes(*tensor)) for tensor in self.tensors().values())

    def _type(self, tensor: str, layer: int = 0) -> str:
        s = self.shape
        if tensor == "token_embd" and s.tied:
            tensor = "output"
        return MIXES[self.mix](Place(tensor, layer, s.n_layer, s.n_head // s.n_head_kv))


def parse(text: str) -> Synthetic:
    """The model that SHAPE:TYPE[:LAYERS] names; ValueError tells what is allowed."""
    name, _, rest = text.partition(":")
    mix, _, layers = rest.partition(":")
    if name.lower() not in SHAPES:
        raise ValueError(f"no shape {name!r}; SHAPE:TYPE[:LAYERS] has one of {', '.join(SHAPES)}")
    found = next((known for known in MIXES if known.lower() == mix.lower()), None)
    if found is None:
        raise ValueError(f"no type {mix!r}; SHAPE:TYPE[:LAYERS] has one of {', '.join(MIXES)}")
    shape = SHAPES[name.lower()]
    if layers or rest.count(":"):
        if not (layers.isascii() and layers.isdigit() and len(layers) < 5 and 1 <= int(layers) <= MAX_LAYERS):
            raise ValueError(f"{layers!r} layers; SHAPE:TYPE[:LAYERS] takes 1 to {MAX_LAYERS}")
        shape = replace(shape, n_layer=int(layers))
    return Synthetic(shape, found)


def write(model: Synthetic, path: str | os.PathLike[str], on_progress: Progress | None = None, seed: int = 0) -> None:
    """Writes the model as a GGUF file that llama.cpp reads as well; whole, or not at all.

    Raises ResourceError where the disk is too small or can't be written to.
    """
    path = Path(path)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _check_space(model, path)
        try:
            _write_header(model, scratch)
            with scratch.open("ab") as file:
                _write_tensors(model, file, np.random.default_rng(seed), on_progress)
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(f"can't write {path}: {error.strerror or error}; give another place") from error


@contextmanager
def temporary(model: Synthetic, on_progress: Progress | None = None) -> Iterator[Path]:
    """The model as a file in the system's temporary folder ($TMPDIR), which goes with the end of the block."""
    with tempfile.TemporaryDirectory(prefix="subbyte-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "synthetic.gguf"
        write(model, path, on_progress)
        yield path


def _check_space(model: Synthetic, path: Path) -> None:
    need, free = model.n_bytes(), shutil.disk_usage(path.parent).free
    if free < need:
        found = f"{path} needs {need / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free"
        raise ResourceError(f"{found}; make room, take fewer layers or set TMPDIR to another folder")


def _padded(n_bytes: int) -> int:
    return -n_bytes % ALIGNMENT + n_bytes


def _tensor_bytes(shape: tuple[int, ...], format: str) -> int:
    f = FORMATS[format]
    n_weights = int(np.prod(shape, dtype=np.int64))
    return n_weights // f.block_size * f.block_bytes


def _write_header(model: Synthetic, path: Path) -> None:
    import gguf

    s = model.shape
    w = gguf.GGUFWriter(str(path), s.architecture)
    w.add_name(model.description)
    w.add_block_count(s.n_layer)
    w.add_context_length(s.n_ctx_train)
    w.add_embedding_length(s.n_embd)
    w.add_feed_forward_length(s.n_ff)
    w.add_head_count(s.n_head)
    w.add_head_count_kv(s.n_head_kv)
    w.add_key_length(s.head_dim)
    w.add_value_length(s.head_dim)
    w.add_rope_dimension_count(s.head_dim)
    w.add_rope_freq_base(s.freq_base)
    w.add_layer_norm_rms_eps(s.eps)
    w.add_vocab_size(s.n_vocab)
    _add_vocabulary(w, s.n_vocab)
    for name, (shape, format) in model.tensors().items():
        kind = gguf.GGMLQuantizationType[format]
        stored = (*shape[:-1], shape[-1] // FORMATS[format].block_size * FORMATS[format].block_bytes)
        w.add_tensor_info(name, stored, np.dtype(np.uint8), _tensor_bytes(shape, format), kind)
    try:
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_ti_data_to_file()
    finally:
        w.close()


def _add_vocabulary(w: GGUFWriter, n_vocab: int) -> None:
    """The 256 bytes, one merge, BOS and EOS; the rest are tokens that no text becomes."""
    letters = [chr(code) for code in BYTE_OF]
    known = [*letters, "ee", "<|bos|>", "<|eos|>"]
    normal, control, unused = 1, 3, 5
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(known + [f"<|unused {i}|>" for i in range(len(known), n_vocab)])
    w.add_token_types([normal] * 257 + [control] * 2 + [unused] * (n_vocab - len(known)))
    w.add_token_merges(["e e"])
    w.add_bos_token_id(257)
    w.add_eos_token_id(258)
    w.add_add_bos_token(False)


def _write_tensors(model: Synthetic, file: BinaryIO, rng: np.random.Generator, on_progress: Progress | None) -> None:
    pools: dict[tuple[str, int], memoryview] = {}
    total, done = model.n_bytes(), 0
    file.write(bytes(-file.tell() % ALIGNMENT))
    for shape, format in model.tensors().values():
        if len(shape) == 1:
            file.write(np.ones(shape, np.float32).tobytes())
        else:
            key = format, shape[1]
            if key not in pools:
                pools[key] = _pool(*key, rng)
            _write_cycled(file, pools[key], _tensor_bytes(shape, format), int(rng.integers(POOL)))
        file.write(bytes(-file.tell() % ALIGNMENT))
        done += _padded(_tensor_bytes(shape, format))
        if on_progress is not None:
            on_progress(done, total)


def _pool(format: str, k: int, rng: np.random.Generator) -> memoryview:
    """Weights of the size that keeps an input's size over rows of k."""
    n_blocks = POOL * UNIT // FORMATS[format].block_size
    return random_blocks(format, n_blocks, k**-0.5, rng).data.cast("B")


def _write_cycled(file: BinaryIO, pool: memoryview, n_bytes: int, start: int) -> None:
    """n_bytes of the pool, over and over, beginning with its unit `start`."""
    at = len(pool) // POOL * start
    while n_bytes:
        part = pool[at : at + n_bytes]
        file.write(part)
        n_bytes -= len(part)
        at = 0
