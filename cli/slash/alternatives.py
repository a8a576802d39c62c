"""/probs, /alt and /fork: how probable each token of the last answer was, what else might have come, and then what."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from subbyte.cli.chat.answer import answer
from subbyte.cli.chat.context import ReplContext
from subbyte.cli.terminal.columns import NO_BREAK
from subbyte.cli.terminal.interrupt import one_interrupt
from subbyte.cli.terminal.status_line import PrefillStatus
from subbyte.cli.tokens.scores import N_TOP, find_token, pieces
from subbyte.cli.tokens.surprise import legend, painted, percent
from subbyte.runtime.text import quoted

if TYPE_CHECKING:
    from subbyte.runtime.generation.events import Event, Reply, TokenLogprob, TopLogprob
    from subbyte.runtime.generation.generation import Generation

N_NAMED = 5  # tokens that are named as the most surprising
N_BEFORE = 40  # characters before a token that say where it stands


def show_probabilities(context: ReplContext, _: str) -> None:
    """Prints the last answer coloured by surprise, with a legend and its most surprising tokens."""
    known_before = _is_known(context)
    scores = _scores(context)
    context.text(painted(pieces(scores), context.out).strip("\n"))
    context.text(f"\n{legend(context.out)}")
    if not known_before:
        context.say(_whose(context))
    known = [(n, score, score.logprob) for n, score in enumerate(scores, 1) if score.logprob is not None]
    if not known:
        return
    perplexity = math.exp(-sum(logprob for *_, logprob in known) / len(known))
    context.line(f"{len(known)} tokens, perplexity {perplexity:.2f}")
    least = sorted(known, key=lambda each: each[2])[:N_NAMED]
    named = [f"{n} {_name(score)} {percent(math.exp(logprob))}".replace(" ", NO_BREAK) for n, score, logprob in least]
    context.entry("most surprising: ", f"{', '.join(named)} (/alt N: what else might have come)")


def show_alternatives(context: ReplContext, argument: str) -> None:
    """Prints the most probable tokens at a place of the last answer; with one of their numbers goes on from that."""
    number, _, choice = argument.rpartition(" ")
    if number.strip().isdigit() and choice.isdigit():
        fork_at(context, argument)
        return
    if not argument:
        raise ValueError("/alt needs the number of a token, as /probs tells it, or a word of the answer")
    known_before = _is_known(context)
    scores = _scores(context)
    n, *others = find_token(scores, argument)
    before = "".join(part.text for part in pieces(scores[: n - 1]))[-N_BEFORE:]
    also = f"; also at {', '.join(map(str, others))}" if others else ""
    context.line(f"token {n} of {len(scores)}, behind {quoted(before)}{also}")
    for row, top in enumerate(scores[n - 1].top, 1):
        came = "  came" if top.id == scores[n - 1].id else ""
        context.line(f"{row:4}  {percent(math.exp(top.logprob)):>10}  {_name(top)}{came}")
    if scores[n - 1].id not in [top.id for top in scores[n - 1].top]:
        context.line(f"   -  {_chance(scores[n - 1]):>10}  {_name(scores[n - 1])}  came")
    if not known_before:
        context.say(_whose(context))
    context.say(f"(/fork {n} NUMBER goes on from another of them)")


def fork_at(context: ReplContext, argument: str) -> None:
    """Makes the last answer again up to a token, with another one in its place, and goes on from there."""
    if context.chat.waiting:
        raise ValueError("the last question has no answer to go on from; /regen answers it")
    where, _, choice = argument.partition(" ")
    scores = _scores(context)
    n = find_token(scores, where)[0]
    other = _alternative(scores[n - 1], n, choice.strip())
    if other.id in context.chat.tokenizer.eog:
        raise ValueError(f"{_name(other)} ends the answer; choose another one with /fork {n} NUMBER")
    tokens = [*(score.id for score in scores[: n - 1]), other.id]

    answer(context, lambda: _FromBeginning(context.chat.regenerate(tokens=tokens)))


class _FromBeginning:
    """An answer whose events have all of its text, with the part that it was made to begin with."""

    def __init__(self, answer: "Generation") -> None:
        self._answer = answer

    def __iter__(self) -> "Iterator[Event]":
        from subbyte.runtime.generation.events import TextDelta, ThinkingDelta

        if self._answer.thinking:
            yield ThinkingDelta(self._answer.thinking)
        if self._answer.text:
            yield TextDelta(self._answer.text)
        yield from self._answer

    @property
    def reply(self) -> "Reply":
        """What has come so far."""
        return self._answer.reply

    def close(self) -> None:
        """Ends the answer here."""
        self._answer.close()


def _alternative(score: "TokenLogprob", n: int, choice: str) -> "TopLogprob":
    """The chosen one of the most probable tokens, or the first that did not come."""
    if not score.top:
        raise ValueError(f"no alternatives are known at token {n}: it was no choice of the model's")
    if not choice:
        return next((top for top in score.top if top.id != score.id), score.top[0])
    if not (choice.isascii() and choice.isdigit() and 1 <= int(choice) <= len(score.top)):
        raise ValueError(f"{choice!r} is no alternative at token {n}; /alt {n} lists them, 1 to {len(score.top)}")
    if score.top[int(choice) - 1].id == score.id:
        raise ValueError(f"alternative {choice} is the token that came; choose another one of /alt {n}")
    return score.top[int(choice) - 1]


def _scores(context: ReplContext) -> "list[TokenLogprob]":
    """The tokens of the last answer: as they came or, where it was not made here, as this model finds them now."""
    messages = context.chat.messages
    if not messages:
        raise ValueError("there is no answer yet")
    if not _is_known(context):
        context.scores, context.scored = _computed(context), (context.chat, messages[-1].content)
    return context.scores


def _is_known(context: ReplContext) -> bool:
    """Whether the probabilities of the last answer are known, since it was made here or they were computed by now."""
    messages = context.chat.messages
    return bool(context.scores and messages) and context.scored == (context.chat, messages[-1].content)


def _computed(context: ReplContext) -> "list[TokenLogprob]":
    """The last answer read once more. Raises ValueError where Ctrl-C ends that."""
    from subbyte.runtime.generation.events import PrefillProgress

    status = PrefillStatus(context.out)
    try:
        with context.keyboard.listening(), one_interrupt():
            scoring = context.chat.score_answer(N_TOP)
            for event in scoring:
                if isinstance(event, PrefillProgress):
                    status.update(event.done, event.total)
    except KeyboardInterrupt:
        context.keyboard.take()
        raise ValueError("stopped before all probabilities were there") from None
    finally:
        status.clear()
    return list(scoring.reply.prompt_logprobs)


def _whose(context: ReplContext) -> str:
    return f"(so probable {context.model} finds this answer, which was not made here)"


def _name(token: "TokenLogprob | TopLogprob") -> str:
    return quoted(token.piece.decode(errors="backslashreplace"))


def _chance(score: "TokenLogprob") -> str:
    return "?" if score.logprob is None else percent(math.exp(score.logprob))
