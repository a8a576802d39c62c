"""The public names of subbyte, for type checkers; `__init__.py` imports them when they are first used."""

from subbyte.errors import (
    ConstraintError as ConstraintError,
    ContextOverflow as ContextOverflow,
    FileExists as FileExists,
    FormatError as FormatError,
    ModelChanged as ModelChanged,
    ModelNotFound as ModelNotFound,
    ModelRefused as ModelRefused,
    NumericError as NumericError,
    QueueFull as QueueFull,
    ResourceError as ResourceError,
    SessionBusy as SessionBusy,
    StepCancelled as StepCancelled,
    SubbyteError as SubbyteError,
    TemplateError as TemplateError,
    TokenizerError as TokenizerError,
    UnfitAnswer as UnfitAnswer,
    UnsupportedError as UnsupportedError,
)
from subbyte.runtime.bench.bench import (
    BenchMeasurement as BenchMeasurement,
    BenchResult as BenchResult,
    bench as bench,
)
from subbyte.runtime.chat.chat import Chat as Chat
from subbyte.runtime.chat.messages import Message as Message
from subbyte.runtime.chat.presets import Preset as Preset
from subbyte.runtime.chat.settings import ChatSettings as ChatSettings
from subbyte.runtime.chat.turns import Forgotten as Forgotten
from subbyte.runtime.choices.choices import ChoicesMeasurement as ChoicesMeasurement, choices as choices
from subbyte.runtime.choices.result import (
    ChoicesDelta as ChoicesDelta,
    ChoicesResult as ChoicesResult,
    ChoicesRun as ChoicesRun,
)
from subbyte.runtime.compare.attribution import (
    AttributionMeasurement as AttributionMeasurement,
    AttributionProgress as AttributionProgress,
    blame as blame,
)
from subbyte.runtime.compare.attribution_result import Attribution as Attribution, Sensitivity as Sensitivity
from subbyte.runtime.compare.base_file import BaseFile as BaseFile
from subbyte.runtime.compare.compare import (
    CompareMeasurement as CompareMeasurement,
    CompareProgress as CompareProgress,
    compare as compare,
)
from subbyte.runtime.compare.layers import LayerError as LayerError
from subbyte.runtime.compare.result import CompareRun as CompareRun
from subbyte.runtime.distributed.answer_rows import ChatRows as ChatRows, GenerateRows as GenerateRows
from subbyte.runtime.distributed.on_ray import RayWorkers as RayWorkers
from subbyte.runtime.distributed.score_rows import EmbedRows as EmbedRows, ScoreRows as ScoreRows
from subbyte.runtime.evaluation.divergence import Divergence as Divergence, PartDivergence as PartDivergence
from subbyte.runtime.evaluation.options import EvalOptions as EvalOptions
from subbyte.runtime.evaluation.perplexity import (
    ChunkResult as ChunkResult,
    PerplexityMeasurement as PerplexityMeasurement,
    perplexity as perplexity,
)
from subbyte.runtime.evaluation.perplexity_result import (
    Delta as Delta,
    PartPerplexity as PartPerplexity,
    PerplexityResult as PerplexityResult,
    PerplexityRun as PerplexityRun,
)
from subbyte.runtime.evaluation.proportions import Paired as Paired
from subbyte.runtime.evaluation.scored import ScoredTokens as ScoredTokens
from subbyte.runtime.evaluation.statistics import Estimate as Estimate, Interval as Interval
from subbyte.runtime.evaluation.texts import Conversations as Conversations
from subbyte.runtime.generation.events import (
    Done as Done,
    Event as Event,
    PrefillProgress as PrefillProgress,
    Reply as Reply,
    StopReason as StopReason,
    TextDelta as TextDelta,
    ThinkingDelta as ThinkingDelta,
    Timings as Timings,
    TokenLogprob as TokenLogprob,
    TopLogprob as TopLogprob,
    Usage as Usage,
)
from subbyte.runtime.generation.generation import Generation as Generation
from subbyte.runtime.generation.sampling import Sampling as Sampling
from subbyte.runtime.gguf.model_file import GGUF as GGUF
from subbyte.runtime.grammar.constraint import Constraint as Constraint
from subbyte.runtime.imatrix.collect import ImatrixMeasurement as ImatrixMeasurement, imatrix as imatrix
from subbyte.runtime.imatrix.imatrix import Imatrix as Imatrix
from subbyte.runtime.imatrix.merge import merge_imatrices as merge_imatrices
from subbyte.runtime.imatrix.statistics import (
    GroupStatistics as GroupStatistics,
    ImatrixStatistics as ImatrixStatistics,
    TensorStatistics as TensorStatistics,
    imatrix_statistics as imatrix_statistics,
)
from subbyte.runtime.inspect.diff import Diff as Diff, diff as diff
from subbyte.runtime.inspect.heatmap import Heatmap as Heatmap, heatmap as heatmap
from subbyte.runtime.measurement import Step as Step
from subbyte.runtime.loading import load as load
from subbyte.runtime.model import Model as Model
from subbyte.runtime.opened_model import ModelInfo as ModelInfo
from subbyte.runtime.quantize.quantize import quantize as quantize, quantize_all as quantize_all
from subbyte.runtime.recipes.recipe import Recipe as Recipe
from subbyte.runtime.quantize.result import Quantized as Quantized
from subbyte.runtime.report.report import ReportMeasurement as ReportMeasurement, report as report
from subbyte.runtime.report.result import Report as Report, ReportRow as ReportRow
from subbyte.runtime.rewrite.merge import MergedModel as MergedModel, merge as merge
from subbyte.runtime.rewrite.set_metadata import (
    ChangedMetadata as ChangedMetadata,
    MetadataChange as MetadataChange,
    set_metadata as set_metadata,
)
from subbyte.runtime.rewrite.split import SplitModel as SplitModel, SplitPart as SplitPart, split as split
from subbyte.runtime.scheduler.scheduler import Scheduler as Scheduler, SchedulerUse as SchedulerUse
from subbyte.runtime.scoring.choice import Choice as Choice
from subbyte.runtime.scoring.score import Score as Score
from subbyte.runtime.search.result import FoundRecipe as FoundRecipe, RecipeSearch as RecipeSearch
from subbyte.runtime.search.search import (
    RecipeSearchMeasurement as RecipeSearchMeasurement,
    search_recipes as search_recipes,
)
from subbyte.runtime.session.prefixes import Pin as Pin
from subbyte.runtime.session.session import Session as Session
from subbyte.runtime.toolcheck.answers import CaseAnswer as CaseAnswer
from subbyte.runtime.toolcheck.result import CaseOutcome as CaseOutcome, ToolcheckRun as ToolcheckRun
from subbyte.runtime.toolcheck.toolcheck import ToolcheckMeasurement as ToolcheckMeasurement, toolcheck as toolcheck
from subbyte.runtime.tools.call import ToolCall as ToolCall
from subbyte.runtime.tools.tool import Tool as Tool
