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
from subbyte.runtime.evaluation.divergence import Divergence as Divergence, Estimate as Estimate
from subbyte.runtime.evaluation.options import EvalOptions as EvalOptions
from subbyte.runtime.evaluation.perplexity import (
    ChunkResult as ChunkResult,
    PerplexityMeasurement as PerplexityMeasurement,
    perplexity as perplexity,
)
from subbyte.runtime.evaluation.perplexity_result import (
    Delta as Delta,
    PerplexityResult as PerplexityResult,
    PerplexityRun as PerplexityRun,
)
from subbyte.runtime.evaluation.statistics import Interval as Interval
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
from subbyte.runtime.inspect.diff import Diff as Diff, diff as diff
from subbyte.runtime.inspect.heatmap import Heatmap as Heatmap, heatmap as heatmap
from subbyte.runtime.measurement import Step as Step
from subbyte.runtime.loading import load as load
from subbyte.runtime.model import Model as Model
from subbyte.runtime.opened_model import ModelInfo as ModelInfo
from subbyte.runtime.quantize.quantize import Quantized as Quantized, quantize as quantize
from subbyte.runtime.quantize.recipe import Recipe as Recipe
from subbyte.runtime.report.report import (
    Report as Report,
    ReportMeasurement as ReportMeasurement,
    ReportRow as ReportRow,
    report as report,
)
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
from subbyte.runtime.tools.call import ToolCall as ToolCall
from subbyte.runtime.tools.tool import Tool as Tool
