"""Recurrent layers in plain numpy, token by token: the oracle of the engine's. Tensors are [outputs, inputs]."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
from expert_oracle import sigmoid
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Linear: TypeAlias = Callable[[F64, dict[str, F32], str], F64]  # of an input, a layer's tensors, and a matrix's name

DELTA_NETS = ("qwen35", "qwen35moe", "qwen3next")
SHORT_CONVS = ("lfm2", "lfm2moe")
MAMBAS = ("granitehybrid", "nemotron_h", "nemotron_h_moe", "falcon-h1")
HYBRIDS = (*DELTA_NETS, *SHORT_CONVS, *MAMBAS)
ONE_PART = ("nemotron_h", "nemotron_h_moe")  # each layer is one part, with one norm
NOT_MATRICES = ("ssm_a", "ssm_d", "ssm_conv1d", "ssm_norm", "shortconv.conv")  # though of two dimensions, some of them


def recurrent_tensors(arch: str, s: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and numpy shapes of the recurrent part of a layer."""
    n, width = s["n_embd"], s["conv_width"]
    if arch in SHORT_CONVS:
        return {"shortconv.in_proj": (3 * n, n), "shortconv.conv": (n, width), "shortconv.out_proj": (n, n)}
    heads, d, groups = s["ssm_heads"], s["ssm_state"], s["ssm_groups"]
    if arch in DELTA_NETS:
        channels = (2 * groups + heads) * d
        gates = {"ssm_ba": (2 * heads, n)} if arch == "qwen3next" else {"ssm_beta": (heads, n), "ssm_alpha": (heads, n)}
        return {
            "attn_qkv": (channels, n), "attn_gate": (heads * d, n), **gates, "ssm_conv1d": (channels, width),
            "ssm_dt.bias": (heads,), "ssm_a": (heads,), "ssm_norm": (d,), "ssm_out": (n, heads * d),
        }  # fmt: skip
    inner, channels = s["ssm_inner"], s["ssm_inner"] + 2 * groups * d
    return {
        "ssm_in": (inner + channels + heads, n), "ssm_conv1d": (channels, width), "ssm_conv1d.bias": (channels,),
        "ssm_dt.bias": (heads,), "ssm_a": (heads, 1), "ssm_d": (heads, 1), "ssm_norm": (groups, inner // groups),
        "ssm_out": (n, inner),
    }  # fmt: skip


def recurrent_keys(arch: str, s: Mapping[str, int]) -> dict[str, int]:
    """Metadata of those layers."""
    if arch in SHORT_CONVS:
        return {"shortconv.l_cache": s["conv_width"]}
    inner = s["ssm_heads"] * s["ssm_state"] if arch in DELTA_NETS else s["ssm_inner"]
    return {
        "ssm.conv_kernel": s["conv_width"], "ssm.state_size": s["ssm_state"], "ssm.group_count": s["ssm_groups"],
        "ssm.time_step_rank": s["ssm_heads"], "ssm.inner_size": inner,
    }  # fmt: skip


def recurrent(arch: str, x: F64, b: dict[str, F32], s: Mapping[str, int], linear: Linear) -> F64:
    """What the recurrent part of a layer makes of its normed input."""
    if arch in SHORT_CONVS:
        first, gate, value = np.split(linear(x, b, "shortconv.in_proj"), 3, axis=1)
        return linear(gate * convolve(first * value, b["shortconv.conv"]), b, "shortconv.out_proj")
    y = delta_net(arch, x, b, s, linear) if arch in DELTA_NETS else mamba2(x, b, s, linear)
    return linear(y, b, "ssm_out")


def convolve(x: F64, weight: F32, bias: F32 | float = 0) -> F64:
    """x [n, channels], weight [channels, width]: each output is made of the last inputs of its channel."""
    width = weight.shape[1]
    padded = np.concatenate([np.zeros((width - 1, x.shape[1])), x])
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    out: F64 = (windows * weight).sum(-1) + bias
    return out


def silu(x: F64) -> F64:
    return x * sigmoid(x)


def softplus(x: F64) -> F64:
    out: F64 = np.logaddexp(0, x)
    return out


def unit(x: F64, eps: float = 1e-5) -> F64:
    out: F64 = x / np.sqrt((x * x).sum(-1, keepdims=True) + eps)
    return out


def delta_net(arch: str, x: F64, b: dict[str, F32], s: Mapping[str, int], linear: Linear) -> F64:
    n, heads, groups, d = len(x), s["ssm_heads"], s["ssm_groups"], s["ssm_state"]
    per_key = heads // groups
    conv = silu(convolve(linear(x, b, "attn_qkv"), b["ssm_conv1d"]))
    q, k, v = (part.reshape(n, -1, d) for part in np.split(conv, [groups * d, 2 * groups * d], axis=1))
    q, k = unit(q) / np.sqrt(d), unit(k)
    if arch == "qwen3next":
        beta, alpha = np.split(linear(x, b, "ssm_ba").reshape(n, groups, 2 * per_key), 2, axis=2)
        beta, alpha = beta.reshape(n, heads), alpha.reshape(n, heads)
        q, k = np.repeat(q, per_key, axis=1), np.repeat(k, per_key, axis=1)
    else:
        beta, alpha = linear(x, b, "ssm_beta"), linear(x, b, "ssm_alpha")
        q, k = np.tile(q, (1, per_key, 1)), np.tile(k, (1, per_key, 1))
    decay, rate = np.exp(b["ssm_a"] * softplus(alpha + b["ssm_dt.bias"])), sigmoid(beta)
    state, out = np.zeros((heads, d, d)), np.empty((n, heads, d))
    for t in range(n):
        state *= decay[t][:, None, None]
        new = rate[t][:, None] * (v[t] - np.einsum("hkv,hk->hv", state, k[t]))
        state += np.einsum("hk,hv->hkv", k[t], new)
        out[t] = np.einsum("hkv,hk->hv", state, q[t])
    normed = out / np.sqrt((out * out).mean(-1, keepdims=True) + 1e-5) * b["ssm_norm"]
    gated: F64 = normed.reshape(n, -1) * silu(linear(x, b, "attn_gate"))
    return gated


def mamba2(x: F64, b: dict[str, F32], s: Mapping[str, int], linear: Linear) -> F64:
    n, heads, groups, d, inner = len(x), s["ssm_heads"], s["ssm_groups"], s["ssm_state"], s["ssm_inner"]
    channels = inner + 2 * groups * d
    z, conv, dt = np.split(linear(x, b, "ssm_in"), [inner, inner + channels], axis=1)
    conv = silu(convolve(conv, b["ssm_conv1d"], b.get("ssm_conv1d.bias", 0)))
    value, key, query = np.split(conv, [inner, inner + groups * d], axis=1)
    value = value.reshape(n, heads, -1)
    key, query = (np.repeat(part.reshape(n, groups, d), heads // groups, axis=1) for part in (key, query))
    dt = softplus(dt + b["ssm_dt.bias"])
    state, out = np.zeros((heads, d, inner // heads)), np.empty_like(value)
    for t in range(n):
        state *= np.exp(dt[t] * b["ssm_a"][:, 0])[:, None, None]
        state += np.einsum("hk,hv->hkv", key[t], dt[t][:, None] * value[t])
        out[t] = np.einsum("hkv,hk->hv", state, query[t]) + b["ssm_d"] * value[t]
    y = (out.reshape(n, -1) * silu(z)).reshape(n, groups, -1)
    if "ssm_norm" in b:
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + 1e-5) * b["ssm_norm"]
    return y.reshape(n, -1)
