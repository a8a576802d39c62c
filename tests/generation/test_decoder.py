"""Decoders without a loop of their own: what they want and accept, and several of them over one runner."""

from collections.abc import Sequence as Tokens
from pathlib import Path

import numpy as np
import pytest
from fake_engine import FakeTokenizer
from tiny_models import APART, N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import SessionBusy
from subbyte.runtime.generation.decoder import Decoder
from subbyte.runtime.generation.events import Event, PrefillProgress, TextDelta, ThinkingDelta
from subbyte.runtime.generation.logits_processors import SuppressedTokens
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.prefill import Wanted
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.generation.sampling import Sampling, sample
from subbyte.runtime.session.runner import Runner, Segment
from subbyte.runtime.session.sequence import Sequence
from subbyte.runtime.types import SessionOptions

VOCABULARY = FakeTokenizer(bos="<s>")
END = VOCABULARY.ids["<|im_end|>"]
GREEDY = Sampling(temperature=0)
NOTHING = Wanted((), 0)
N_CTX = 64


def certain(token: int) -> np.ndarray:
    logits = np.zeros(VOCABULARY.n_vocab, np.float32)
    logits[token] = 100.0
    return logits


def accept(decoder: Decoder, row: np.ndarray | None) -> list[Event]:
    """What a loop does with what was evaluated: takes it, and draws the tokens it decides."""
    events = list(decoder.evaluated(None if row is None else row[np.newaxis]))
    while (draw := decoder.draw()) is not None:
        events += decoder.take(draw if isinstance(draw, int) else sample(draw))
    return events


def test_what_a_decoder_wants_and_takes() -> None:
    decoder = Decoder(VOCABULARY, [97, 98, 99], 100, GenerationOptions(GREEDY))
    assert decoder.begin(1) == (PrefillProgress(0, 2, 1),)
    assert decoder.wants() == Wanted([98, 99], 1) == decoder.wants() and decoder.draw() is None
    assert decoder.evaluated(certain(100)[np.newaxis]) == (PrefillProgress(2, 2, 1),) and not decoder.prefilling
    assert decoder.wants() == NOTHING  # the logits are there
    assert accept(decoder, None) == [TextDelta("d")]
    assert decoder.wants() == Wanted([100], 1) and decoder.n_computed == 3
    with pytest.raises(ValueError, match="wants logits"):
        decoder.evaluated(None)
    assert accept(decoder, certain(END)) == [] and decoder.n_computed == 4
    assert decoder.wants() is None and (decoder.ended, decoder.tokens, decoder.finish()) == ("eog", [100], [])
    assert (decoder.usage.prompt, decoder.usage.reused, decoder.usage.completion) == (3, 1, 1)


def test_forced_tokens_are_chosen_without_logits() -> None:
    options = GenerationOptions(GREEDY, reasoning_budget=1, tags=Tags("<think>", "</think>"))
    prompt = VOCABULARY.encode("<think>")
    decoder = Decoder(VOCABULARY, prompt, 100, options)
    events: list[Event] = [*decoder.begin(0)]
    evaluated: list[list[int]] = []
    while (wanted := decoder.wants()) is not None:
        if wanted.tokens:
            evaluated.append(list(wanted.tokens))
        script = [ord("a"), ord("Y"), END]
        events += accept(decoder, certain(script[len(evaluated) - 1]) if wanted.tokens else None)
    assert "".join(e.text for e in events if isinstance(e, ThinkingDelta)) == "a\n"
    assert decoder.output.text == "Y" and decoder.ended == "eog"
    closing = VOCABULARY.encode("\n</think>\n\n")
    assert evaluated == [prompt, [ord("a"), *closing], [ord("Y")]]  # with the token before them, in one step


def test_suppressed_tokens_are_impossible() -> None:
    logits = certain(5)
    SuppressedTokens([5]).apply(logits, [])
    assert logits[5] == -np.inf and np.isfinite(np.delete(logits, 5)).all()


def step(runner: Runner, pairs: Tokens[tuple[Decoder, Sequence]]) -> list[tuple[Decoder, np.ndarray]]:
    """One step for all decoders that have not ended: the logits of each that wanted some."""
    segments, askers = [], []
    for decoder, sequence in pairs:
        if (wanted := decoder.wants()) is not None:
            rows = range(len(wanted.tokens) - wanted.n_logits, len(wanted.tokens))
            segments.append(Segment(sequence, np.array(wanted.tokens, np.int32), rows))
            askers.append((decoder, wanted.n_logits))
    found = runner.step(segments) if segments else None
    rest = iter(() if found is None else found)
    given = []
    for decoder, n_logits in askers:
        row = next(rest) if n_logits else None
        if row is not None:
            given.append((decoder, row.copy()))
        accept(decoder, row)
    return given


def drive(runner: Runner, prompts: Tokens[Tokens[int]], model: sb.Model) -> list[tuple[list[int], list[np.ndarray]]]:
    """For each prompt the tokens of its answer and the logits they were chosen from, all made together."""
    options = GenerationOptions(GREEDY, max_tokens=12)
    pairs = [(Decoder(model.tokenizer, p, N_CTX, options), runner.new_sequence("f32")) for p in prompts]
    seen: dict[int, list[np.ndarray]] = {id(decoder): [] for decoder, _ in pairs}
    for decoder, _ in pairs:
        decoder.begin(0)
    while given := step(runner, pairs):
        for decoder, logits in given:
            seen[id(decoder)].append(logits)
    for decoder, sequence in pairs:
        assert decoder.ended is not None
        assert sequence.tokens == [*decoder.prompt, *decoder.tokens][: decoder.n_computed]
    return [(decoder.tokens, seen[id(decoder)]) for decoder, _ in pairs]


@pytest.mark.parametrize("arch", APART)
def test_two_decoders_over_one_runner_answer_as_each_alone(arch: str, tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", arch)
    rng = np.random.default_rng(7)
    prompts = [[int(t) for t in rng.integers(0, N_VOCAB, n)] for n in (20, 9)]
    with sb.load(tmp_path / "m.gguf", threads=2) as model:
        runner = model.runner(SessionOptions(N_CTX))
        together = drive(runner, prompts, model)
        for prompt, (tokens, logits) in zip(prompts, together, strict=True):
            ((alone, expected),) = drive(runner, [prompt], model)
            assert tokens == alone and len(logits) == len(expected)
            assert np.abs(np.stack(logits) - np.stack(expected)).max() < 1e-4
            reply = model.generate(prompt, sampling=GREEDY, max_tokens=12, n_ctx=N_CTX, cache_type="f32").run()
            assert reply.tokens == tuple(alone)


def test_a_step_is_all_or_nothing(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    ids = np.array([1, 2, 3], np.int32)
    with sb.load(tmp_path / "m.gguf") as model:
        runner = model.runner(SessionOptions(4))
        a, b = runner.new_sequence("f32"), runner.new_sequence("f32")
        with pytest.raises(ValueError, match="more than one segment"):
            runner.step((Segment(a, ids), Segment(a, ids)))
        with pytest.raises(ValueError, match="a step of 6 tokens"):
            runner.step((Segment(a, ids), Segment(b, ids)))
        runner.step((Segment(b, ids),))
        with pytest.raises(ValueError, match="at position 3"):
            runner.step((Segment(a, ids[:1]), Segment(b, ids)))
        busy: list[str] = []

        def enter() -> None:
            with pytest.raises(SessionBusy) as caught:
                runner.step((Segment(b, ids[:1]),))
            busy.append(str(caught.value))

        runner.check = enter
        assert runner.step((Segment(a, ids[:1], range(1)), Segment(b, ids[:1], range(1)))) is not None
        assert len(busy) == 1 and (a.tokens, b.tokens) == ([1], [1, 2, 3, 1])


def test_log_probabilities_of_several_sequences(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf")
    ids = np.array([1, 2, 3], np.int32)
    with sb.load(tmp_path / "m.gguf") as model:
        runner = model.runner(SessionOptions(8, activations="float32"))
        a, b = runner.new_sequence("f32"), runner.new_sequence("f32")
        found = runner.step((Segment(a, ids, range(1, 3)), Segment(b, ids[:2], range(2))), ids[[2, 0, 1, 0]])
        with model.session(8, "f32", "float32") as session:
            expected = [*session.logprobs([1, 2, 3], [3, 1], 1)]
            session.rewind(0)
            expected += [*session.logprobs([1, 2], [2, 1])]
    assert found == pytest.approx(np.array(expected), abs=1e-5)
