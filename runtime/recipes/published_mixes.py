"""Mixtures of published files: DynamicGate's, and those of the model cards; and `MIXES`, every mixture by its name.

llama-quantize's own (Q4_K_M, IQ2_XS, ...) are `file_types.py`.
"""

from collections.abc import Mapping

from subbyte.kernels import FORMATS
from subbyte.runtime.recipes.file_types import FILE_TYPES, FileType, TensorContext, fitting

__all__ = ["MIXES", "TensorContext"]

EMBEDDINGS = ("token_embd", "output")


def _pure(type: str) -> FileType:
    """One type for all but the output matrix, which is Q6_K: what kernels are measured with."""
    return lambda context: fitting("Q6_K" if context.kind == "output" or _is_head(context) else type, context.row)


def _is_head(context: TensorContext) -> bool:
    return context.tied and context.category == "token_embd"


def _with_embeddings(type: str, default: FileType) -> FileType:
    """A file type with embeddings and output of a given type, as llama-quantize's flags set it."""
    return lambda context: type if context.category in EMBEDDINGS else default(context)


def _dynamic_gate(base: str, *, output: str, edge: str, middle: str) -> FileType:
    """The rule of Mungert's DynamicGate files: ffn_down is finer in the outer quarters of the layers.

    output: the type of attn_output, and of attn_v where fewer than 4 heads share one.
    """

    def choose(context: TensorContext) -> str:
        quarter = context.count // 4
        outer = context.position < quarter or context.position >= context.count - quarter
        special = {
            "attn_v": "IQ4_XS" if context.gqa_ge_4 else output,
            "attn_output": output,
            "ffn_down": edge if outer else middle,
        }
        return fitting(special.get(context.category, base), context.row)

    return _with_embeddings("Q5_K", choose)


_COARSE = {"output": "IQ3_S", "edge": "IQ3_S", "middle": "IQ2_XXS"}
_FINE = {"output": "IQ3_S", "edge": "IQ4_XS", "middle": "IQ3_S"}

# Of the files that Mungert publishes, by the end of their names; those of IQ1 and IQ2 are DynamicGate's.
_CARDS = {
    "bf16": FILE_TYPES["BF16"],
    "f16": FILE_TYPES["F16"],
    "bf16-q8_0": _with_embeddings("BF16", FILE_TYPES["Q8_0"]),
    "f16-q8_0": _with_embeddings("F16", FILE_TYPES["Q8_0"]),
    "q8_0": FILE_TYPES["Q8_0"],
    "q6_k": _with_embeddings("Q8_0", FILE_TYPES["Q6_K"]),
    "q4_k": _with_embeddings("Q8_0", FILE_TYPES["Q4_K_M"]),
    "q4_k_s": FILE_TYPES["Q4_K_S"],
    "q4_0": lambda context: fitting("Q4_0", context.row),
    "iq4_nl": FILE_TYPES["IQ4_NL"],
    "iq3_xs": FILE_TYPES["IQ3_XS"],
    "iq3_m": FILE_TYPES["IQ3_M"],
}

MIXES: Mapping[str, FileType] = {
    **{name: _pure(name) for name in FORMATS},
    **{f"{name}-mix" if name in FORMATS else name: mix for name, mix in FILE_TYPES.items()},
    **{f"card-{name}": mix for name, mix in _CARDS.items()},
    "DynamicGate-IQ1_S": _dynamic_gate("IQ1_S", **{**_COARSE, "output": "IQ3_XXS"}),
    "DynamicGate-IQ1_M": _dynamic_gate("IQ1_M", **{**_COARSE, "output": "IQ3_XXS"}),
    "DynamicGate-IQ2_XXS": _dynamic_gate("IQ2_XXS", **_COARSE),
    "DynamicGate-IQ2_XS": _dynamic_gate("IQ2_XS", **_COARSE),
    "DynamicGate-IQ2_S": _dynamic_gate("IQ2_XS", **_FINE),
    "DynamicGate-IQ2_M": _dynamic_gate("IQ2_S", **_FINE),
}
"""Every block type; llama-quantize's file types, with -mix where a block type has the name; published files'."""
