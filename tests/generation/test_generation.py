"""The generation loop: events, stop strings, cancellation, and a session that is whole whatever happens."""

import math
import threading
from collections.abc import Iterator

import pytest
from fake_engine import FakeSession, FakeTokenizer
from hypothesis import given
from hypothesis import strategies as st

from subbyte.errors import ContextOverflow, NumericError, SessionBusy
from subbyte.runtime.generation.events import Done, PrefillProgress, Reply, TextDelta
from subbyte.runtime.generation.generation import Generation, complete
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.prefill import PREFILL_CHUNK
from subbyte.runtime.generation.reasoning_parser import Tags
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.generation.stop_strings import StopStringMatcher

VOCABULARY = FakeTokenizer(bos="<s>")
GREEDY = Sampling(temperature=0)
END = VOCABULARY.ids["<|im_end|>"]


def session(text: str = "", *, end: bool = True, n_ctx: int = 1000) -> FakeSession:
    return FakeSession(VOCABULARY.n_vocab, n_ctx, VOCABULARY.encode(text) + [END] * end)


def answer(on: FakeSession, prompt: str = "ab", **options: object) -> Generation:
    return complete(on, VOCABULARY, prompt, GenerationOptions(GREEDY, **options))  # type: ignore[arg-type]


def deltas(generation: Generation) -> list[str]:
    return [event.text for event in generation if isinstance(event, TextDelta)]


def test_events_of_a_short_answer() -> None:
    on = session("é!")
    generation = answer(on)
    events = list(generation)
    assert events[:4] == [PrefillProgress(0, 2), PrefillProgress(2, 2), TextDelta("é"), TextDelta("!")]
    (done,) = events[4:]
    assert isinstance(done, Done) and done.reply == generation.reply
    reply = done.reply
    assert (reply.text, reply.stop_reason) == ("é!", "eog")
    assert reply.tokens == tuple("é!".encode())
    assert (reply.usage.prompt, reply.usage.reused, reply.usage.completion) == (2, 0, 3)
    assert reply.timings.prefill_rate > 0 and reply.timings.generation_rate > 0
    assert reply.to_dict()["usage"] == {
        "prompt": 2, "reused": 0, "completion": 3, "thinking": 0, "drafted": 0, "accepted": 0,
    }  # fmt: skip
    assert bytes(on.tokens) == "abé!".encode()
    assert list(generation) == []


def test_the_prompt_is_computed_in_chunks_and_only_what_is_new() -> None:
    on = session("x")
    first = answer(on, "a" * (2 * PREFILL_CHUNK + 2))
    progress = [event for event in first if isinstance(event, PrefillProgress)]
    total = 2 * PREFILL_CHUNK + 2
    assert [p.done for p in progress] == [0, total // 3, 2 * (total // 3) + 1, total] or progress[-1].done == total
    assert len(progress) == 4 and all(p.total == total for p in progress)
    assert max(map(len, on.computed)) <= PREFILL_CHUNK
    on.script, on.computed = [END], []
    again = answer(on, "a" * 100 + "b").run()
    assert (again.usage.reused, again.text) == (100, "")
    assert on.computed == [[ord("b")]]


def test_a_reply_says_which_stop_string_ended_it() -> None:
    for stop, expected in ((["c", "bc", "x"], "bc"), (["d"], "d"), (["y"], None)):
        reply = answer(session("abcd"), stop=stop).run()
        assert (reply.stop_string, reply.stop_reason) == (expected, "stop" if expected else "eog")
        assert reply.to_dict()["stop_string"] == expected


def test_ignoring_the_end_and_banning_tokens() -> None:
    sampling = Sampling(temperature=0, ignore_eos=True, logit_bias={ord("b"): -math.inf})
    on = session("ab")
    reply = complete(on, VOCABULARY, "x", GenerationOptions(sampling, max_tokens=5)).run()
    assert (reply.stop_reason, len(reply.tokens)) == ("length", 5)
    assert not VOCABULARY.eog & set(reply.tokens) and ord("b") not in reply.tokens
    with pytest.raises(ValueError, match="logit_bias names token 9999"):
        complete(on, VOCABULARY, "x", GenerationOptions(Sampling(logit_bias={9999: 1.0})))


def test_penalties_and_dry_count_the_prompt() -> None:
    for options in ({"presence_penalty": 1e5}, {"frequency_penalty": 1e5}, {"dry_multiplier": 1e5}):
        on = session("d")
        sampling = Sampling(temperature=0, **options)  # type: ignore[arg-type]
        assert complete(on, VOCABULARY, "abcdabc", GenerationOptions(sampling, max_tokens=1)).run().text != "d"


def test_bos_is_added_to_text_and_not_to_ids() -> None:
    adding = FakeTokenizer(bos="<s>", add_bos=True)
    on = FakeSession(adding.n_vocab, script=[END] * 3)
    complete(on, adding, "a<|im_end|>").run()
    assert on.tokens[0] == adding.bos and len(on.tokens) == 12
    complete(on, adding, [5, 6]).run()
    assert on.tokens == [5, 6]
    complete(on, adding, "a<|im_end|>", special=True).run()
    assert on.tokens == [adding.bos, 97, END]


def test_length_by_max_tokens_and_by_the_context() -> None:
    assert answer(session("hello", end=False), max_tokens=0).run().stop_reason == "length"
    on = session("0123456789")
    reply = answer(on, max_tokens=3).run()
    assert (reply.text, reply.stop_reason) == ("012", "length")
    on = session("0123456789", n_ctx=6)
    reply = answer(on, "abcd").run()
    assert (reply.text, reply.stop_reason, on.n_past) == ("012", "length", 6)
    reply = answer(session("0123", n_ctx=4), "abcd").run()
    assert (reply.text, reply.stop_reason) == ("0", "length")


def test_what_can_not_work_is_refused_before_anything_is_computed() -> None:
    on = session("x", n_ctx=3)
    with pytest.raises(ContextOverflow, match="4 tokens, but the context holds 3"):
        answer(on, "abcd")
    with pytest.raises(ValueError, match="prompt is empty"):
        answer(on, "")
    with pytest.raises(ValueError, match="max_tokens is -1"):
        answer(on, max_tokens=-1)
    for stop in ("end", [""], [3]):
        with pytest.raises(ValueError, match="non-empty strings"):
            answer(on, stop=stop)
    assert on.computed == []


def test_stop_strings_are_found_across_tokens_and_never_shown() -> None:
    generation = answer(session("say hello world"), stop=["lo wo", "zzz"])
    shown = deltas(generation)
    assert "".join(shown) == "say hel" == generation.reply.text
    assert generation.reply.stop_reason == "stop"
    held = answer(session("one lo w"), stop=["lo wo"])
    assert "".join(deltas(held)) == "one lo w" and held.reply.stop_reason == "eog"
    first = answer(session("STOP and more"), stop=["STOP"]).run()
    assert (first.text, first.stop_reason) == ("", "stop")


@given(
    st.text(alphabet="abc", max_size=40),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=5), max_size=4),
    st.lists(st.integers(1, 5), min_size=1, max_size=40),
)
def test_matching_stop_strings_equals_searching_the_whole_text(text: str, stops: list[str], cuts: list[int]) -> None:
    matcher, shown, at = StopStringMatcher(stops), "", 0
    ends = [(text.find(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    expected = text[: min(ends)[0] + min(ends)[1]] if ends else text
    for size in cuts * (len(text) + 1):
        piece, found = matcher.feed(text[at : at + size])
        shown, at = shown + piece, at + size
        assert expected.startswith(shown)
        if found or at >= len(text):
            break
    assert (shown if found else shown + matcher.flush()) == expected
    assert found == bool(ends)


def test_long_and_many_stop_strings_are_harmless() -> None:
    matcher = StopStringMatcher(["a" * 1_000_000, *map(str, range(1000))])
    assert matcher.feed("aaaab") == ("aaaab", False)


def test_half_characters_are_held_back_and_not_lost() -> None:
    on = session("", end=False)
    on.script = [*"aé".encode()[:2], END]
    generation = answer(on)
    assert deltas(generation) == ["a", "\ufffd"]


def test_cancel_ends_the_answer_and_keeps_its_text() -> None:
    on = session("0123456789")
    generation = answer(on)
    for event in generation:
        if event == TextDelta("3"):
            generation.cancel()
    assert generation.reply.text == "0123" and generation.reply.stop_reason == "cancelled"
    assert isinstance(event, Done) and bytes(on.tokens) == b"ab012"
    in_prefill = answer(on, "z" * 1000)
    in_prefill.cancel()
    assert [type(event) for event in in_prefill] == [PrefillProgress, Done]
    assert in_prefill.reply.stop_reason == "cancelled"


def test_leaving_early_keeps_text_and_session() -> None:
    on = session("0123456789")
    generation = answer(on)
    for event in generation:
        if event == TextDelta("1"):
            break
    assert generation.reply.text == "01" and generation.stop_reason is None
    generation.close()
    generation.close()
    assert generation.reply.stop_reason == "cancelled" and list(generation) == []
    on.script = [END]
    assert answer(on, "ab0").run().usage.reused == 2  # the last one is computed for its logits


@pytest.mark.parametrize("error", [KeyboardInterrupt, NumericError])
@pytest.mark.parametrize("when", [1, 3])
def test_an_error_inside_keeps_what_came(error: type[BaseException], when: int) -> None:
    on = session("0123456789")
    calls = iter(range(100))

    def fail() -> None:
        if next(calls) == when - 1:
            raise error

    on.before_eval = fail
    generation = answer(on)
    with pytest.raises(error):
        generation.run()
    assert generation.reply.text == "01"[: when - 1]
    assert bytes(on.tokens) == b"ab0"[: 0 if when == 1 else 3]
    assert list(generation) == []


def test_a_session_used_by_others_is_noticed() -> None:
    on = session("0123456789")
    generation = answer(on)
    while next(generation) != TextDelta("1"):
        pass
    answer(on, "other", max_tokens=1).run()
    with pytest.raises(SessionBusy, match="something else"):
        next(generation)


def test_two_threads_on_one_answer_are_told() -> None:
    on = session("0123456789")
    inside, go = threading.Event(), threading.Event()

    def wait() -> None:
        inside.set()
        go.wait(60)

    on.before_eval = wait
    generation = answer(on)
    result: list[Reply] = []
    thread = threading.Thread(target=lambda: result.append(generation.run()))
    thread.start()
    inside.wait(60)
    for use in (lambda: next(generation), generation.close):
        with pytest.raises(SessionBusy, match="another thread"):
            use()
    generation.cancel()
    go.set()
    thread.join(60)
    assert result[0].stop_reason == "cancelled"


def test_a_generation_is_an_iterator() -> None:
    generation = answer(session("a"))
    iterator: Iterator[object] = iter(generation)
    assert iterator is generation


@pytest.mark.parametrize(
    ("stop", "script", "text"),
    [
        (["<s>"], "one<s>two", "one"),
        (["<s>"], "<s>two", ""),
        (["\n<s>us"], "a\n<s>b\n<s>user", "a\nb"),
        (["<s>", "one"], "<s>", ""),
        (["zz<s>"], "z<s>zz", "zzz"),
        (["<s><s>"], "a<s>b<s><s>c", "ab"),
    ],
)
def test_a_control_token_in_a_stop_string_stops(stop: list[str], script: str, text: str) -> None:
    on = FakeSession(VOCABULARY.n_vocab, 1000, [*VOCABULARY.encode(script, special=True), END])
    generation = answer(on, stop=stop)
    reply = generation.run()
    assert reply.text == text == generation.text
    assert reply.stop_reason == ("eog" if text == "zzz" else "stop")


@given(st.text(), st.integers(0, 30), st.booleans())
def test_an_answer_cut_anywhere_has_no_half_character(text: str, n: int, tagged: bool) -> None:
    ids = list(text.encode(errors="ignore"))
    tags = Tags("<think>", "</think>") if tagged else None
    reply = answer(FakeSession(VOCABULARY.n_vocab, 1000, [*ids, END]), max_tokens=n, tags=tags).run()
    whole = bytes(ids[:n]).decode(errors="ignore")
    assert reply.text + reply.thinking == whole or (tagged and "<" in whole)
