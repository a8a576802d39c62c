"""subbyte runs GGUF language models on a CPU, straight from their quantized blocks.

    import subbyte as sb
    model = sb.load("smollm2")
    with model.chat() as chat:
        for event in chat.stream("Why is the sky blue?"):
            if isinstance(event, sb.TextDelta):
                print(event.text, end="", flush=True)

Names are imported when they are first used, so that `import subbyte` costs nothing. `__init__.pyi` tells type checkers
what they are.
"""

from importlib import import_module
from typing import TYPE_CHECKING

_NAMES = {
    "errors": (
        "ConstraintError ContextOverflow FileExists FormatError ModelChanged ModelNotFound ModelRefused NumericError "
        "QueueFull ResourceError SessionBusy StepCancelled SubbyteError TemplateError TokenizerError UnfitAnswer "
        "UnsupportedError"
    ),
    "runtime.bench.bench": "BenchMeasurement BenchResult bench",
    "runtime.chat.chat": "Chat",
    "runtime.chat.messages": "Message",
    "runtime.chat.presets": "Preset",
    "runtime.chat.settings": "ChatSettings",
    "runtime.chat.turns": "Forgotten",
    "runtime.choices.choices": "ChoicesMeasurement choices",
    "runtime.choices.result": "ChoicesDelta ChoicesResult ChoicesRun",
    "runtime.compare.attribution": "AttributionMeasurement AttributionProgress blame",
    "runtime.compare.attribution_result": "Attribution Sensitivity",
    "runtime.compare.base_file": "BaseFile",
    "runtime.compare.compare": "CompareMeasurement CompareProgress compare",
    "runtime.compare.layers": "LayerError",
    "runtime.compare.result": "CompareRun",
    "runtime.distributed.answer_rows": "ChatRows GenerateRows",
    "runtime.distributed.on_ray": "RayWorkers",
    "runtime.distributed.score_rows": "EmbedRows ScoreRows",
    "runtime.evaluation.divergence": "Divergence PartDivergence",
    "runtime.evaluation.options": "EvalOptions",
    "runtime.evaluation.perplexity": "ChunkResult PerplexityMeasurement perplexity",
    "runtime.evaluation.perplexity_result": "Delta PartPerplexity PerplexityResult PerplexityRun",
    "runtime.evaluation.proportions": "Paired",
    "runtime.evaluation.scored": "ScoredTokens",
    "runtime.evaluation.statistics": "Estimate Interval",
    "runtime.evaluation.texts": "Conversations",
    "runtime.generation.events": (
        "Done Event PrefillProgress Reply StopReason TextDelta ThinkingDelta Timings TokenLogprob TopLogprob Usage"
    ),
    "runtime.generation.generation": "Generation",
    "runtime.generation.sampling": "Sampling",
    "runtime.gguf.model_file": "GGUF",
    "runtime.grammar.constraint": "Constraint",
    "runtime.imatrix.collect": "ImatrixMeasurement imatrix",
    "runtime.imatrix.imatrix": "Imatrix",
    "runtime.imatrix.merge": "merge_imatrices",
    "runtime.imatrix.statistics": "GroupStatistics ImatrixStatistics TensorStatistics imatrix_statistics",
    "runtime.inspect.diff": "Diff diff",
    "runtime.inspect.heatmap": "Heatmap heatmap",
    "runtime.measurement": "Step",
    "runtime.loading": "load",
    "runtime.model": "Model",
    "runtime.opened_model": "ModelInfo",
    "runtime.quantize.quantize": "quantize quantize_all",
    "runtime.recipes.recipe": "Recipe",
    "runtime.quantize.result": "Quantized",
    "runtime.report.report": "ReportMeasurement report",
    "runtime.report.result": "Report ReportRow",
    "runtime.rewrite.merge": "MergedModel merge",
    "runtime.rewrite.set_metadata": "ChangedMetadata MetadataChange set_metadata",
    "runtime.rewrite.split": "SplitModel SplitPart split",
    "runtime.scheduler.scheduler": "Scheduler SchedulerUse",
    "runtime.scoring.choice": "Choice",
    "runtime.scoring.score": "Score",
    "runtime.search.result": "FoundRecipe RecipeSearch",
    "runtime.search.search": "RecipeSearchMeasurement search_recipes",
    "runtime.session.prefixes": "Pin",
    "runtime.session.session": "Session",
    "runtime.toolcheck.answers": "CaseAnswer",
    "runtime.toolcheck.result": "CaseOutcome ToolcheckRun",
    "runtime.toolcheck.toolcheck": "ToolcheckMeasurement toolcheck",
    "runtime.tools.call": "ToolCall",
    "runtime.tools.tool": "Tool",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = list(_HOME)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # a checker that sees it takes any name for one of the package

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'subbyte' has no attribute {name!r}")
        return getattr(import_module(f"subbyte.{_HOME[name]}"), name)
