"""Tokens that end a generation, tokens that are never generated, and special tokens that swallow white space."""

import pytest
from fake_engine import FakeSession
from gguf_builder import BOOL, STR, U8, array
from vocabularies import CONTROL, NORMAL, SPM_TOKENS, SPM_TYPES, USER_DEFINED, alphabet, load

from subbyte.errors import FormatError, TokenizerError
from subbyte.runtime.generation.generation import complete
from subbyte.runtime.generation.options import GenerationOptions
from subbyte.runtime.generation.sampling import Sampling
from subbyte.runtime.template.chat_template import ChatTemplate
from subbyte.runtime.tokenizer.special_tokens import EOG_TEXTS, FIM_TEXTS, REPLY_ENDS

BPE = {"model": "gpt2", "pre": "gpt-2", "merges": ["a b"]}
GREEDY = Sampling(temperature=0)

# Special tokens as the vendors' tokenizer files list them, the one that the file names as eos, and those that end.
FAMILIES = {
    "Qwen3": (
        "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> "
        "<|fim_pad|> <|repo_name|> <|file_sep|> <tool_call> </tool_call> <think> </think>",
        "<|im_end|>",
        "<|endoftext|> <|im_end|> <|fim_pad|> <|repo_name|> <|file_sep|>",
    ),
    "Llama 3.1": (
        "<|begin_of_text|> <|end_of_text|> <|finetune_right_pad_id|> <|start_header_id|> <|end_header_id|> <|eom_id|> "
        "<|eot_id|> <|python_tag|>",
        "<|eot_id|>",
        "<|end_of_text|> <|eom_id|> <|eot_id|>",
    ),
    "Gemma 3": (
        "<pad> <eos> <bos> <unk> <mask> <start_of_turn> <end_of_turn> <s> </s>",
        "<eos>",
        "<eos> <end_of_turn> </s>",
    ),
    "SmolLM2": (
        "<|endoftext|> <|im_start|> <|im_end|> <repo_name> <reponame> <file_sep> <filename>",
        "<|im_end|>",
        "<|endoftext|> <|im_end|> <reponame>",
    ),
    "EXAONE Deep": (
        "[PAD] [BOS] [EOS] [UNK] [|system|] [|user|] [|assistant|] [|endofturn|]",
        "[|endofturn|]",
        "[PAD] [EOS] [|endofturn|]",
    ),
    "Phi 4": (
        "<|endoftext|> <|im_start|> <|im_end|> <|im_sep|> <|fim_prefix|>",
        "<|im_end|>",
        "<|endoftext|> <|im_end|>",
    ),
    "Phi 3": ("<|endoftext|> <|assistant|> <|system|> <|end|> <|user|>", "<|end|>", "<|endoftext|> <|end|>"),
    "Mistral": ("<unk> <s> </s> [INST] [/INST] [TOOL_CALLS]", "</s>", "</s>"),
    "gpt-oss": (
        "<|startoftext|> <|endoftext|> <|return|> <|constrain|> <|channel|> <|start|> <|end|> <|message|> <|call|>",
        "<|return|>",
        "<|endoftext|> <|return|> <|call|>",  # <|end|> ends a message, of several in a reply
    ),
    "Solar Open": ("<s> <|endoftext|> <|end|> <|flush|> <|calls|>", "<|flush|>", "<|endoftext|> <|flush|> <|calls|>"),
    # Of these the tokens that their templates or llama.cpp name, and the ends that llama.cpp finds among them.
    "LFM2": ("<|startoftext|> <|endoftext|> <|im_start|> <|im_end|>", "<|im_end|>", "<|endoftext|> <|im_end|>"),
    "Granite 4": (
        "<|pad|> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> <|end_of_text|> <|start_of_role|>",
        "<|end_of_text|>",
        "<|end_of_text|> <|fim_pad|>",
    ),
    "Nemotron 3 Nano": ("<unk> <s> </s> <|im_start|> <|im_end|>", "<|im_end|>", "</s> <|im_end|>"),
    "Nemotron Nano 2": ("<unk> <s> </s> <SPECIAL_10> <SPECIAL_11> <SPECIAL_12>", "<SPECIAL_12>", "</s> <SPECIAL_12>"),
    "Falcon-H1": (
        "<|pad|> <|end_of_text|> <|im_start|> <|im_end|> <|prefix|> <|middle|> <|suffix|>",
        "<|end_of_text|>",
        "<|end_of_text|> <|im_end|>",
    ),
    "DeepSeek V2": (
        "<\uff5cbegin▁of▁sentence\uff5c> <\uff5cend▁of▁sentence\uff5c> <\uff5cfim▁hole\uff5c>",
        "<\uff5cend▁of▁sentence\uff5c>",
        "<\uff5cend▁of▁sentence\uff5c>",
    ),
    "Moonlight": (
        "[BOS] [EOS] <|im_end|> <|im_user|> <|im_middle|> [EOT] [PAD] [UNK]",
        "<|im_end|>",
        "[EOS] <|im_end|> [EOT] [PAD]",
    ),
    "Kanana 2": (
        "<|begin_of_text|> <|end_of_text|> <|eot_id|> <|eom_id|>",
        "<|eot_id|>",
        "<|end_of_text|> <|eot_id|> <|eom_id|>",
    ),
    "GigaChat 3": ("<unk> <s> </s> <|role_sep|> <|message_sep|> <|function_call|>", "</s>", "</s>"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_which_tokens_end_a_generation(tmp_path, family):
    specials, eos, ends = FAMILIES[family]
    tokens = [*alphabet(), *specials.split()]
    types = [NORMAL] * 256 + [CONTROL] * (len(tokens) - 256)
    tokenizer = load(tmp_path / "v.gguf", **BPE, tokens=tokens, token_type=types, eos_token_id=tokens.index(eos))
    assert sorted(map(tokenizer.text, tokenizer.eog)) == sorted(ends.split())


@pytest.mark.parametrize("type", [NORMAL, USER_DEFINED, CONTROL])
def test_every_one_of_them_stops_and_none_is_shown(tmp_path, type):
    others = {other for _, other in REPLY_ENDS}  # with which <|end|> would be none
    ends = [*(text for text in EOG_TEXTS if text not in others), *(texts[0] for texts in FIM_TEXTS.values())]
    tokens = [*alphabet(), *ends]
    tokenizer = load(tmp_path / "v.gguf", **BPE, tokens=tokens, token_type=[NORMAL] * 256 + [type] * len(ends))
    for text in ends:
        script = [*tokenizer.encode("so it ends"), tokenizer.id(text), *tokenizer.encode(" here")]
        reply = complete(FakeSession(tokenizer.n_vocab, script=script), tokenizer, "x", GenerationOptions(GREEDY)).run()
        assert (reply.text, reply.stop_reason) == ("so it ends", "eog"), text


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(seed=1), Sampling(top_k=0, top_p=1.0, min_p=0.0, seed=1)])
def test_suppressed_tokens_are_never_generated(tmp_path, sampling):
    tokens = alphabet()
    favourite, second = tokens.index("a"), tokens.index("b")
    keys = BPE | {"tokens": tokens}
    for suppressed, expected in [([], "a" * 20), ([favourite, 7, favourite], "b" * 20)]:
        array_of_ids = {"suppress_tokens": suppressed} if suppressed else {}
        tokenizer = load(tmp_path / "v.gguf", **keys, **array_of_ids)
        assert tokenizer.suppressed == sorted(set(suppressed))
        session = TwoFavourites(favourite, second)
        assert complete(session, tokenizer, "x", GenerationOptions(sampling, 20)).run().text == expected


class TwoFavourites(FakeSession):
    """A model that would always say one token, and if it must not, another one."""

    def __init__(self, favourite: int, second: int) -> None:
        super().__init__(256)
        self.favourite, self.second = favourite, second

    def eval(self, tokens, logits="last", on_progress=None):
        row = super().eval(tokens, logits)
        if row is not None:
            row[:] = -1000.0
            row[[self.favourite, self.second]] = 100.0, 50.0
        return row


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (7, FormatError, "'tokenizer.ggml.suppress_tokens' is u32 7; allowed is an array"),
        ("7", FormatError, "is str '7'; allowed is an array"),
        (["7"], FormatError, "is an array of 1 str; allowed is an array of at most 65536 integers from 0 to 255"),
        ([0.5], FormatError, "is an array of 1 f32; allowed"),
        (array(BOOL, [True]), FormatError, "is an array of 1 bool; allowed"),
        ([3, 256], FormatError, "with 256 at index 1; allowed is .* from 0 to 255: "),
        ([3, -1], FormatError, "with -1 at index 1; "),
        (array(U8, [1] * 65_537), FormatError, "is an array of 65537 u8; allowed is an array of at most 65536"),
        (list(range(256)), TokenizerError, "suppress_tokens holds all 256 tokens: nothing could be generated"),
    ],
)
def test_bad_lists_of_suppressed_tokens(tmp_path, value, error, message):
    with pytest.raises(error, match=message) as caught:
        load(tmp_path / "v.gguf", **BPE, tokens=alphabet(), suppress_tokens=value)
    assert "v.gguf" in str(caught.value)


def test_lists_of_other_integers_and_none_suppressed(tmp_path):
    for items, suppressed in [(array(U8, [9, 5, 9]), [5, 9]), (array(STR, []), [])]:
        tokenizer = load(tmp_path / "v.gguf", **BPE, tokens=alphabet(), suppress_tokens=items)
        assert tokenizer.suppressed == suppressed


PHI3_SPECIALS = ["<|endoftext|>", "<|assistant|>", "<|end|>", "<|user|>"]
PHI3 = {
    "model": "llama",
    "tokens": [*SPM_TOKENS, "▁", "a", "b", *PHI3_SPECIALS, "<mine>"],
    "scores": [0.0] * 267,
    "token_type": [*SPM_TYPES, NORMAL, NORMAL, NORMAL, CONTROL, CONTROL, CONTROL, CONTROL, USER_DEFINED],
    "add_space_prefix": False,
}


@pytest.mark.parametrize("name", ["Phi-3-mini-4k-instruct", "My PHI3 Tune", "Phi 3", ""])
def test_special_tokens_of_phi3_swallow_white_space(tmp_path, name):
    swallow = name not in ("Phi 3", "")
    tokenizer = load(tmp_path / "v.gguf", name=name, **PHI3)

    def encoded(text: str, **options: bool) -> str:
        return " ".join(map(tokenizer.text, tokenizer.encode(text, special=True, **options)))

    assert encoded("<|user|>\n a<|end|>\v\f\r\t<|assistant|>\n") == (
        "<|user|> a <|end|> <|assistant|>"
        if swallow
        else "<|user|> <0x0A> ▁ a <|end|> <0x0B> <0x0C> <0x0D> <0x09> <|assistant|> <0x0A>"
    )
    for kept in ("<unk>", "<s>", "<|endoftext|>"):
        assert encoded(f"{kept} a") == f"{kept} ▁ a"
    assert encoded("</s> a") == ("</s> a" if swallow else "</s> ▁ a")
    assert encoded(" a") == "▁ a"  # nothing special before it
    assert encoded("<|end|>\u00a0a") == "<|end|> <0xC2> <0xA0> a"  # only ASCII's white space
    assert tokenizer.encode("<mine> a") == tokenizer.encode("<mine>a" if swallow else "<mine> a")
    assert tokenizer.encode("<|end|> a") == tokenizer.encode("<|end|>") + tokenizer.encode(" a")  # plain text here


def test_the_white_space_of_a_chat_prompt_goes_too(tmp_path):
    turn = "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}"
    template = "{% for m in messages %}" + turn + "{% endfor %}{{ '<|assistant|>\n' }}"
    for name, joined in [("phi-3", "<|user|>a<|end|><|assistant|>"), ("", "<|user|>\na<|end|>\n<|assistant|>\n")]:
        tokenizer = load(tmp_path / "v.gguf", name=name, **PHI3)
        ids = ChatTemplate(template, tokenizer).encode([{"role": "user", "content": "a"}])
        assert tokenizer.decode(ids[1:], special=True) == joined  # without BOS


def test_control_tokens_that_hold_a_text(tmp_path):
    tokens = [*alphabet(), "[|user|]", "<user>", "[|us|]", "user", "<|user"]
    types = [NORMAL] * 256 + [CONTROL, USER_DEFINED, CONTROL, CONTROL, CONTROL]
    tokenizer = load(tmp_path / "v.gguf", **BPE, tokens=tokens, token_type=types)
    assert tokenizer.controls_with("user", 9) == [256, 259, 260]
    assert tokenizer.controls_with("user", 2) == [256, 259] and tokenizer.controls_with("é", 9) == []
