"""llama-cpp-python's calls: shapes as that package gives them (recorded of 0.3.36), contents as the library's own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from template_conversations import source
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.runtime.compat.llama_cpp import Llama, LlamaGrammar, LogitsProcessorList, StoppingCriteriaList

SHAPES = json.loads((Path(__file__).parent / "llama_cpp_shapes.json").read_text())
PROMPT = "the inn and"
QUESTION = [{"role": "user", "content": "the inn"}]
LAMP = {
    "name": "lamp",
    "description": "Switches it.",
    "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]},
}
GREEDY = {"temperature": 0.0, "max_tokens": 6}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "m.gguf"
    write_model(path, types=["Q8_0"], strings={"tokenizer.chat_template": source("qwen3")})
    return path


@pytest.fixture(scope="module")
def llama(path: Path) -> Iterator[Llama]:
    with Llama(str(path), n_ctx=1024, n_threads=1, n_gpu_layers=-1, verbose=False) as llama:
        yield llama


@pytest.fixture(scope="module")
def model(path: Path) -> Iterator[sb.Model]:
    with sb.load(path, threads=1) as model:
        yield model


def assert_shape(found: Any, wanted: Any, where: str = "") -> None:
    """What is found has every key of what is wanted, of the same type; more keys are no fault."""
    if wanted == "null":
        return
    if isinstance(wanted, dict):
        assert isinstance(found, dict), where
        for key, kind in wanted.items():
            for name in found if key == "*" else [key]:
                assert name in found, f"{where}.{name}"
                assert_shape(found[name], kind, f"{where}.{name}")
    elif isinstance(wanted, list):
        assert isinstance(found, list), where
        for each in found if wanted else ():
            if each is not None:
                assert_shape(each, wanted[0], f"{where}[]")
    else:
        assert type(found).__name__ == wanted, where


def test_shapes_are_those_of_llama_cpp_python(llama: Llama) -> None:
    pytest.importorskip("llguidance")
    chunks = list(llama.create_completion(PROMPT, stream=True, **GREEDY))
    with_logprobs = list(llama.create_completion(PROMPT, stream=True, logprobs=2, **GREEDY))
    said = list(llama.create_chat_completion(QUESTION, stream=True, **GREEDY))
    said_with_logprobs = list(
        llama.create_chat_completion(QUESTION, stream=True, logprobs=True, top_logprobs=1, **GREEDY)
    )
    choice = {"type": "function", "function": {"name": "lamp"}}
    call = llama.create_chat_completion(
        QUESTION, tools=[{"type": "function", "function": LAMP}], tool_choice=choice, temperature=0, max_tokens=200
    )
    found = {
        "completion": llama(PROMPT, **GREEDY),
        "completion with logprobs": llama(PROMPT, logprobs=2, **GREEDY),
        "completion, first chunk": chunks[0],
        "completion, last chunk": chunks[-1],
        "completion, chunk with logprobs": with_logprobs[0],
        "chat": llama.create_chat_completion(QUESTION, **GREEDY),
        "chat with logprobs": llama.create_chat_completion(QUESTION, logprobs=True, top_logprobs=2, **GREEDY),
        "chat, first chunk": said[0],
        "chat, second chunk": said[1],
        "chat, last chunk": said[-1],
        "chat, chunk with logprobs": said_with_logprobs[1],
        "chat with a call": call,
        "embedding": llama.create_embedding(["the inn", "an"]),
    }
    assert found.keys() == SHAPES.keys()
    for name, value in found.items():
        assert_shape(value, SHAPES[name], name)
    assert chunks[-1]["choices"][0]["finish_reason"] == said[-1]["choices"][0]["finish_reason"] == "length"
    assert json.loads(call["choices"][0]["message"]["function_call"]["arguments"]).keys() == {"on"}
    legacy = llama.create_chat_completion(
        QUESTION, functions=[LAMP], function_call={"name": "lamp"}, temperature=0, max_tokens=200, stream=True
    )
    calls = [
        c["choices"][0]["delta"]["function_call"]["name"] for c in legacy if c["choices"][0]["delta"].get("tool_calls")
    ]
    assert calls == ["lamp"]


def test_completions_are_the_librarys(llama: Llama, model: sb.Model) -> None:
    reply = model.generate(PROMPT, max_tokens=6, sampling=sb.Sampling(temperature=0)).run()
    whole = llama(PROMPT, **GREEDY)
    text = whole["choices"][0]["text"]
    assert text == reply.text and whole["usage"]["prompt_tokens"] == reply.usage.prompt
    assert "".join(c["choices"][0]["text"] for c in llama(PROMPT, stream=True, **GREEDY)) == text
    assert llama(llama.tokenize(PROMPT.encode()), **GREEDY)["choices"][0]["text"] == text
    assert llama(PROMPT, echo=True, **GREEDY)["choices"][0]["text"] == PROMPT + text
    assert llama(PROMPT, suffix="!", **GREEDY)["choices"][0]["text"] == text + "!"
    stopped = llama(PROMPT, stop=text[2:4], **GREEDY)["choices"][0]
    assert (stopped["text"], stopped["finish_reason"]) == (text[:2], "stop")
    assert len({llama(PROMPT, temperature=2.0, seed=4)["choices"][0]["text"] for _ in range(2)}) == 1
    assert llama(PROMPT, max_tokens=None, temperature=0)["usage"]["completion_tokens"] > 100
    first = model.tokenize(text)[0]
    assert not llama(PROMPT, logit_bias={first: -100}, **GREEDY)["choices"][0]["text"].startswith(text[:1])
    with pytest.raises(ValueError, match=r"the prompt has \d+ tokens, but the context holds 1024"):
        llama("the inn " * 600)
    with pytest.raises(ValueError, match="messages"):
        llama.create_chat_completion([{"role": "king", "content": "a"}])


def test_each_token_has_its_log_probability(llama: Llama, model: sb.Model) -> None:
    """Of the prompt as `score` has them, and also of the token that ends the text: harnesses count from the end."""
    ids = model.tokenize(PROMPT)
    found = llama(PROMPT, echo=True, logprobs=2, max_tokens=1, logit_bias={llama.token_eos(): 100.0})["choices"][0]
    told = found["logprobs"]
    assert (found["text"], found["finish_reason"]) == (PROMPT, "stop")
    assert len(told["tokens"]) == len(ids) + 1 == len(told["top_logprobs"]) and told["tokens"][-1] == "<|im_end|>"
    assert told["token_logprobs"][0] is None and told["text_offset"][:2] == [0, len(model.tokenizer.piece(ids[0]))]
    expected = model.score(PROMPT).logprobs[1:]
    np.testing.assert_allclose(told["token_logprobs"][1:-1], expected, atol=0.2)  # int8 activations here
    half = llama("H", max_tokens=1, logprobs=0, logit_bias={llama.tokenize("é".encode())[0]: 100.0})["choices"][0]
    assert half["text"] == "" and len(half["logprobs"]["tokens"]) == 1


def test_chats_are_the_librarys(llama: Llama, model: sb.Model) -> None:
    with model.chat(messages=QUESTION, max_tokens=6, sampling=sb.Sampling(temperature=0), activations="int8") as chat:
        reply = chat.reply()
    whole = llama.create_chat_completion(QUESTION, **GREEDY)
    assert whole["choices"][0]["message"]["content"] == reply.text and whole["model"] == llama.model_path
    assert whole["usage"]["completion_tokens"] == 6


def test_grammars_and_functions_of_the_program(llama: Llama) -> None:
    pytest.importorskip("llguidance")
    grammar = LlamaGrammar.from_string('root ::= "yes" | "no"', verbose=False)
    assert llama(PROMPT, grammar=grammar, temperature=0)["choices"][0]["text"] in ("yes", "no")
    schema = LlamaGrammar.from_json_schema('{"type": "boolean"}')
    said = llama.create_chat_completion([*QUESTION, {"role": "user", "content": "/no_think"}], grammar=schema)
    assert said["choices"][0]["message"]["content"].strip() in ("true", "false")
    lengths: list[int] = []
    criteria = StoppingCriteriaList([lambda ids, logits: lengths.append(len(ids)) or len(ids) > n_prompt + 2])
    n_prompt = len(llama.tokenize(PROMPT.encode()))
    cut = llama(PROMPT, stopping_criteria=criteria, temperature=0, max_tokens=20)
    assert cut["choices"][0]["finish_reason"] == "stop" and cut["usage"]["completion_tokens"] <= 4
    assert lengths[-1] == n_prompt + 3
    only = LogitsProcessorList([lambda ids, scores: np.where(np.arange(len(scores)) == 97, scores, -np.inf)])
    assert llama(PROMPT, logits_processor=only, max_tokens=3)["choices"][0]["text"] == "aaa"


def test_tokens(llama: Llama, model: sb.Model) -> None:
    assert llama.tokenize(b"the inn") == model.tokenize("the inn")
    assert llama.tokenize(b"a<|im_end|>", special=True)[-1] == model.tokenizer.id("<|im_end|>") == llama.token_eos()
    assert llama.detokenize(llama.tokenize("Hé".encode())) == "Hé".encode()
    assert llama.detokenize(llama.tokenize("Hé".encode())[:2]) == "Hé".encode()[:2]  # half a character
    assert (llama.n_ctx(), llama.n_vocab(), llama.n_embd()) == (1024, N_VOCAB, 64)
    assert llama.metadata["general.architecture"] == "llama"


@pytest.mark.parametrize("logits_all", [False, True])
def test_tokens_are_evaluated_and_sampled(path: Path, model: sb.Model, logits_all: bool) -> None:
    with Llama(path, n_ctx=64, n_threads=1, logits_all=logits_all, seed=3) as llama:
        with pytest.raises(ValueError, match="nothing is evaluated yet"):
            llama.sample()
        ids = llama.tokenize(PROMPT.encode())
        llama.eval(ids)
        with model.session(64) as session:
            rows = session.eval(ids, "all")
        assert np.array_equal(llama.scores, rows if logits_all else rows[-1:])
        state, first = llama.save_state(), llama.sample(temp=0)
        assert first == rows[-1].argmax() and llama.input_ids.tolist() == ids and state.n_tokens == len(ids)
        llama.eval([first])
        second = llama.sample(temp=0)
        llama.load_state(state)
        assert llama.sample(temp=0) == first and llama.n_tokens == len(ids)
        generated = llama.generate(ids, temp=0)
        assert [next(generated), next(generated)] == [first, second]
        assert generated.send([5]) is not None and llama.eval_tokens[-1] == 5 and llama.n_tokens == len(ids) + 3
        biased = LogitsProcessorList([lambda ids, scores: scores * 0 + (np.arange(len(scores)) == 7)])
        assert next(llama.generate(ids, temp=0, logits_processor=biased)) == 7
        assert list(llama.generate(ids, stopping_criteria=lambda ids, logits: True)) == []
        llama.reset()
        assert llama.n_tokens == 0 and not llama.eval_tokens and not llama.eval_logits
        with pytest.raises(ValueError, match="64"):
            llama.eval([1] * 65)


def test_embeddings(llama: Llama, model: sb.Model) -> None:
    texts = ["the inn", "an"]
    assert llama.embed(texts, normalize=True) == model.embed(texts).tolist()
    one, n_tokens = llama.embed("an", return_count=True)
    assert one == model.embed("an", normalize=False)[0].tolist() and n_tokens == len(model.tokenize("an"))


def test_arguments_that_do_not_count_here(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Llama(path, n_ctx=64, n_batch=8, use_mlock=True, flash_attn=True) as llama:
        assert llama("a", max_tokens=1, typical_p=1.0, tfs_z=1.0, mirostat_mode=0) and not caplog.records
        llama("a", max_tokens=1, mirostat_mode=2)
        assert "mirostat_mode=2 is not done here: results differ" in caplog.text
    with Llama(path, n_ctx=0, rope_freq_base=1e6, shiny=True, type_k=8, type_v=8) as llama:
        assert "rope_freq_base=1000000.0 is not done here" in caplog.text and "'shiny' is not known here" in caplog.text
        assert llama.n_ctx() == llama._model.config.n_ctx_train
    for wrong, message in (
        ({"lora_path": "x"}, "lora_path can't be used here"),
        ({"type_k": 8}, "type_k and type_v are 8 and None"),
        ({"pooling_type": 9}, "pooling_type is 9"),
    ):
        with pytest.raises(ValueError, match=message):
            Llama(path, **wrong)  # type: ignore[arg-type]


def test_a_chat_format_instead_of_the_files(path: Path) -> None:
    with Llama(path, n_ctx=256, chat_format="chatml") as chatml, Llama(path, n_ctx=256) as own:
        lengths = [each.create_chat_completion(QUESTION, **GREEDY)["usage"]["prompt_tokens"] for each in (chatml, own)]
    assert lengths[0] == lengths[1]  # Qwen's is ChatML
    assert chatml._model.template.source != own._model.template.source


def test_a_file_of_the_hub_by_a_pattern(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["a-q4.gguf", "a-q8.gguf", "big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "notes.txt"]
    fetched: list[str] = []
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda self, repo: files)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda repo, file, **folders: fetched.append(file) or str(path)
    )
    with Llama.from_pretrained("user/repo", "*q8.gguf", n_ctx=64) as llama:
        assert fetched == ["a-q8.gguf"] and llama.model_path == str(path)
    fetched.clear()
    with Llama.from_pretrained("user/repo", "big*", additional_files=["notes*"], n_ctx=64):
        assert fetched == ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "notes.txt"]
    with pytest.raises(sb.ModelNotFound, match=r"2 files of 'user/repo' match 'a-\*'; there are 'a-q4.gguf'"):
        Llama.from_pretrained("user/repo", "a-*")
    with pytest.raises(sb.ModelNotFound, match="no file of 'user/repo' matches 'x'"):
        Llama.from_pretrained("user/repo", "x")
