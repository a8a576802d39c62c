"""subbyte runs GGUF language models on a CPU, straight from their quantized blocks.

    import subbyte as sb
    model = sb.load("smollm2")
    with model.chat() as chat:
        for event in chat.stream("Why is the sky blue?"):
            if isinstance(event, sb.TextDelta):
                print(event.text, end="", flush=True)

Names are imported when they are first used, so that `import subbyte` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from subbyte.errors import (
    ContextOverflow,
    FormatError,
    ModelChanged,
    ModelNotFound,
    ModelRefused,
    NumericError,
    ResourceError,
    SessionBusy,
    SubbyteError,
    TemplateError,
    TokenizerError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from subbyte.runtime.bench.bench import BenchResult, bench
    from subbyte.runtime.chat.chat import Chat
    from subbyte.runtime.chat.messages import Message
    from subbyte.runtime.chat.presets import Preset
    from subbyte.runtime.compare.attribution import blame
    from subbyte.runtime.compare.attribution_result import Blame, BlameRun
    from subbyte.runtime.compare.base_file import BaseFile
    from subbyte.runtime.compare.compare import compare
    from subbyte.runtime.compare.layers import LayerError
    from subbyte.runtime.compare.result import CompareRun
    from subbyte.runtime.evaluation.divergence import Divergence, Estimate
    from subbyte.runtime.evaluation.perplexity import perplexity
    from subbyte.runtime.evaluation.perplexity_result import Delta, PerplexityResult, PerplexityRun
    from subbyte.runtime.evaluation.statistics import Interval
    from subbyte.runtime.generation.events import Done, Event, PrefillProgress, Reply, TextDelta, ThinkingDelta
    from subbyte.runtime.generation.generation import Generation
    from subbyte.runtime.generation.sampling import Sampling
    from subbyte.runtime.gguf.model_file import GGUF
    from subbyte.runtime.imatrix.collect import imatrix
    from subbyte.runtime.imatrix.imatrix import Imatrix
    from subbyte.runtime.inspect.diff import Diff, diff
    from subbyte.runtime.inspect.heatmap import Heatmap, heatmap
    from subbyte.runtime.model import Model, ModelInfo, load
    from subbyte.runtime.quantize.quantize import Quantized, quantize
    from subbyte.runtime.quantize.recipe import Recipe
    from subbyte.runtime.report.report import Report, ReportRow, report
    from subbyte.runtime.score import Score
    from subbyte.runtime.session import Session

_HOME = {
    "BaseFile": "compare.base_file",
    "BenchResult": "bench.bench",
    "Blame": "compare.attribution_result",
    "BlameRun": "compare.attribution_result",
    "Chat": "chat.chat",
    "CompareRun": "compare.result",
    "Delta": "evaluation.perplexity_result",
    "Diff": "inspect.diff",
    "Divergence": "evaluation.divergence",
    "Done": "generation.events",
    "Estimate": "evaluation.divergence",
    "Event": "generation.events",
    "GGUF": "gguf.model_file",
    "Generation": "generation.generation",
    "Heatmap": "inspect.heatmap",
    "Imatrix": "imatrix.imatrix",
    "Interval": "evaluation.statistics",
    "LayerError": "compare.layers",
    "Message": "chat.messages",
    "Model": "model",
    "ModelInfo": "model",
    "PerplexityResult": "evaluation.perplexity_result",
    "PerplexityRun": "evaluation.perplexity_result",
    "PrefillProgress": "generation.events",
    "Preset": "chat.presets",
    "Quantized": "quantize.quantize",
    "Recipe": "quantize.recipe",
    "Reply": "generation.events",
    "Report": "report.report",
    "ReportRow": "report.report",
    "Sampling": "generation.sampling",
    "Score": "score",
    "Session": "session",
    "TextDelta": "generation.events",
    "ThinkingDelta": "generation.events",
    "bench": "bench.bench",
    "blame": "compare.attribution",
    "compare": "compare.compare",
    "diff": "inspect.diff",
    "heatmap": "inspect.heatmap",
    "imatrix": "imatrix.collect",
    "load": "model",
    "perplexity": "evaluation.perplexity",
    "quantize": "quantize.quantize",
    "report": "report.report",
}

__all__ = [
    "GGUF",
    "BaseFile",
    "BenchResult",
    "Blame",
    "BlameRun",
    "Chat",
    "CompareRun",
    "ContextOverflow",
    "Delta",
    "Diff",
    "Divergence",
    "Done",
    "Estimate",
    "Event",
    "FormatError",
    "Generation",
    "Heatmap",
    "Imatrix",
    "Interval",
    "LayerError",
    "Message",
    "Model",
    "ModelChanged",
    "ModelInfo",
    "ModelNotFound",
    "ModelRefused",
    "NumericError",
    "PerplexityResult",
    "PerplexityRun",
    "PrefillProgress",
    "Preset",
    "Quantized",
    "Recipe",
    "Reply",
    "Report",
    "ReportRow",
    "ResourceError",
    "Sampling",
    "Score",
    "Session",
    "SessionBusy",
    "SubbyteError",
    "TemplateError",
    "TextDelta",
    "ThinkingDelta",
    "TokenizerError",
    "UnsupportedError",
    "bench",
    "blame",
    "compare",
    "diff",
    "heatmap",
    "imatrix",
    "load",
    "perplexity",
    "quantize",
    "report",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'subbyte' has no attribute {name!r}")
    return getattr(import_module(f"subbyte.runtime.{_HOME[name]}"), name)
