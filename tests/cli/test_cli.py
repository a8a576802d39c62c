"""The commands: exit codes, what stdout gets and what it does not, on a runtime that is not there."""

import csv
import dataclasses
import errno
import io
import json
import math
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pexpect
import pyte
import pytest
from fake_chat import PRESETS, FakeAnswer, FakeChat

from subbyte import errors
from subbyte.cli.chat.settings import BY_NAME
from subbyte.cli.commands import chat
from subbyte.cli.main import explain
from subbyte.cli.terminal.tables import first_columns, print_table
from subbyte.runtime.catalog.catalog import Entry
from subbyte.runtime.catalog.facts import Facts
from subbyte.runtime.evaluation.perplexity_result import PerplexityResult, PerplexityRun
from subbyte.runtime.evaluation.scored import ScoredTokens
from subbyte.runtime.evaluation.statistics import Estimate, Interval
from subbyte.runtime.generation.events import TextDelta
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.tables import Table


class FakeModel:
    info = types.SimpleNamespace(architecture="llama", size=98_000_000)
    presets = PRESETS
    path = "/models/m.gguf"

    def __init__(self, runtime):
        self.runtime = runtime

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def chat(self, **options):
        self.runtime.options = options
        if options["thinking"] is False:
            raise ValueError("this model always thinks")
        self.runtime.conversation = FakeChat()
        return self.runtime.conversation

    def generate(self, text, **options):
        self.runtime.options = options
        if text == "":
            raise ValueError("the prompt is empty")
        return FakeAnswer(self._events(text), "length" if options["max_tokens"] else "eog")

    def _events(self, text):
        if self.runtime.failure is not None:
            raise self.runtime.failure
        yield TextDelta(f"<{text}>")


RUNNING = (12.61384, 28.65031)
RESULT = PerplexityResult(
    model="/models/m.gguf", ppl=28.65031, error=1.37896,
    interval=Interval(28.65031, 26.02, 31.55, 0.95), bits_per_byte=1.23456, running=RUNNING, n_ctx=512, stride=None,
    chunks=2, total_chunks=2, n_tokens=1100, n_scored=510,
    text_sha256="abc123", cache_type="q8_0", activations="int8x2", seconds=1.5, right=Estimate(0.25, 0.02),
    domains={}, positions={},
)  # fmt: skip


def perplexity_run(n_models):
    """One or two models with the same figures; the second one's losses are lower by 0.01."""
    falling = -0.01 + 0.001 * np.array([1, -1, 2, -2, 0, 0, 1, -1])
    right = (np.array([True] + 7 * [False]), np.array([False] + 2 * [True] + 5 * [False]))
    each = np.arange(8, dtype=np.int32)
    tokens = ScoredTokens(each, 0 * each, 0 * each + 9, ("text 1",))
    results = tuple(dataclasses.replace(RESULT, model=f"/models/{name}.gguf") for name in "ab"[:n_models])
    losses = tuple(3 + i * falling for i in range(n_models))
    return PerplexityRun(results, losses, right[:n_models], tokens, 0.95)


@pytest.fixture
def runtime(monkeypatch, tmp_path):
    """A runtime without models; `failure` is raised by what is run next, `options` is what it was called with."""
    fake = types.SimpleNamespace(failure=None, options=None, found=[])

    def module(name, **names):
        new = types.ModuleType(f"subbyte.runtime.{name}")
        new.__dict__.update(names)
        monkeypatch.setitem(sys.modules, new.__name__, new)
        monkeypatch.setattr("subbyte.runtime." + name, new, raising=False)

    def resolve(name, on_progress=None):
        fake.found.append(name)
        if name == "nowhere":
            raise errors.ModelNotFound("no model nowhere")
        return tmp_path / f"{name}.gguf"

    def load(path, threads=None, override_kv=None):
        fake.threads = threads
        if threads == 1000:
            raise ValueError("1000 threads; allowed are 1 to 256")
        if path.stem == "broken":
            raise errors.FormatError(f"{path}: magic at byte 0 is 'PK', not 'GGUF'")
        return FakeModel(fake)

    class PerplexityMeasurement:
        n_done = 0

        def __init__(self, models, data, evaluation, **options):
            self.n_models = len(models)
            fake.options = {"data": data, **dataclasses.asdict(evaluation), **options}

        def __iter__(self):
            if fake.failure is not None:
                raise fake.failure
            for index, ppl in enumerate(RUNNING, 1):
                n = self.n_models
                yield types.SimpleNamespace(index=index, total=2, ppl=(ppl,) * n, error=(1.0,) * n)

        def result(self):
            return perplexity_run(self.n_models)

    class GGUF:
        @staticmethod
        def open(path):
            if fake.failure is not None:
                raise fake.failure
            return FakeModel(fake)

    model = types.SimpleNamespace
    facts = Facts("llama", 134_515_008, 5.74, (("Q4_1", 0.71), ("Q8_0", 0.29)), 8192, False)
    odd = Facts("rwkv", 7, None, (), None, None)
    entries = [
        Entry("smollm2", str(tmp_path / "smollm2.gguf"), 98_362_432, "subbyte", "Apache-2.0", facts, True, True),
        Entry("hf:u/r", str(tmp_path / "r.gguf"), 7, "Hugging Face", None, odd, False, True),
        Entry("ollama:x:1b", str(tmp_path / "x"), 10**12, "Ollama", None, None, None, False, "x: cut short"),
    ]
    available = [model(name="gemma3-270m", size=238_175_078, license="Gemma Terms of Use", base=True)]
    gentle = model(sampling={"temperature": 0.2, "top_p": 0.9}, activations="int8x2")
    module(
        "store.resolve", resolve=resolve, available=lambda: available,
        recommended=lambda name: gentle if name == "gentle" else model(sampling={}, activations="int8"),
    )  # fmt: skip
    module("catalog.catalog", catalog=lambda: entries)
    module("loading", load=load)
    module("evaluation.perplexity", PerplexityMeasurement=PerplexityMeasurement)
    module("gguf.model_file", GGUF=GGUF)
    module("inspect.summary", summarize=lambda gguf: SUMMARY)
    return fake


SUMMARY = types.SimpleNamespace(
    path="m.gguf", version=3, architecture="llama", name="a\x1b[31m b", n_params=134_500_000, n_files=1,
    n_bytes=98_362_432, bits_per_weight=5.57, context_length=8192, n_vocab=None, mixture=None,
    types=[types.SimpleNamespace(type="Q4_1", n_tensors=210, n_weights=106_000_000, n_bytes=66_000_000, share=0.71)],
    metadata=[types.SimpleNamespace(key="general.name", type="string", text='"' + "long " * 60 + '"')],
    tensors=[types.SimpleNamespace(name="blk.0.attn_q.weight", type="Q4_1", shape=(576, 576), n_bytes=207_360)],
    to_dict=lambda: {"name": "é", "nan": float("nan"), "tensors": [1]},
)  # fmt: skip


@pytest.fixture
def stdin(monkeypatch):
    """Sets what stdin holds."""

    def set_stdin(data):
        data = data.encode() if isinstance(data, str) else data
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    set_stdin("")
    return set_stdin


@pytest.fixture
def subbyte(runtime, stdin, command_line):
    """Runs a command line on the fake runtime; returns exit code, stdout, stderr."""
    return command_line


COMMANDS = ("chat", "generate", "perplexity", "compare", "bench", "inspect", "diff", "pull", "ls")


def test_help_names_every_command(subbyte):
    code, out, err = subbyte("--help")
    assert (code, err) == (0, "") and all(f"\n  {name} " in out for name in COMMANDS)


def test_version(subbyte):
    code, out, err = subbyte("--version")
    assert (code, err) == (0, "") and out.startswith("subbyte ")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(subbyte, command):
    for option in ("--help", "-h"):
        code, out, err = subbyte(command, option)
        assert (code, err) == (0, "") and out.startswith(f"Usage: subbyte {command} ")


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("--nonsense",),
        *((command, "--nonsense") for command in COMMANDS),
        *((command, "a", "b", "c") for command in COMMANDS),
        *((command,) for command in ("generate", "perplexity", "compare", "bench", "inspect", "diff", "pull")),
        ("chat", "-c", "0"),
        ("chat", "-c", "many"),
        ("chat", "-t", "0"),
        ("chat", "-n", "-5"),
        ("chat", "--temp", "nan"),
        ("chat", "--top-p", "5"),
        ("chat", "--top-k", "-3"),
        ("chat", "--seed", "-1"),
        ("chat", "--reasoning-budget", "-1"),
        ("chat",),  # nothing on stdin
        ("generate", "m", "-p", ""),
        ("generate", "m", "-p", "a", "-f", "b"),
        ("generate", "m", "-p", "a", "-o", "yaml"),
        ("perplexity", "m"),
        ("perplexity", "m", "-f", "x", "--chunks", "0"),
        ("compare", "m", "-f", "x"),
        ("compare", "m", "n"),
        ("compare", "m", "n", "-f", "x", "-o", "csv", "--layers"),
        ("compare", "m", "n", "-f", "x", "--blame", "all"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(subbyte, args):
    code, out, err = subbyte(*args)
    assert (code, out) == (2, "")
    assert err.startswith("subbyte: ") and err.count("\n") == 1 and "--help tells more" in err


def test_no_command_shows_the_help(subbyte):
    code, out, err = subbyte()
    assert (code, out) == (2, "") and err.startswith("Usage: subbyte ") and "\n  chat " in err


@pytest.mark.parametrize("command", ["chat", "generate", "perplexity", "compare", "bench", "inspect", "pull"])
def test_an_unknown_model_is_exit_code_4(subbyte, stdin, tmp_path, command):
    stdin("hello")
    (tmp_path / "text").write_text("text")
    text = ("-f", str(tmp_path / "text"))
    more = {"generate": ("-p", "x"), "perplexity": text, "compare": ("m", *text)}.get(command, ())
    assert subbyte(command, "nowhere", *more) == (4, "", "subbyte: no model nowhere\n")


@pytest.mark.parametrize("command", ["chat", "generate", "perplexity"])
def test_a_refused_model_is_exit_code_3(subbyte, stdin, tmp_path, command):
    stdin("hello")
    (tmp_path / "text").write_text("text")
    more = ("-f", str(tmp_path / "text")) if command == "perplexity" else ()
    code, out, err = subbyte(command, "broken", *more)
    assert (code, out) == (3, "") and "not 'GGUF'" in err and err.count("\n") == 1


def test_inspect_of_a_broken_file_is_exit_code_3(subbyte, runtime):
    runtime.failure = errors.FormatError("m.gguf: truncated\nat \x1b[31m 7")
    assert subbyte("inspect", "m") == (3, "", "subbyte: m.gguf: truncated at \\x1b[31m 7\n")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (errors.NumericError("the output is not finite"), 5),
        (errors.ContextOverflow("full"), 5),
        (errors.ResourceError("no memory"), 4),
        (MemoryError(), 4),
        (OSError(errno.ENOSPC, "No space left on device"), 4),
        (RuntimeError("a bug"), 5),
        (KeyboardInterrupt(), 130),
    ],
)
def test_failures_while_running(subbyte, runtime, tmp_path, failure, code):
    runtime.failure = failure
    (tmp_path / "text").write_text("text")
    for args in (("generate", "m", "-p", "x"), ("perplexity", "m", "-f", str(tmp_path / "text"))):
        got, out, err = subbyte(*args)
        assert (got, out.strip()) == (code, "")
        assert err.count("\n") == (code != 130) and "Traceback" not in err


def test_a_value_that_no_model_can_be_loaded_with_is_wrong_usage(subbyte):
    code, out, err = subbyte("generate", "m", "-p", "x", "-t", "1000")
    assert (code, out) == (2, "") and err.startswith("subbyte: 1000 threads; allowed are 1 to 256 (")


@pytest.mark.parametrize("args", [("--debug", "generate"), ("generate", "--debug")])
def test_debug_shows_the_traceback(subbyte, runtime, args):
    runtime.failure = RuntimeError("a bug")
    code, out, err = subbyte(*args, "m", "-p", "x")
    assert (code, out) == (5, "")
    assert err.startswith("Traceback") and "\nsubbyte: internal error, RuntimeError: a bug" in err


def test_error_text_of_the_system():
    assert explain(OSError(errno.ENOENT, "No such file", "x.txt")) == (4, "x.txt: No such file")
    assert explain(OSError("odd")) == (4, "odd")


# ---- chat


def test_a_question_from_a_pipe_gets_just_the_answer(subbyte, stdin, runtime):
    stdin("What is the capital of France?\n")
    assert subbyte("chat") == (0, "You said: What is the capital of France?\n", "")
    assert runtime.found == ["smollm2"]


@pytest.mark.parametrize(
    ("data", "question"), [(b"\xef\xbb\xbfhi\n", "hi"), (b"a\xffb", "a�b"), (b" two\r\n lines\n\n", "two\r\n lines")]
)
def test_bytes_on_stdin(subbyte, stdin, runtime, data, question):
    stdin(data)
    assert subbyte("chat")[0] == 0
    assert runtime.conversation.messages[0].content == question


def test_options_reach_the_chat(subbyte, stdin, runtime):
    stdin("hi")
    args = "-sys Short. -c 64 -n 5 -t 2 --temp 0 --top-k 3 --top-p 0.5 --min-p 0.1 --repeat-penalty 1.1 -s 7".split()
    assert subbyte("chat", "m", *args)[0] == 0
    options = runtime.options
    assert (options["system"], options["n_ctx"], options["max_tokens"], runtime.threads) == ("Short.", 64, 5, 2)
    s = options["sampling"]
    assert (s.temperature, s.top_k, s.top_p, s.min_p, s.repeat_penalty, s.seed) == (0.0, 3, 0.5, 0.1, 1.1, 7)


def test_notes_only_when_asked_for(subbyte, stdin):
    stdin("cut here")
    assert subbyte("chat")[2] == ""
    stdin("cut here")
    code, out, err = subbyte("chat", "-v")
    assert (code, out) == (0, "You said: cut here\n")
    assert "the answer is truncated" in err and "10.0 tokens/s" in err


def test_a_full_context_in_a_chat(subbyte, stdin):
    stdin("fail")
    assert subbyte("chat") == (5, "", "subbyte: the context of 1000 tokens is full\n")


@pytest.mark.parametrize(
    ("args", "thoughts"),
    [
        ("", ""),
        ("-v", "thinking ...\nLet me see\\x1b[31m.\n\nDone.\nthought for 2.0 s, 3 tokens\n\n"),
        ("-v --hide-thinking", ""),
    ],
)
def test_reasoning_never_goes_to_stdout(subbyte, stdin, args, thoughts):
    stdin("think")
    code, out, err = subbyte("chat", *args.split())
    assert (code, out) == (0, "You said: think\n")
    lines = err.replace("…", "...").splitlines(keepends=True)  # by the encoding of stderr
    assert "".join(line for line in lines if not line.startswith("subbyte: ")) == thoughts
    assert ("(3 of reasoning)" in err) == ("-v" in args)


@pytest.mark.parametrize(
    ("err", "out", "verbose", "hidden", "expected"),
    [
        (True, True, False, False, "text"),
        (True, True, False, True, "line"),
        (True, False, False, False, "line"),
        (True, False, True, False, "text"),
        (False, True, False, False, "nothing"),
        (False, False, True, False, "text"),
        (False, False, True, True, "nothing"),
    ],
)
def test_how_reasoning_is_shown_beside_a_pipe(monkeypatch, err, out, verbose, hidden, expected):
    monkeypatch.setattr(sys, "stderr", types.SimpleNamespace(isatty=lambda: err))
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(isatty=lambda: out))
    reasoning = chat._reasoning(hidden, verbose)
    assert ("nothing" if reasoning is None else "line" if reasoning.hidden else "text") == expected


def test_an_answer_of_nothing_but_reasoning(subbyte, stdin, monkeypatch):
    monkeypatch.setattr(FakeChat, "_words", lambda self, text: ())
    stdin("think")
    code, out, err = subbyte("chat", "-v")
    assert (code, out) == (0, "\n") and "the model stopped while reasoning" in err


def test_an_answer_as_json(subbyte, stdin):
    stdin("think")
    code, out, err = subbyte("chat", "m", "-o", "json")
    found = json.loads(out)
    assert (code, err, found["model"], found["prompt"], found["text"]) == (0, "", "m", "think", "You said: think")
    assert "Done." in found["thinking"] and found["usage"]["thinking"] == 3


def test_a_conversation_is_text_only():
    command = ["-c", "from subbyte.cli.entry import main; main()", "chat", "smollm2", "-o", "json"]
    terminal = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=60)
    terminal.expect("-o json answers one question")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 2


def test_how_a_model_reasons(subbyte, stdin, runtime):
    for args, expected in (("", (None, None)), ("--think --reasoning-budget 0", (True, 0))):
        stdin("hi")
        assert subbyte("chat", *args.split())[0] == 0
        assert (runtime.options["thinking"], runtime.options["reasoning_budget"]) == expected
    stdin("hi")
    code, out, err = subbyte("chat", "--no-think")
    assert (code, out) == (2, "") and err.startswith("subbyte: this model always thinks (")


# ---- presets


def test_a_preset_gives_way_to_options(subbyte, stdin, runtime):
    for args, expected in (
        ("gentle --preset careful", (0.6, 20, 0.95, True)),
        ("m --preset careful --temp 1 --top-p 0.5", (1, 20, 0.5, True)),
        ("m --preset quick --think", (0.8, 40, 0.8, True)),
        ("m --preset quick", (0.8, 40, 0.8, None)),
    ):
        stdin("hi")
        assert subbyte("chat", *args.split())[0] == 0
        s = runtime.options["sampling"]
        assert (s.temperature, s.top_k, s.top_p, runtime.options["thinking"]) == expected
    stdin("hi")
    assert subbyte("chat", "--preset", "careful", "--no-think")[0] == 2  # told so, the model says that it can't


def test_a_preset_of_a_text(subbyte, runtime):
    assert subbyte("generate", "m", "-p", "x", "--preset", "careful", "--top-k", "5")[0] == 0
    assert (runtime.options["sampling"].temperature, runtime.options["sampling"].top_k) == (0.6, 5)


def test_a_chat_template_of_the_users(subbyte, runtime, stdin, tmp_path):
    (tmp_path / "t.jinja").write_text("{{ messages[0].content }}")
    stdin("hi")
    assert subbyte("chat", "m", "--chat-template", str(tmp_path / "t.jinja"))[0] == 0
    assert runtime.options["template"] == "{{ messages[0].content }}"
    stdin("hi")
    assert subbyte("chat", "m", "--chat-template", str(tmp_path / "none"))[0] == 4


def test_every_field_of_sampling_is_an_option(subbyte, runtime):
    args = (
        "--presence-penalty -0.5 --frequency-penalty 0.25 --ignore-eos -l 5+1.5,6-inf --logit-bias 7-2 "
        "--dry-multiplier 0.8 --dry-base 2 --dry-allowed-length 3 --dry-penalty-last-n 9 --ban foo "
        "--ban b\\tar --dry-sequence-breaker \\n --dry-sequence-breaker . --xtc-probability 0.5 --xtc-threshold 0.2"
    )
    assert subbyte("generate", "m", "-p", "x", *args.split())[0] == 0
    assert runtime.options["sampling"] == Sampling(
        presence_penalty=-0.5, frequency_penalty=0.25, ignore_eos=True, logit_bias={5: 1.5, 6: -math.inf, 7: -2.0},
        dry_multiplier=0.8, dry_base=2.0, dry_allowed_length=3, dry_penalty_last_n=9, dry_sequence_breakers=("\n", "."),
        xtc_probability=0.5, xtc_threshold=0.2, banned=("foo", "b\tar"),
    )  # fmt: skip
    assert subbyte("generate", "m", "-p", "x", "--dry-sequence-breaker", "none")[0] == 0
    assert runtime.options["sampling"] == Sampling(dry_sequence_breakers=())
    code, _, err = subbyte("generate", "m", "-p", "x", "-l", "the-inf")
    assert code == 2 and "is not like 15043+1,15044-inf" in err


def test_the_settings_are_the_fields_of_sampling():
    assert set(BY_NAME) == {field.name for field in dataclasses.fields(Sampling)}
    for name, setting in BY_NAME.items():
        value = getattr(Sampling(seed=1), name)
        if name != "dry_sequence_breakers":  # of several, the prompt takes one
            assert setting.read(setting.show(value)) == value


@pytest.mark.parametrize("args", ["chat m", "generate m -p x"])
def test_an_unknown_preset(subbyte, stdin, args):
    stdin("hi")
    code, out, err = subbyte(*args.split(), "--preset", "fast")
    assert (code, out) == (2, "") and err.startswith(
        "subbyte: this model has no preset fast: it offers careful, quick ("
    )


# ---- generate


def test_generate_from_argument_file_and_pipe(subbyte, stdin, tmp_path):
    (tmp_path / "text").write_text("a\nb\n")
    stdin("piped\n")
    assert subbyte("generate", "m", "-p", "x") == (0, "<x>\n", "")
    assert subbyte("generate", "m", "-f", str(tmp_path / "text")) == (0, "<a\nb>\n", "")
    assert subbyte("generate", "m") == (0, "<piped>\n", "")
    for written, prompt in ((b"x\r\n", "x"), (b"x\n\n", "x\n"), (b"x\r", "x\r"), (b"x\n ", "x\n ")):
        (tmp_path / "text").write_bytes(written)
        assert subbyte("generate", "m", "-f", str(tmp_path / "text")) == (0, f"<{prompt}>\n", "")


def test_generate_as_json(subbyte, runtime):
    code, out, err = subbyte("generate", "m", "-p", "é", "-n", "2", "-o", "json")
    facts = json.loads(out)
    assert (code, err, facts["text"], facts["prompt"], facts["stop_reason"]) == (0, "", "<é>", "é", "length")
    assert runtime.options["max_tokens"] == 2


def test_a_file_that_is_not_there(subbyte, tmp_path):
    missing = str(tmp_path / "missing")
    for args in (("generate", "m", "-f", missing), ("perplexity", "m", "-f", missing)):
        assert subbyte(*args) == (4, "", f"subbyte: {missing}: No such file or directory\n")


def test_a_text_without_end(subbyte):
    code, out, err = subbyte("generate", "m", "-f", "/dev/zero")
    assert (code, out) == (4, "") and err.startswith("subbyte: /dev/zero: a device, which may have no end; give a file")


def test_the_type_of_the_cache(subbyte, runtime, stdin):
    for command in ("chat", "generate"):
        for given, expected in (((), "f16"), (("--cache-type", "q8_0"), "q8_0")):
            stdin("hi")
            assert subbyte(command, "m", *given)[0] == 0
            assert runtime.options["cache_type"] == expected
    code, out, err = subbyte("generate", "m", "-p", "x", "--cache-type", "q4_0")
    assert (code, out) == (2, "") and "'q4_0' is not one of 'f16', 'q8_0', 'f32'" in err


def test_a_built_in_model_chats_as_suits_it(subbyte, runtime, stdin):
    for args, expected in (
        ("gentle", (0.2, 0.9, "int8x2")),
        ("gentle --temp 1 --activations float32", (1, 0.9, "float32")),
        ("m", (0.8, 0.95, "int8")),
    ):
        stdin("hi")
        assert subbyte("chat", *args.split())[0] == 0
        sampling = runtime.options["sampling"]
        assert (sampling.temperature, sampling.top_p, runtime.options["activations"]) == expected


# ---- perplexity


def test_perplexity(subbyte, runtime, tmp_path):
    text = tmp_path / "text"
    text.write_bytes(b"\xff bytes")
    assert subbyte("perplexity", "m", "-f", str(text), "--chunks", "2", "--cache-type", "q8_0") == (
        0,
        "[1]12.6138,[2]28.6503,\n"
        "PPL = 28.6503 ± 1.3790, 1.2346 bits per byte\n"
        "95% interval of PPL: 26.0200 to 31.5500, by block bootstrap\n"
        "25.00 ± 2.00 % of the tokens are the model's likeliest\n"
        "n_ctx 512, 2 chunks, 510 of 1100 tokens scored, int8x2 activations, q8_0 cache, 1.5 s\n"
        "text sha256 abc123\n",
        "",
    )  # fmt: skip
    given = {"n_ctx": None, "chunks": 2, "stride": None, "cache_type": "q8_0", "activations": "int8x2"}
    others = {"compat": False, "until_decided": False, "resume": None, "special": False, "workers": None}
    assert runtime.options == {"data": {str(text): b"\xff bytes"}, **given, **others}


def test_perplexity_as_json(subbyte, stdin):
    stdin("text")
    code, out, err = subbyte("perplexity", "m", "-f", "-", "-c", "128", "-o", "json")
    found = json.loads(out)
    assert (code, err, found["results"][0]["ppl"]) == (0, "", 28.65031)
    assert found["command"] == "subbyte perplexity m -f - -c 128 -o json"


def test_perplexity_of_several_models(subbyte, runtime, stdin):
    stdin("text")
    code, out, err = subbyte("perplexity", "a", "b", "-f", "-", "--until-decided", "--ppl-stride", "64")
    assert (code, err) == (0, "") and runtime.options["until_decided"] and runtime.options["stride"] == 64
    first, second = (line.split() for line in out.splitlines() if ".gguf" in line)
    assert first == ["a.gguf", "28.6503", "1.3790", "1.2346", "25.00%"]
    interval = perplexity_run(2).delta(1, 0).log_ratio
    low, high = f"{interval.low:+.5f}", f"{interval.high:+.5f}"
    assert second == ["b.gguf", *first[1:], "+25.00%", "-12.50%", "-0.01000", low, "..", high, "better"]
    stdin("text")
    code, out, _ = subbyte("perplexity", "a", "b", "-f", "-", "-o", "md")
    assert (
        f"| b.gguf | 28.6503 | 1.3790 | 1.2346 | 25.00% | +25.00% -12.50% | -0.01000 | {low} .. {high} | better |"
        in out
    )
    stdin("text")
    code, out, err = subbyte("perplexity", "a", "b", "-f", "-", "-o", "csv")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["ppl"] for row in rows] == ["28.65031"] * 2 and rows[1]["verdict"] == "better"
    assert rows[0]["command"] == "subbyte perplexity a b -f - -o csv"


def test_deciding_takes_two_models(subbyte, stdin):
    code, out, err = subbyte("perplexity", "a", "-f", "-", "--until-decided")
    assert (code, out) == (2, "") and "give two or more" in err


def test_perplexity_of_too_short_a_text(subbyte, runtime, stdin):
    runtime.failure = ValueError("the text has 3 tokens, 1024 are needed")
    code, out, err = subbyte("perplexity", "m", "-f", "-")
    assert (code, out.strip()) == (2, "") and "3 tokens" in err


MEASURE = """
from types import SimpleNamespace as Chunk
from subbyte.cli.terminal.perplexity_progress import PerplexityProgress
with PerplexityProgress(values=True) as running:
    for index in range(1, 13):
        running.update(Chunk(index=index, total=12, ppl=(10.0 + index,), error=(1.0,)))
print("PPL")
"""
VALUES = "".join(f"[{index}]{10.0 + index:.4f}," for index in range(1, 13))


@pytest.mark.parametrize("target", ["terminal", "file"])
def test_running_values_and_their_bar_share_a_terminal(tmp_path, target):
    file = tmp_path / "out"
    shell = 'exec "$@"' + (f" >{file}" if target == "file" else "")
    env = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"}
    child = pexpect.spawn(
        "sh", ["-c", shell, "sh", sys.executable, "-c", MEASURE], env=env, dimensions=(24, 80), timeout=300
    )
    written = child.read()
    child.close()
    screen = pyte.Screen(80, 24)
    pyte.ByteStream(screen).feed(written)
    shown = [line.rstrip() for line in screen.display if line.strip()]
    assert b"12/12" in written  # the bar was there, and is gone
    if target == "file":
        assert (file.read_text(), shown) == (f"{VALUES}\nPPL\n", [])
    else:
        assert ("".join(shown[:-1]), shown[-1]) == (VALUES, "PPL")
        assert len(shown) == 3 and all(line.endswith(",") for line in shown[:-1])


# ---- inspect, pull, ls


def test_inspect(subbyte):
    code, out, err = subbyte("inspect", "m")
    assert (code, err) == (0, "")
    assert "98.4 MB, 134M weights, 5.57 bits per weight" in out
    assert "\x1b" not in out and "a\\x1b[31m b" in out
    assert "long " * 60 in out  # a pipe is not cut
    assert "Q4_1" in out and "71.0%" in out and "blk.0" not in out
    assert "blk.0.attn_q.weight" in subbyte("inspect", "m", "--tensors")[1]


def test_inspect_of_a_file_without_tensors(subbyte, monkeypatch):
    monkeypatch.setattr(SUMMARY, "types", [])
    assert "types" not in subbyte("inspect", "m")[1]


def test_inspect_as_json(subbyte):
    code, out, err = subbyte("inspect", "m", "-o", "json")
    assert (code, err, json.loads(out)) == (0, "", {"name": "é", "nan": None})
    assert json.loads(subbyte("inspect", "m", "-o", "json", "--tensors")[1])["tensors"] == [1]


def test_a_table_fits_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(Table.of("", ("key", "n>", "value"), [("a.long.key", "7", "x" * 50), ("b", "10", "y")]))
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert [line.rstrip() for line in out.splitlines()] == [
        "key           n   value",
        "a.long.key    7   xxxxxxxxxxx…",
        "b            10   y",
    ]


def test_a_table_too_wide_for_the_terminal_keeps_all_but_the_last_column(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    print_table(Table.of("", ("key", "n>", "value"), [("a.long.key", "1234567", "x" * 50)]))
    assert capsys.readouterr().out.splitlines()[1].rstrip() == "a.long.key   1234567   xxxx…"


def test_pull_prints_the_path(subbyte, tmp_path):
    path = f"{tmp_path}/smollm2.gguf"
    assert subbyte("pull", "smollm2") == (0, f"{path}\n", "")
    assert json.loads(subbyte("pull", "smollm2", "-o", "json")[1]) == {"name": "smollm2", "path": path}


def test_ls(subbyte, tmp_path):
    code, out, err = subbyte("ls")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, err) == (0, "") and lines == [
        "name size fits kind bits weights architecture where block types file",
        f"smollm2 98.4 MB yes chat 5.74 135M llama subbyte Q4_1 71 %, Q8_0 29 % {tmp_path}/smollm2.gguf",
        f"hf:u/r 7 B yes not run here 7 rwkv Hugging Face {tmp_path}/r.gguf",
        f"ollama:x:1b 1.0 TB no damaged Ollama {tmp_path}/x",
        "gemma3-270m 238.2 MB base subbyte pull gemma3-270m",
    ]
    facts = json.loads(subbyte("ls", "-o", "json")[1])
    assert [m["size"] for m in facts["models"]] == [98_362_432, 7, 10**12]
    assert [m["base_model"] for m in facts["models"]] == [False, None, None]
    assert facts["models"][0]["types"] == [["Q4_1", 0.71], ["Q8_0", 0.29]]
    gemma = {"name": "gemma3-270m", "size": 238_175_078, "license": "Gemma Terms of Use", "base_model": True}
    assert facts["available"] == [gemma]
    rows = list(csv.DictReader(io.StringIO(subbyte("ls", "-o", "csv")[1])))
    assert [row["size"] for row in rows] == ["98362432", "7", "1000000000000", "238175078"] and rows[3]["path"] == ""
    assert rows[0]["types"] == "Q4_1 71 %, Q8_0 29 %"
    assert subbyte("ls", "-o", "md")[1].startswith("| name | size | fits | kind | bits |")


def test_ls_drops_the_columns_that_a_terminal_has_no_room_for():
    table = Table.of("", ("name", "size>", "file"), [("a" * 20, "1 B", "/long/path" * 9)])
    assert first_columns(table).columns == table.columns  # no terminal
    for width, kept in ((200, 3), (60, 2), (10, 1)):
        with patch("subbyte.cli.terminal.tables.rich_console", lambda width=width: types.SimpleNamespace(width=width)):
            assert [len(row) for row in first_columns(table).rows] == [kept]


# ---- the process: streams, signals, start


def process(*args, shell=None, **options):
    """Runs the installed command in a process of its own."""
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", *args]
    if shell is not None:
        command = ["sh", "-c", shell, "sh", *command]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, **options)


@pytest.mark.thorough
def test_closed_and_full_streams():
    assert process("--help", shell='"$@" >&-').returncode == 0
    full = process("--help", shell='"$@" >/dev/full')
    assert full.returncode == 4 and full.stderr.count(b"\n") == 1 and b"No space left" in full.stderr
    assert process("--nonsense", shell='"$@" 2>&-').returncode == 2
    assert process("chat", shell='"$@" <&-').returncode == 2


def test_a_reader_that_left_is_no_error():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from subbyte.cli.entry import main; main()", "--help"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_locale_that_is_not_utf_8():
    env = {**os.environ, "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = process("inspect", "/nowhere/é", env=env)
    assert done.returncode == 4 and done.stderr.count(b"\n") == 1


def test_help_imports_nothing_heavy():
    packages = "numpy prompt_toolkit rich markdown_it pygments tokenizers jinja2 huggingface_hub".split()
    heavy = [*packages, "subbyte.kernels", "subbyte.runtime.gguf"]
    code = (
        "import sys; from subbyte.cli.main import run; run(['--help']); "
        f"print(*(name for name in {heavy} if name in sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, b"")


def test_the_prompt_imports_no_database():
    code = "import sys; import subbyte.cli.main, subbyte.cli.repl.prompt; sys.exit('sqlite3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_every_file_of_the_room_is_short():
    import subbyte.cli

    folder = Path(subbyte.cli.__file__).parent
    assert {path.name: n for path in folder.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300} == {}


@pytest.mark.parametrize("command", [("chat", "m"), ("generate", "m", "-p", "x")])
def test_what_guesses_tokens(runtime, subbyte, stdin, command):
    for given, drafter in (((), "lookup"), (("--draft", "lookup"), "lookup"), (("--draft", "off"), None)):
        stdin("hi")
        assert subbyte(*command, *given)[0] == 0
        assert runtime.options["draft"] == drafter
    stdin("hi")
    assert subbyte(*command, "--draft", "small")[0] == 0
    assert isinstance(runtime.options["draft"], FakeModel) and runtime.found[-2:] == ["m", "small"]
    stdin("hi")
    assert subbyte(*command, "--draft", "nowhere")[0] != 0
