"""llama-quantize's file types: which block type each matrix of a model takes, as one table.

The rules are those of llama.cpp (`src/llama-quant.cpp`, 2026); see `TensorContext`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from subbyte.kernels import FORMATS

FLOATS = frozenset({"F32", "F16", "BF16"})


@dataclass(frozen=True)
class TensorContext:
    """A matrix's kind and position, and what of its model decides about its type.

    kind: `attn_q`, … or `output`, `token_embd`. index, count: how many of its category come before it, and are in all;
    a layer without attention has no attn_v to count, but `count` of ffn_down is the number of layers. row: weights in a
    row. gqa: query heads of layer 0 that share a KV head. tied: the embeddings are the head, too. is_70b: llama.cpp
    takes the model for a 70B. imatrix: importances are known. n_expert: 0 for a dense model. layer: of its name.
    """

    kind: str
    index: int
    count: int
    row: int
    gqa: int = 4
    tied: bool = False
    is_70b: bool = False
    imatrix: bool = True
    n_expert: int = 0
    layer: int | None = None

    @property
    def category(self) -> str:
        """What the rules call it; see `category`."""
        return category(self.kind)

    @property
    def position(self) -> int:
        """Where it is out of `count`. In a mixture a layer may hold two of a category, so that its number is taken."""
        if self.n_expert > 1 and self.layer is not None and self.category.startswith("ffn_"):
            return self.layer
        return self.index

    @property
    def early(self) -> bool:
        """In the first eighth."""
        return self.position < self.count // 8

    @property
    def late(self) -> bool:
        """In the last eighth."""
        return self.position >= 7 * self.count // 8

    @property
    def use_more_bits(self) -> bool:
        """At both ends, where errors hurt most, and every third between them: half of all."""
        return self.early or self.late or (self.position - self.count // 8) % 3 == 2

    @property
    def eight_experts(self) -> bool:
        """Mixtral's number, which llama.cpp knows a model by whose attention is small beside its experts."""
        return self.n_expert == 8

    @property
    def gqa_ge_4(self) -> bool:
        """So many query heads share a KV head that attn_v is small, and more bits for it cost little."""
        return self.gqa >= 4


def category(kind: str) -> str:
    """Kinds that share their rules: `ffn_down` of dense layers, of experts, of shared ones; `attn_v`, fused or not.

    What a delta net convolves is named `attn_qkv`, too; embeddings of layers are embeddings.
    """
    if kind in ("attn_qkv", "attn_kv_b"):
        return "attn_v"
    if kind == "per_layer_token_embd":
        return "token_embd"
    return next((dense for dense in ("ffn_up", "ffn_gate", "ffn_down") if kind.startswith(dense)), kind)


def is_70b(architecture: str, n_layer: int, gqa: int, n_expert: int = 0) -> bool:
    """Whether llama.cpp takes a model for a 70B, by its number of layers; the first Llama's 65B had as many."""
    llama = architecture == "llama" and gqa > 1 and n_expert != 8
    return n_layer == 80 and (architecture in ("qwen2", "deci") or llama)


FileType = Callable[[TensorContext], str]
FileTypeRule = Callable[[TensorContext], "str | None"]
"""A type, or None for that of most matrices."""

# What rows that are no multiple of 256 take instead, since their blocks are smaller.
_SMALLER_BLOCKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip


def fitting(type: str, row: int) -> str:
    """The type, or what llama-quantize takes instead for a row that its blocks do not fill."""
    if row % FORMATS[type].block_size:
        type = _SMALLER_BLOCKS.get(type, "F16")
    return "F16" if row % FORMATS[type].block_size else type


def _file_type(base: str, *, head: str = "Q6_K", **rules: str | FileTypeRule) -> FileType:
    """Matrices have the type `base`, but for those that a rule names. head: of the output, which token_embd may be."""

    def choose(context: TensorContext) -> str:
        kind = context.category
        if kind == "output" or (kind == "token_embd" and context.tied):
            return fitting("Q8_0" if context.row % FORMATS[base].block_size else head, context.row)
        rule = rules.get(kind)
        type = (rule(context) if callable(rule) else rule) or base
        if not base.startswith(("IQ1", "IQ2")) and FORMATS[base].block_size > 1:
            if kind in ("attn_k", "attn_v") and context.eight_experts:
                type = "Q8_0"
            elif kind == "attn_v" and context.is_70b and type in ("Q3_K", "Q4_K"):
                type = "Q5_K"
        return fitting(type, context.row)

    return choose


def _coarse(base: str, finer: str, embeddings: str, attn_output: str | None = None) -> FileType:
    """The file types below three bits. finer: in the first eighth, and where attn_v is not small."""
    return _file_type(
        base, head="Q5_K", token_embd=embeddings,
        attn_v=lambda p: "Q4_K" if p.gqa_ge_4 or p.n_expert >= 4 else finer,
        attn_k=lambda p: "Q4_K" if p.eight_experts else None,
        attn_output=lambda p: "Q5_K" if p.eight_experts else attn_output,
        ffn_down=lambda p: finer if p.index < p.count // 8 else None,
    )  # fmt: skip


def _floats_or_bytes(type: str) -> FileType:
    return _file_type(type, head=type)


def _q4_k_if_gqa_ge_4(context: TensorContext) -> str | None:
    return "Q4_K" if context.gqa_ge_4 else None


def _q5_k_if_eight_experts(otherwise: str | None = None) -> FileTypeRule:
    return lambda context: "Q5_K" if context.eight_experts else otherwise


def _mxfp4_moe(context: TensorContext) -> str:
    """gpt-oss's: experts as they were trained, and bytes for all else; llama.cpp takes maps of heads for experts."""
    return fitting("MXFP4" if context.kind.endswith(("_exps", "attn_k_b", "attn_v_b")) else "Q8_0", context.row)


def _iq4(base: str) -> FileType:
    return _file_type(
        base, attn_v=lambda p: "Q5_K" if p.gqa_ge_4 else None, attn_output=_q5_k_if_eight_experts(),
        ffn_down=lambda p: "Q5_K" if p.early and not p.imatrix else None,
    )  # fmt: skip


def _middle(context: TensorContext) -> str | None:
    return None if context.early or context.late else "IQ3_XXS"


def _q6_k_if_use_more_bits(context: TensorContext) -> str | None:
    return "Q6_K" if context.use_more_bits else None


FILE_TYPES: Mapping[str, FileType] = {
    **{name: _floats_or_bytes(name) for name in ("F32", "F16", "BF16", "Q8_0")},
    "Q4_0": _file_type("Q4_0", ffn_down=lambda p: "Q4_1" if p.early and p.imatrix else None),
    "Q4_1": _file_type("Q4_1"),
    "Q5_0": _file_type("Q5_0", ffn_down=lambda p: "Q5_1" if p.early and p.imatrix else None),
    "Q5_1": _file_type("Q5_1"),
    "Q2_K_S": _file_type("Q2_K", attn_v=_q4_k_if_gqa_ge_4,
                         ffn_down=lambda p: "Q4_K" if p.early else None),
    "Q2_K": _file_type("Q2_K", attn_v=lambda p: "Q4_K" if p.gqa_ge_4 else "Q3_K", ffn_down="Q3_K",
                       attn_output=_q5_k_if_eight_experts("Q3_K")),
    "Q3_K_S": _file_type("Q3_K", attn_output=_q5_k_if_eight_experts()),
    "Q3_K_M": _file_type("Q3_K", attn_v=lambda p: "Q5_K" if p.index < 2 else "Q4_K",
                         attn_output=_q5_k_if_eight_experts("Q4_K"),
                         ffn_down=lambda p: "Q5_K" if p.position < p.count // 16 else "Q4_K"),
    "Q3_K_L": _file_type("Q3_K", attn_v="Q5_K", ffn_down="Q5_K",
                         attn_output=lambda p: None if p.eight_experts else "Q5_K"),
    "Q4_K_S": _file_type("Q4_K", attn_v=lambda p: "Q5_K" if p.index < 4 else None,
                         attn_output=_q5_k_if_eight_experts(),
                         ffn_down=lambda p: "Q5_K" if p.early else None),
    "Q4_K_M": _file_type("Q4_K", attn_v=_q6_k_if_use_more_bits, attn_output=_q5_k_if_eight_experts(),
                         ffn_down=_q6_k_if_use_more_bits),
    "Q5_K_S": _file_type("Q5_K"),
    "Q5_K_M": _file_type("Q5_K", attn_v=_q6_k_if_use_more_bits, ffn_down=_q6_k_if_use_more_bits),
    "Q6_K": _file_type("Q6_K"),
    "TQ1_0": _file_type("TQ1_0", token_embd="Q4_K"),
    "TQ2_0": _file_type("TQ2_0", token_embd="Q4_K"),
    "IQ1_S": _coarse("IQ1_S", "Q2_K", "Q2_K", attn_output="IQ2_XXS"),
    "IQ1_M": _coarse("IQ1_M", "Q2_K", "Q2_K", attn_output="IQ2_XXS"),
    "IQ2_XXS": _coarse("IQ2_XXS", "Q2_K", "Q2_K"),
    "IQ2_XS": _coarse("IQ2_XS", "Q2_K", "Q2_K"),
    "IQ2_S": _coarse("IQ2_XS", "IQ3_S", "IQ3_S", attn_output="IQ3_S"),
    "IQ2_M": _coarse("IQ2_S", "IQ3_S", "IQ3_S", attn_output="IQ3_S"),
    "IQ3_XXS": _file_type("IQ3_XXS", head="Q5_K", token_embd="IQ3_S", attn_q="IQ2_S", attn_k="IQ2_S",
                          attn_v=lambda p: "Q4_K" if p.gqa_ge_4 else None if p.imatrix else "IQ3_S",
                          attn_output=_q5_k_if_eight_experts("IQ3_S"),
                          ffn_down=lambda p: None if p.imatrix else "Q4_K" if p.early else "Q3_K"),
    "IQ3_XS": _file_type("IQ3_S", attn_q="IQ3_XXS", attn_k="IQ3_XXS", attn_v=_q4_k_if_gqa_ge_4,
                         attn_output=_q5_k_if_eight_experts(), ffn_gate=_middle, ffn_up=_middle),
    "IQ3_S": _file_type("IQ3_S", attn_v=_q4_k_if_gqa_ge_4, attn_output=_q5_k_if_eight_experts()),
    "IQ3_M": _file_type("IQ3_S", attn_v="Q4_K", attn_output=_q5_k_if_eight_experts("Q4_K"),
                        ffn_down=lambda p: "Q4_K" if p.early or (p.eight_experts and p.use_more_bits) else None),
    "IQ4_NL": _iq4("IQ4_NL"),
    "IQ4_XS": _iq4("IQ4_XS"),
    "MXFP4_MOE": _mxfp4_moe,
}  # fmt: skip
"""By the names that llama-quantize knows them by (its Q3_K, Q4_K and Q5_K are Q3_K_M, Q4_K_M and Q5_K_M)."""
