"""Hyper-parameters of real models, as their files give them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subbyte.runtime.recipes.file_types import is_70b
from subbyte.runtime.recipes.matrices import ModelTraits


class ExpertShape(NamedTuple):
    """Routed experts of a layer. n_used: those of a token. n_ff: of each; n_ff_shared: of those of all tokens.

    weights_scale: of the weights of the chosen, which are sigmoids then, with a bias for choosing; None: of a softmax.
    """

    n_expert: int
    n_used: int
    n_ff: int
    n_ff_shared: int = 0
    weights_scale: float | None = None


class LatentShape(NamedTuple):
    """Multi-head latent attention. Ranks are those of the queries' maps and of the vector that is cached for all heads.

    A head has n_nope + n_rot values, of which rope turns the last, in its queries and keys, and n_value in its values.
    """

    q_rank: int
    kv_rank: int
    n_nope: int
    n_rot: int
    n_value: int


class DeltaNetShape(NamedTuple):
    """Gated delta net. n_head_k: heads of queries and of keys; n_head_v: of values; kernel: inputs of a convolution."""

    n_head_k: int
    n_head_v: int
    head_dim: int = 128
    kernel: int = 4

    @property
    def n_convolved(self) -> int:
        """Channels of queries, keys and values."""
        return (2 * self.n_head_k + self.n_head_v) * self.head_dim


class ShortConvShape(NamedTuple):
    """Gated short convolution over as many channels as a token has. kernel: its inputs."""

    kernel: int


class LocalShape(NamedTuple):
    """Gemma 4's layers that see a window alone, with heads of their own length."""

    window: int
    head_dim: int


class LayerShape(NamedTuple):
    """n_head: 0 for a layer without attention. n_ff: of a dense feed-forward part, 0 for none.

    state: what a layer has in the place of attention. local: of one with a window, where its heads differ from those of
    others. own_keys: whether it has keys and values, and does not attend to those of an earlier layer.
    """

    n_head: int
    n_head_kv: int
    n_ff: int
    experts: ExpertShape | None = None
    state: DeltaNetShape | ShortConvShape | None = None
    local: LocalShape | None = None
    own_keys: bool = True


class VocabularySize(NamedTuple):
    """pre: the rule that cuts text. n_special: tokens that are control tokens or stand for none, at the end."""

    pre: str
    n_tokens: int
    n_special: int
    n_merges: int


@dataclass(frozen=True)
class Shape:
    """Of a model as its `architecture` has it. All layers with experts have as many.

    head_dim: of what is cached, where attention is latent. rope_factor: what Llama 3.1's rule stretches low frequencies
    by; yarn_factor: what YaRN does. n_rot: the values of a head that rope turns, where they are not all; n_turned: of
    how many they turn by more than nothing. n_embd_layer: values of a token's embedding for each layer.
    """

    name: str
    architecture: str
    layers: tuple[LayerShape, ...]
    n_embd: int
    head_dim: int
    vocabulary: VocabularySize
    n_ctx_train: int
    freq_base: float
    eps: float
    tied: bool = False
    rope_factor: float | None = None
    yarn_factor: float | None = None
    n_rot: int | None = None
    n_turned: int | None = None
    n_embd_layer: int = 0
    latent: LatentShape | None = None

    @property
    def listed(self) -> tuple[str, ...]:
        """Of n_head, n_head_kv and n_ff those of which a file has one for each layer."""
        return {"deci": ("n_head", "n_head_kv", "n_ff"), "lfm2": ("n_head_kv",)}.get(self.architecture, ())

    @property
    def gqa(self) -> int:
        """Query heads that share a KV head, which is what quantizers look at: of layer 0, where each has its own."""
        layer = self.layers[0] if "n_head_kv" in self.listed else max(self.layers, key=lambda layer: layer.n_head)
        return layer.n_head // layer.n_head_kv if layer.n_head_kv else 0

    @property
    def experts(self) -> ExpertShape | None:
        """Of the layers that have them."""
        return next((layer.experts for layer in self.layers if layer.experts), None)

    @property
    def delta_net(self) -> DeltaNetShape | None:
        """Of the layers that have one."""
        return next((layer.state for layer in self.layers if isinstance(layer.state, DeltaNetShape)), None)

    @property
    def short_conv(self) -> ShortConvShape | None:
        """Of the layers that have one."""
        return next((layer.state for layer in self.layers if isinstance(layer.state, ShortConvShape)), None)

    @property
    def n_dense(self) -> int:
        """Layers at the start that have no experts, where others have."""
        return next((i for i, layer in enumerate(self.layers) if layer.experts), 0)

    @property
    def traits(self) -> ModelTraits:
        """What decides about its types."""
        n_layer, n_expert = len(self.layers), self.experts.n_expert if self.experts else 0
        return ModelTraits(n_layer, self.gqa, is_70b(self.architecture, n_layer, self.gqa, n_expert), n_expert)

    @property
    def local(self) -> LocalShape | None:
        """Of the layers that have a window."""
        return next((layer.local for layer in self.layers if layer.local), None)

    def rope_freqs(self) -> NDArray[np.float32] | None:
        """What divides the frequency of each pair, float32 [head_dim / 2]; None for no such tensor.

        Llama 3.1's rule for a context of 8192: waves that fit four times into it stay, those that do not fit once are
        stretched by rope_factor. Gemma 4's: the first n_turned / 2 turn, the others by as good as nothing.
        """
        if self.n_turned is not None:
            pair = np.arange(self.head_dim // 2)
            return np.where(pair < self.n_turned // 2, 1, 1e30).astype(np.float32)
        if self.rope_factor is None:
            return None
        waves = 2 * np.pi * self.freq_base ** (np.arange(0, self.head_dim, 2) / self.head_dim)
        kept = np.clip((8192 / waves - 1) / (4 - 1), 0, 1)
        return (1 / ((1 - kept) / self.rope_factor + kept)).astype(np.float32)


LLAMA_3 = VocabularySize("llama-bpe", 128256, 256, 280147)
QWEN_2 = VocabularySize("qwen2", 151936, 293, 151387)
GPT_4O = VocabularySize("gpt-4o", 201088, 1090, 446189)
# Of config.json are the numbers of tokens alone. Merges: as many as tokens of several bytes.
QWEN_35 = VocabularySize("qwen35", 248320, 276, 247788)
LFM_2 = VocabularySize("lfm2", 65536, 1136, 64144)
GEMMA_4 = VocabularySize("qwen2", 262144, 256, 261632)
GLM_4 = VocabularySize("glm4", 154880, 60, 321649)
SMALL = VocabularySize("qwen2", 4096, 2, 6000)  # of no real model
EXAONE_3 = VocabularySize("exaone", 102400, 362, 101782)  # merges: as many as tokens of several bytes


def _same(n_layer: int, n_head: int, n_head_kv: int, n_ff: int) -> tuple[LayerShape, ...]:
    return (LayerShape(n_head, n_head_kv, n_ff),) * n_layer


def _sparse(n_layer: int, n_head: int, n_head_kv: int, experts: ExpertShape) -> tuple[LayerShape, ...]:
    return (LayerShape(n_head, n_head_kv, 0, experts),) * n_layer


def _nemotron_49b() -> tuple[LayerShape, ...]:
    """NVIDIA's config.json: of Llama-3.3-70B's 80 layers 49 have kept their attention; feed-forward parts shrank."""
    n_ff = [
        14336, *[28672] * 5, 14336, 14336, *[28672] * 3, 17920, *[28672] * 30,
        7168, 14336, 14336, 7168, 28672, 7168, 14336, 7168, 7168, 7168, 28672,
        7168, 5632, 5632, 7168, 5632, 5632, 5632, 7168, 7168, 2816, 2816, 5632, 5632, 2816, 2816, 5632, 2816, 2816,
        *[28672] * 9,
    ]  # fmt: skip
    without = {6, 7, 11, *range(42, 52), *range(53, 71)}
    return tuple(LayerShape(0, 0, n) if i in without else LayerShape(64, 8, n) for i, n in enumerate(n_ff))


def _qwen35(n_layer: int, delta_net: DeltaNetShape, attention: LayerShape) -> tuple[LayerShape, ...]:
    """Three layers of delta net to one of attention."""
    linear = attention._replace(n_head=0, n_head_kv=0, state=delta_net)
    return (linear, linear, linear, attention) * (n_layer // 4)


def _lfm2_1_2b() -> tuple[LayerShape, ...]:
    """LiquidAI's config.json, full_attn_idxs; of its block_ff_dim of 12288 two thirds, block_auto_adjust_ff_dim."""
    attention, convolution = LayerShape(32, 8, 8192), LayerShape(0, 0, 8192, state=ShortConvShape(3))
    return tuple(attention if i in (2, 5, 8, 10, 12, 14) else convolution for i in range(16))


def _gemma4_e4b() -> tuple[LayerShape, ...]:
    """Google's config.json: of each six layers the last sees all; num_kv_shared_layers is 18."""
    attention = LayerShape(8, 2, 10240)
    local = attention._replace(local=LocalShape(512, 256))
    layers = (*[local] * 5, attention) * 7
    return tuple(layer._replace(own_keys=i < 42 - 18) for i, layer in enumerate(layers))


def _glm_4_7_flash() -> tuple[LayerShape, ...]:
    """zai-org/GLM-4.7-Flash's config.json: one dense layer, then 64 experts and a shared one."""
    return LayerShape(20, 1, 10240), *_sparse(46, 20, 1, ExpertShape(64, 4, 1536, 1536, 1.8))


# Qwen's model cards: heads of attention and of delta net, layers, hidden and intermediate dimensions.
_QWEN35_08B = _qwen35(24, DeltaNetShape(16, 16), LayerShape(8, 2, 3584))
_QWEN35_4B = _qwen35(32, DeltaNetShape(16, 32), LayerShape(16, 4, 9216))
_QWEN35_35B = _qwen35(40, DeltaNetShape(16, 32), LayerShape(16, 2, 0, ExpertShape(256, 8, 512, 512)))
_QWEN3_30B = _sparse(48, 32, 4, ExpertShape(128, 8, 768))
_GPT_OSS_20B = _sparse(24, 64, 8, ExpertShape(32, 4, 2880))
_SMALL_MOE = _sparse(4, 8, 2, ExpertShape(16, 4, 256))

SHAPES = {
    shape.name: shape
    for shape in (
        Shape("llama-3.2-1b", "llama", _same(16, 32, 8, 8192), 2048, 64, LLAMA_3, 131072, 5e5, 1e-5, True, 32.0),
        Shape("llama-3-8b", "llama", _same(32, 32, 8, 14336), 4096, 128, LLAMA_3, 8192, 5e5, 1e-5),
        Shape("llama-3.1-8b", "llama", _same(32, 32, 8, 14336), 4096, 128, LLAMA_3, 131072, 5e5, 1e-5, rope_factor=8.0),
        Shape("qwen3-14b", "qwen3", _same(40, 40, 8, 17408), 5120, 128, QWEN_2, 40960, 1e6, 1e-6),
        Shape("exaone-7.8b", "exaone", _same(32, 32, 8, 14336), 4096, 128, EXAONE_3, 32768, 1e6, 1e-5, rope_factor=8.0),
        Shape("qwen3-30b-a3b", "qwen3moe", _QWEN3_30B, 2048, 128, QWEN_2, 40960, 1e6, 1e-6),
        Shape("gpt-oss-20b", "gpt-oss", _GPT_OSS_20B, 2880, 64, GPT_4O, 131072, 1.5e5, 1e-5, yarn_factor=32.0),
        Shape("qwen3.5-0.8b", "qwen35", _QWEN35_08B, 1024, 256, QWEN_35, 262144, 1e7, 1e-6, True, n_rot=64),
        Shape("qwen3.5-4b", "qwen35", _QWEN35_4B, 2560, 256, QWEN_35, 262144, 1e7, 1e-6, True, n_rot=64),
        Shape("qwen3.5-35b-a3b", "qwen35moe", _QWEN35_35B, 2048, 256, QWEN_35, 262144, 1e7, 1e-6, n_rot=64),
        Shape("lfm2-1.2b", "lfm2", _lfm2_1_2b(), 2048, 64, LFM_2, 128000, 1e6, 1e-5, True),
        Shape(
            "gemma4-e4b",
            "gemma4",
            _gemma4_e4b(),
            2560,
            512,
            GEMMA_4,
            131072,
            1e6,
            1e-6,
            True,
            n_turned=128,
            n_embd_layer=256,
        ),
        Shape(
            "glm-4.7-flash",
            "deepseek2",
            _glm_4_7_flash(),
            2048,
            576,
            GLM_4,
            202752,
            1e6,
            1e-5,
            latent=LatentShape(768, 512, 192, 64, 256),
        ),
        Shape("small-moe", "qwen3moe", _SMALL_MOE, 512, 64, SMALL, 4096, 1e6, 1e-6),
        Shape("nemotron-49b", "deci", _nemotron_49b(), 8192, 128, LLAMA_3, 131072, 5e5, 1e-5, rope_factor=8.0),
    )
}
