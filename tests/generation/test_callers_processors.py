"""Functions of the caller's own that change the logits, in answers and conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_models import N_VOCAB, write_model

import subbyte as sb

GREEDY = sb.Sampling(temperature=0, ignore_eos=True)
Row = NDArray[np.float32]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path)
    with sb.load(path, threads=2) as model:
        yield model


def only_bs(logits: Row, tokens: Sequence[int]) -> None:
    keep = logits[98]
    logits[:] = -np.inf
    logits[98] = keep


def test_a_processor_decides_behind_all_others(model: sb.Model) -> None:
    seen: list[tuple[int, ...]] = []

    def watch(logits: Row, tokens: Sequence[int]) -> None:
        assert logits.dtype == np.float32 and logits.shape == (N_VOCAB,) and logits[97] == -np.inf
        seen.append(tuple(tokens))

    sampling = sb.Sampling(temperature=0, logit_bias={97: -np.inf})
    reply = model.generate([5, 6], max_tokens=3, sampling=sampling, processors=[watch, only_bs], n_ctx=16).run()
    assert reply.text == "bbb" and seen == [(5, 6), (5, 6, 98), (5, 6, 98, 98)]
    with model.chat(n_ctx=256, max_tokens=2, sampling=GREEDY, processors=[only_bs]) as chat:
        assert chat.send("a").text == "bb"
        chat.processors = ()
        assert chat.regenerate().run().text != "bb"


def failing(after: int) -> Callable[[Row, Sequence[int]], None]:
    def fail(logits: Row, tokens: Sequence[int]) -> None:
        nonlocal after
        only_bs(logits, tokens)
        after -= 1
        if after < 0:
            raise KeyError("of the caller's own")

    return fail


def test_an_exception_ends_the_answer_and_leaves_the_rest_usable(model: sb.Model) -> None:
    answer = model.generate([5, 6], max_tokens=9, sampling=GREEDY, processors=[failing(2)], n_ctx=16)
    with pytest.raises(KeyError, match="of the caller's own"):
        answer.run()
    assert (answer.text, list(answer), answer.reply.stop_reason) == ("bb", [], "cancelled")
    with model.chat(n_ctx=256, max_tokens=4, sampling=GREEDY, processors=[failing(2)]) as chat:
        with pytest.raises(KeyError):
            chat.send("a")
        assert [message.content for message in chat.messages] == ["a", "bb"]
        chat.processors = (only_bs,)
        assert chat.continue_answer().run().text == "bbbbbb"
        assert chat.send("c").text == "bbbb"
        chat.processors = (failing(0),)
        with pytest.raises(KeyError):
            chat.send("d")
        assert chat.unanswered == "d" and len(chat.messages) == 4


def test_what_a_processor_must_not_do(model: sb.Model) -> None:
    def returns(logits: Row, tokens: Sequence[int]) -> Row:
        return logits

    def spoils(logits: Row, tokens: Sequence[int]) -> None:
        logits[:] = np.nan

    with pytest.raises(
        TypeError, match=r"what a processor returns is .* but must be None: it changes the logits in place"
    ):
        model.generate([5], processors=[returns], n_ctx=8).run()  # type: ignore[list-item]
    with pytest.raises(ValueError, match="a processor left logits that are NaN"):
        model.generate([5], processors=[spoils], n_ctx=8).run()
    for wrong in (only_bs, [3], "ab", [None]):
        with pytest.raises(TypeError, match=r"processors is .* but must be a list of functions"):
            model.generate([5], processors=wrong, n_ctx=8)  # type: ignore[arg-type]


def test_in_company_an_exception_ends_one_answer_alone(model: sb.Model) -> None:
    with model.scheduler(n_ctx=64) as scheduler:
        bad = model.generate([5], max_tokens=9, sampling=GREEDY, processors=[failing(2)], scheduler=scheduler)
        good = model.generate([6], max_tokens=9, sampling=GREEDY, processors=[only_bs], scheduler=scheduler)
        with pytest.raises(KeyError, match="of the caller's own"):
            bad.run()
        assert good.run().text == "b" * 9 and bad.text == "bb"
        assert model.generate([5], max_tokens=1, scheduler=scheduler).run().stop_reason is not None
