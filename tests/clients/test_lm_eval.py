"""lm-evaluation-harness on a model in this process: what it is told is what the model's logits say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_table import LM_EVAL, shows
from model_logits import log_softmax
from paths import ROOT
from tiny_models import write_model
from vocabularies import model_file

import subbyte as sb
from subbyte.runtime.template.chat_template import CHATML

pytest.importorskip("lm_eval")
pytestmark = [pytest.mark.filterwarnings("default")]

QUESTIONS = [json.loads(line) for line in (ROOT / "tests/clients/science.jsonl").read_text().splitlines()]
TEXT = "the inn and the ring on the lane " * 4
N_CTX = 48


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, types=["Q8_0"], strings={"tokenizer.chat_template": CHATML}, context_length=N_CTX)
    return path


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[sb.Model]:
    with sb.load(path, threads=1) as model:
        yield model


def lm(model: sb.Model, **options: Any) -> Any:
    from subbyte.runtime.compat.lm_eval import SubbyteLM

    return SubbyteLM(model, **options)


def requests(kind: str, *rows: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, row, i) for i, row in enumerate(rows)]


def by_hand(model: sb.Model, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """From the logits of a session."""
    with model.session(len(context + continuation), activations="int8x2") as session:
        rows = session.eval([*context, *continuation[:-1]], "all")[len(context) - 1 :]
    total = log_softmax(rows)[range(len(continuation)), continuation].sum()
    return float(total), bool((rows.argmax(-1) == continuation).all())


def test_loglikelihood_is_that_of_the_logits(model: sb.Model) -> None:
    from lm_eval.api.model import CacheHook

    pairs = [("the inn", " and"), ("the inn", " and then"), ("an", " on"), ("the inn ", "and")]
    hook: list[Any] = []
    tested = lm(model)
    tested.set_cache_hook(CacheHook(None))
    tested.cache_hook.add_partial = lambda *given: hook.append(given)
    found = tested.loglikelihood(requests("loglikelihood", *pairs), disable_tqdm=True)
    for (context, continuation), (logprob, greedy) in zip(pairs, found, strict=True):
        before = model.tokenize(context.rstrip())
        behind = model.tokenize(context + continuation)[len(before) :]
        expected = by_hand(model, before, behind)
        assert logprob == pytest.approx(expected[0], abs=1e-4) and greedy == expected[1]
    assert found[3] == found[0]  # the space belongs to what follows, wherever it is written
    assert {name for name, *_ in hook} == {"loglikelihood"} and {given for _, given, _ in hook} == {*pairs}


def test_what_greedy_decoding_gives_is_greedy(model: sb.Model) -> None:
    with model.session(16, activations="int8x2") as session:
        best = int(session.eval(model.tokenize("the"))[:256].argmax())
    other = (best + 1) % 256
    tested = lm(model)
    rows = [(None, model.tokenize("the"), [token]) for token in (best, other)]
    scores = tested._loglikelihood_tokens(rows, disable_tqdm=True)
    assert [scores[i] for i in range(2)] == [pytest.approx(by_hand(model, *row[1:]), abs=1e-4) for row in rows]
    assert scores[1][1] is False


def test_without_a_context_the_text_follows_bos(model: sb.Model) -> None:
    tested = lm(model)
    (found,) = tested.loglikelihood(requests("loglikelihood", ("", "the inn")), disable_tqdm=True)
    expected = by_hand(model, [tested.prefix_token_id], model.tokenize("the inn"))
    assert found == (pytest.approx(expected[0], abs=1e-4), expected[1])
    assert tested.tok_encode("a") == [97]
    assert lm(model, add_bos_token=True).tok_encode("a") == [tested.prefix_token_id, 97]


def test_few_shot_examples_are_read_once(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(TEXT[:60] + question, f" {word}") for question in "abc" for word in ("inn", "on")]
    alone = [lm(model).loglikelihood(requests("loglikelihood", pair), disable_tqdm=True)[0] for pair in pairs]
    pinned: list[int] = []
    as_it_is = sb.Model.pin
    monkeypatch.setattr("subbyte.runtime.compat.shared_prefixes.MIN_SHARED", 8)
    monkeypatch.setattr(sb.Model, "pin", lambda self, p, **k: pinned.append(len(p)) or as_it_is(self, p, **k))
    assert lm(model).loglikelihood(requests("loglikelihood", *pairs), disable_tqdm=True) == alone
    assert len(pinned) == 1


def test_a_long_context_is_cut_from_the_left_and_told(model: sb.Model, caplog: pytest.LogCaptureFixture) -> None:
    tested = lm(model, max_length=16)
    (found,) = tested.loglikelihood(requests("loglikelihood", (TEXT, " and")), disable_tqdm=True)
    tokens = model.tokenize(TEXT + " and")[-17:]
    n = len(model.tokenize(TEXT + " and")) - len(model.tokenize(TEXT.rstrip()))
    assert found[0] == pytest.approx(by_hand(model, tokens[:-n], tokens[-n:])[0], abs=1e-4)
    assert tested.n_truncated == 1 and "1 of 1 requests are longer than 16 tokens: cut from the left" in caplog.text
    with pytest.raises(sb.ContextOverflow, match=r"a continuation of \d+ tokens, the context holds 16"):
        tested.loglikelihood(requests("loglikelihood", ("a", TEXT)), disable_tqdm=True)


@pytest.mark.parametrize("max_length", [16, N_CTX])
def test_rolling_has_each_token_once(model: sb.Model, max_length: int) -> None:
    from lm_eval.utils import get_rolling_token_windows

    tested = lm(model, max_length=max_length)
    found = tested.loglikelihood_rolling(requests("loglikelihood_rolling", (TEXT,), ("an inn",)), disable_tqdm=True)
    expected = 0.0
    for inputs, predicted in get_rolling_token_windows(model.tokenize(TEXT), tested.prefix_token_id, max_length, 1):
        with model.session(len(inputs), activations="int8x2") as session:
            rows = log_softmax(session.eval(inputs, "all"))[-len(predicted) :]
        expected += float(rows[range(len(predicted)), predicted].sum())
    assert found[0] == pytest.approx(expected, abs=1e-3)
    assert found[1] == pytest.approx(by_hand(model, [tested.prefix_token_id], model.tokenize("an inn"))[0], abs=1e-4)


def test_answers_end_at_stop_strings(model: sb.Model, caplog: pytest.LogCaptureFixture) -> None:
    plain = model.generate("the inn", max_tokens=12, sampling=sb.Sampling(temperature=0), activations="int8x2").run()
    stop = plain.text[3:5]
    rows = [
        ("the inn", {"until": [], "max_gen_toks": 12}),
        ("the inn", {"until": [stop, ""], "max_gen_toks": 12, "do_sample": False, "temperature": 0.7}),
        ("the inn", {"until": "\n\n\n", "do_sample": True, "temperature": 0.9, "top_k": 3, "seed": 1}),
        (TEXT, {"max_gen_toks": 40}),
    ]
    tested = lm(model, n_parallel=2, max_gen_toks=5)
    found = tested.generate_until(requests("generate_until", *rows), disable_tqdm=True)
    assert found[0] == plain.text and found[1] == plain.text.partition(stop)[0]
    cut = model.generate(
        model.tokenize(TEXT)[-8:], max_tokens=40, sampling=sb.Sampling(temperature=0), activations="int8x2"
    ).run()
    assert found[3] == cut.text and tested.n_truncated == 1 and "1 of 4 requests" in caplog.text
    with pytest.raises(ValueError, match="gen_kwargs has 'typical_p', but only temperature, top_p"):
        tested.generate_until(requests("generate_until", ("a", {"typical_p": 0.5})), disable_tqdm=True)
    with pytest.raises(sb.ContextOverflow, match="max_gen_toks is 48"):
        tested.generate_until(requests("generate_until", ("a", {"max_gen_toks": 48})), disable_tqdm=True)


def test_chat_templates(model: sb.Model) -> None:
    tested = lm(model)
    question = [{"role": "user", "content": "the inn"}]
    prompt = tested.apply_chat_template(question)
    assert prompt == "<|im_start|>user\nthe inn<|im_end|>\n<|im_start|>assistant\n"
    begun = tested.apply_chat_template([*question, {"role": "assistant", "content": "an"}], add_generation_prompt=False)
    assert begun == prompt + "an"
    assert tested.chat_template(True) == CHATML and tested.chat_template() is None and tested.tokenizer_name == "m.gguf"
    assert tested.tok_decode(tested.tok_encode(prompt)) == prompt


def by_hand_accuracy(model: sb.Model) -> tuple[float, float]:
    """Shares of questions whose right answer is the most probable one, in total and by its number of characters."""
    right = np.zeros(2)
    for row in QUESTIONS:
        scores = model.score(f"Question: {row['question']}\nAnswer:", [f" {choice}" for choice in row["choices"]])
        totals = np.array([score.total for score in scores])
        per_character = totals / [len(choice) for choice in row["choices"]]
        right += [totals.argmax() == row["answer"], per_character.argmax() == row["answer"]]
    acc, acc_norm = right / len(QUESTIONS)
    return float(acc), float(acc_norm)


def evaluated(lm: Any, **options: Any) -> tuple[float, float]:
    """The task's accuracies, as the harness computes them."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    tasks = TaskManager(include_path=str(ROOT / "tests/clients"), include_defaults=False)
    results = simple_evaluate(model=lm, tasks=["science"], task_manager=tasks, bootstrap_iters=0, **options)
    found = results["results"]["science"]
    return found["acc,none"], found["acc_norm,none"]


@pytest.mark.model
@pytest.mark.thorough
def test_a_task_has_the_accuracy_that_score_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with sb.load(model_file("smollm2")) as model:
        found = evaluated(lm(model))
        assert found == by_hand_accuracy(model) and found[0] > 0.5


@contextmanager
def served(path: Path) -> Iterator[str]:
    """A server of a model in a process of its own; where it is."""
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", "serve", str(path), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if found := re.search(r"http://\S+/v1", line):
                    yield found[0]
                    break
        finally:
            process.terminate()


@shows(LM_EVAL, "completions with echo", "log-probabilities")
@pytest.mark.slow
def test_through_the_server_and_in_process_and_by_hand_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tenacity")
    monkeypatch.chdir(ROOT)
    path = tmp_path / "tiny.gguf"
    write_model(path, types=["Q8_0"])
    asked = {"model": "tiny", "max_length": 512, "num_concurrent": 1, "max_retries": 1}
    with served(path) as url:
        found = evaluated("local-completions", model_args={**asked, "base_url": f"{url}/completions"})
    with sb.load(path, threads=1) as model:
        assert found == evaluated(lm(model)) == by_hand_accuracy(model)


@pytest.mark.slow
def test_its_command_line(path: Path) -> None:
    command = [sys.executable, "-m", "subbyte.runtime.compat.lm_eval", "--model", "subbyte", "--tasks", "science"]
    command += ["--model_args", f"pretrained={path},max_length=48", "--limit", "8", "--include_path", "tests/clients"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "|science|" in done.stdout and "|acc_norm|" in done.stdout
    assert "Running loglikelihood requests" in done.stderr
