"""The logits processors of an answer, as its options ask for them."""

import math
from collections.abc import Iterator, Sequence

from subbyte.runtime.generation.banned_texts import BannedTexts
from subbyte.runtime.generation.logits_processors import (
    CallersProcessor,
    Dry,
    LogitBias,
    LogitsProcessor,
    Penalties,
    ReasoningBudget,
    SuppressedTokens,
)
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.output_processor import OutputProcessor
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.protocols import Tokenizer


def processor_chain(
    tokenizer: Tokenizer, sampling: Sampling, options: GenerationOptions, output: OutputProcessor, prompt: Sequence[int]
) -> list[LogitsProcessor]:
    """The logits processors of an answer, in the order in which they act; none that would do nothing."""
    processors: list[LogitsProcessor] = []
    s = sampling
    if suppressed := [*tokenizer.suppressed, *(tokenizer.eog if s.ignore_eos else ())]:
        processors.append(SuppressedTokens(suppressed))
    if s.logit_bias:
        processors.append(LogitBias(s.logit_bias, tokenizer.n_vocab))
    if s.banned:
        processors.append(BannedTexts(s.banned, tokenizer))
    if s.repeat_last_n and (s.repeat_penalty, s.presence_penalty, s.frequency_penalty) != (1.0, 0.0, 0.0):
        processors.append(Penalties(s.repeat_last_n, s.repeat_penalty, s.presence_penalty, s.frequency_penalty))
    if s.dry_multiplier and s.dry_penalty_last_n:
        processors.append(
            Dry(
                s.dry_multiplier, s.dry_base, s.dry_allowed_length, s.dry_penalty_last_n,
                tuple(s.dry_sequence_breakers), tokenizer.piece,
            )
        )  # fmt: skip
    processors += map(CallersProcessor, options.processors)
    if options.reasoning_budget is not None:
        processors.append(ReasoningBudget(options.reasoning_budget, output, tokenizer))
    if grammar := _grammar(tokenizer, options, output, prompt, {*suppressed, *_banned(s)}):
        processors.append(grammar)
    return processors


def _banned(sampling: Sampling) -> Iterator[int]:
    return (token for token, bias in sampling.logit_bias.items() if bias == -math.inf)


def _grammar(
    tokenizer: Tokenizer, options: GenerationOptions, output: OutputProcessor, prompt: Sequence[int], banned: set[int]
) -> LogitsProcessor | None:
    """What holds the answer to its constraint, or its calls to their tools; imported where there is one."""
    if options.constraint is not None:
        from subbyte.runtime.generation.constrained import ConstraintProcessor

        matcher = options.constraint.matcher(tokenizer)
        return ConstraintProcessor(matcher, options, output, tokenizer, prompt, banned)
    if options.tools is not None and options.tools.grammars is not None:
        from subbyte.runtime.generation.tool_calls import ToolCallProcessor

        options.tools.grammars.prepare(options.tools.format.syntaxes)
        return ToolCallProcessor(options.tools.grammars, output, banned)
    return None
