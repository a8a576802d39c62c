"""Random models of real shapes, to measure speed without a download: `llama-3.2-1b:Q4_K:8`.

A model is named SHAPE:TYPE[:LAYERS]. SHAPE is one of `SHAPES`; TYPE a block type for all projections (the output matrix
is Q6_K then) or one of the mixtures of `MIXES`; LAYERS how many of the real model's layers to write, of each kind its
share. Blocks are random, their scales such that activations stay sane; the vocabulary has the real size and means
nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from subbyte.errors import ResourceError
from subbyte.kernels import FORMATS
from subbyte.runtime.files import FileKind, atomic_write, check_place, write_failure
from subbyte.runtime.synthetic.blocks import random_blocks
from subbyte.runtime.synthetic.shapes import SHAPES, ExpertShape, LatentShape, LayerShape, LocalShape, Shape
from subbyte.runtime.synthetic.spec import ALIGNMENT, Synthetic, padded, parse, tensor_bytes
from subbyte.runtime.synthetic.vocabulary import add_vocabulary
from subbyte.runtime.types import Progress

if TYPE_CHECKING:
    import gguf

__all__ = ["SHAPES", "Shape", "Synthetic", "parse", "temporary", "write"]

POOL = 16381  # units of random blocks of one type, repeated to fill a tensor; a prime, so that its rows differ
UNIT = 256  # weights, a whole number of any format's blocks
_HEAD = re.compile(rb"GGUF.*general\.name.{12}[\w.-]+'s shape, [\w.-]+, \d+ layers?", re.DOTALL)  # `description`
SYNTHETIC_FILE = FileKind("a synthetic model", lambda head: _HEAD.match(head) is not None)


def write(
    model: Synthetic,
    path: str | os.PathLike[str],
    on_progress: Progress | None = None,
    seed: int = 0,
    *,
    overwrite: bool = False,
) -> None:
    """Writes the model as a GGUF file that llama.cpp reads as well; whole, or not at all.

    overwrite: also over a synthetic model. Raises FileExists for any other file, ResourceError where the disk is too
    small or can't be written to.
    """
    path = Path(path)
    try:
        check_place(path, SYNTHETIC_FILE, overwrite=overwrite)
        _check_space(model, path)
        with atomic_write(path, SYNTHETIC_FILE, overwrite=overwrite) as temporary:
            _write_header(model, temporary)
            with temporary.open("ab") as file:
                _write_tensors(model, file, np.random.default_rng(seed), on_progress)
    except OSError as error:
        raise write_failure(path, error) from error


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


def _write_header(model: Synthetic, path: Path) -> None:
    import gguf

    s = model.shape
    w = gguf.GGUFWriter(str(path), s.architecture)
    w.add_name(model.description)
    w.add_block_count(len(s.layers))
    w.add_context_length(s.n_ctx_train)
    w.add_embedding_length(s.n_embd)
    counts = {
        "n_head": (w.add_head_count, [layer.n_head for layer in s.layers]),
        "n_head_kv": (w.add_head_count_kv, [layer.n_head_kv for layer in s.layers]),
        "n_ff": (w.add_feed_forward_length, [layer.n_ff or _n_ff_of_experts(layer) for layer in s.layers]),
    }
    for name, (add, values) in counts.items():
        add(values if name in s.listed else max(values))
    if s.experts is not None:
        _add_experts(w, s, s.experts)
    _add_states(w, s)
    if s.local is not None:
        _add_local(w, s, s.local)
    w.add_key_length(s.head_dim)
    w.add_value_length(s.latent.kv_rank if s.latent else s.head_dim)
    w.add_rope_dimension_count(s.latent.n_rot if s.latent else s.n_rot or s.head_dim)
    if s.latent:
        _add_latent(w, s.latent)
    w.add_rope_freq_base(s.freq_base)
    w.add_layer_norm_rms_eps(s.eps)
    if s.architecture == "gpt-oss":
        w.add_sliding_window(128)
    if s.yarn_factor is not None:
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(s.yarn_factor)
        w.add_rope_scaling_orig_ctx_len(int(s.n_ctx_train / s.yarn_factor))
    w.add_vocab_size(s.vocabulary.n_tokens)
    add_vocabulary(w, s.vocabulary)
    for name, (shape, format) in model.tensors().items():
        kind = gguf.GGMLQuantizationType[format]
        stored = (*shape[:-1], shape[-1] // FORMATS[format].block_size * FORMATS[format].block_bytes)
        w.add_tensor_info(name, stored, np.dtype(np.uint8), tensor_bytes(shape, format), kind)
    try:
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_ti_data_to_file()
    finally:
        w.close()


def _n_ff_of_experts(layer: LayerShape) -> int:
    return layer.experts.n_ff if layer.experts else 0


def _add_experts(w: gguf.GGUFWriter, s: Shape, of: ExpertShape) -> None:
    import gguf

    w.add_expert_count(of.n_expert)
    w.add_expert_used_count(of.n_used)
    if s.architecture != "llama":  # Mixtral has no key of its own for the length of an expert
        w.add_expert_feed_forward_length(of.n_ff)
    if of.n_ff_shared:
        w.add_expert_shared_count(of.n_ff_shared // of.n_ff)
        w.add_expert_shared_feed_forward_length(of.n_ff_shared)
    if s.n_dense:
        w.add_leading_dense_block_count(s.n_dense)
    if of.weights_scale is not None:
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
        w.add_expert_weights_scale(of.weights_scale)
        w.add_expert_weights_norm(True)


def _add_latent(w: gguf.GGUFWriter, of: LatentShape) -> None:
    w.add_q_lora_rank(of.q_rank)
    w.add_kv_lora_rank(of.kv_rank)
    w.add_key_length_mla(of.n_nope + of.n_rot)
    w.add_value_length_mla(of.n_value)


def _add_states(w: gguf.GGUFWriter, s: Shape) -> None:
    if (of := s.delta_net) is not None:
        w.add_ssm_conv_kernel(of.kernel)
        w.add_ssm_state_size(of.head_dim)
        w.add_ssm_group_count(of.n_head_k)
        w.add_ssm_time_step_rank(of.n_head_v)
        w.add_ssm_inner_size(of.n_head_v * of.head_dim)
        w.add_array(f"{s.architecture}.attention.recurrent_layers", [layer.state is not None for layer in s.layers])
        w.add_rope_dimension_sections(
            [11, 11, 10, 0]
        )  # pairs that turn by time, height and width, which text has alike
    if s.short_conv is not None:
        w.add_shortconv_l_cache(s.short_conv.kernel)


def _add_local(w: gguf.GGUFWriter, s: Shape, of: LocalShape) -> None:
    w.add_sliding_window(of.window)
    w.add_sliding_window_pattern([layer.local is not None for layer in s.layers])
    w.add_key_length_swa(of.head_dim)
    w.add_value_length_swa(of.head_dim)
    w.add_rope_dimension_count_swa(of.head_dim)
    w.add_rope_freq_base_swa(10000.0)
    w.add_shared_kv_layers(sum(not layer.own_keys for layer in s.layers))
    w.add_embedding_length_per_layer_input(s.n_embd_layer)
    w.add_final_logit_softcapping(30.0)


def _write_tensors(model: Synthetic, file: BinaryIO, rng: np.random.Generator, on_progress: Progress | None) -> None:
    pools: dict[tuple[str, int], memoryview] = {}
    total, done = model.n_bytes(), 0
    file.write(bytes(-file.tell() % ALIGNMENT))
    rope_freqs = model.shape.rope_freqs()
    for name, (shape, format) in model.tensors().items():
        if name == "rope_freqs.weight" and rope_freqs is not None:
            file.write(rope_freqs.tobytes())
        elif name.endswith(("norm.weight", "layer_output_scale.weight")):
            file.write(np.ones(shape, np.float32).tobytes())
        elif name.endswith("ssm_a"):
            file.write(rng.uniform(-16, -1, shape).astype(np.float32).tobytes())
        elif name.endswith("ssm_dt.bias"):
            file.write(_time_steps(shape, rng).tobytes())
        elif name.endswith("exp_probs_b.bias"):
            file.write(np.zeros(shape, np.float32).tobytes())
        else:
            key = format, shape[-1]
            if key not in pools:
                pools[key] = _pool(*key, rng)
            _write_cycled(file, pools[key], tensor_bytes(shape, format), int(rng.integers(POOL)))
        file.write(bytes(-file.tell() % ALIGNMENT))
        done += padded(tensor_bytes(shape, format))
        if on_progress is not None:
            on_progress(done, total)


def _time_steps(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Biases of time steps from 0.001 to 0.1 behind a softplus, where Mamba's training begins with them."""
    steps = np.exp(rng.uniform(np.log(1e-3), np.log(1e-1), shape))
    return np.log(np.expm1(steps)).astype(np.float32)


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
