"""Chat templates: rendered as Hugging Face does, control tokens only from the template, hostile templates stopped."""

import json
import logging
from datetime import datetime
from typing import Any

import pytest
from fake_engine import CONTROL, FakeTokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from template_cases import HOSTILE
from template_helper_process import helper_pid, memory_peak, own_memory, processor_seconds
from vocabularies import model_file

import subbyte as sb
from subbyte.errors import TemplateError
from subbyte.runtime.template.chat_template import CHATML, ChatTemplate
from subbyte.runtime.template.limits import PROCESS_MEMORY, PROCESS_SECONDS

SMOLLM2 = """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
{{ '<|im_start|>system\nBe helpful<|im_end|>\n' }}{% endif %}\
{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
LLAMA3 = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{%- if not date_string is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Today Date: " + date_string + "\n\n" }}
{%- if tools is not none %}{{- tools | tojson(indent=4) }}{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""
GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {%- set role = "model" -%}
    {%- else -%}
        {%- set role = message['role'] -%}
    {%- endif -%}
    {{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}{{ item['text'] | trim }}{%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
"""
QWEN = """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string \
and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set reasoning_content = '' %}
        {%- if '</think>' in content %}
            {%- set reasoning_content = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}
            {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content + '\n</think>\n\n' + content }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\n' + content }}
        {%- endif %}
        {{- '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>' ~ message.role ~ '\n' ~ message.content ~ '<|im_end|>' ~ '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"""
EXAONE = """{% for message in messages %}{% if loop.first and message['role'] != 'system' %}\
{{ '[|system|][|endofturn|]\n' }}{% endif %}{{ '[|' + message['role'] + '|]' + message['content'] }}\
{% if message['role'] == 'user' %}{{ '\n' }}{% else %}{{ '[|endofturn|]\n' }}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '[|assistant|]' }}{% endif %}"""
ROLE_IN_TEXT = """{% for m in messages %}[|{{ m.role }}|]{% generation %}{{ m.content }}{% endgeneration %}
{% if loop.index > 90 %}{% break %}{% endif %}{% endfor %}"""
FAMILIES = {
    "chatml": CHATML, "smollm2": SMOLLM2, "llama3": LLAMA3, "gemma": GEMMA, "qwen": QWEN, "exaone": EXAONE,
    "role-in-text": ROLE_IN_TEXT,
}  # fmt: skip
NOW = datetime(2026, 11, 22, 10, 30)


def tokenizer() -> FakeTokenizer:
    return FakeTokenizer(bos="<s>")


def turns(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    rows = [{"role": "system", "content": system}] if system is not None else []
    return rows + [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(texts)]


def hugging_face(source: str, messages: list[dict[str, str]], **variables: Any) -> str:
    """transformers' rendering: its environment, without our bounds and marks."""
    from jinja2.ext import Extension, LoopControlExtension

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def fail(message: str) -> None:
        raise ValueError(message)

    def tojson(x: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, LoopControlExtension]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {"raise_exception": fail, "strftime_now": NOW.strftime}
    values = {"tools": None, "documents": None, "bos_token": "<s>", "eos_token": "<|im_end|>"}
    values |= {"add_generation_prompt": True}
    return environment.from_string(source).render(messages=messages, **{**values, **variables})


CONVERSATIONS = [
    turns("Hi"),
    turns("Hi", "hello  \n", " What is 1 + 1?\n"),
    turns("é😀", "<think>\nhm\n</think>\n\n2", "and <b>?", system=" Be brief.\n"),
    turns("</think>", "<think>a</think>b</think>c", "", "x", "y"),
]


@pytest.mark.parametrize("messages", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_rendering_is_hugging_faces_and_ids_are_those_of_its_text(family: str, messages: list[dict[str, str]]) -> None:
    vocabulary = tokenizer()
    template = ChatTemplate(FAMILIES[family], vocabulary)
    for variables in ({}, {"add_generation_prompt": False}, {"enable_thinking": False}, {"tools": [{"n": "é<"}]}):
        expected = hugging_face(FAMILIES[family], messages, **variables)
        assert template.render(messages, now=NOW, **variables) == expected
        assert template.encode(messages, now=NOW, **variables) == vocabulary.encode(expected, special=True)


MANNERS = r"""
{{ loop.previtem.role if not loop.first }}{{ loop.nextitem.role if not loop.last }}{{ loop.cycle('a', 'b') }}
{{ loop.revindex }}
{{ messages[::-1][0].content[-2:] }}{{ messages[1:] | length }}{{ (messages | first).role }}{{ messages[-2:] }}
{{ f(m.role) }}{{ f('b', 'c', q=1) }}{% call g() %}in {{ m.content }}{% endcall %}
{{ m | tojson }}{{ messages | tojson(indent=2, sort_keys=true) }}
{{ m | tojson(ensure_ascii=true, separators=(',', ':')) }}
{{ messages | map(attribute='role') | join(',') }}{{ messages | map(attribute='content') | map('trim') | list }}
{{ messages | selectattr('role', 'equalto', 'user') | list }}
{{ messages | rejectattr('x', 'defined') | list | length }}
{{ m.items() | list }}{{ m | items | list }}{{ m.keys() | list }}{{ m | dictsort }}{{ m.get('x', 'd') }}
{{ 'x' in m }}
{{ m is mapping }}{{ m.content is string }}{{ m is sequence }}{{ m.x is defined }}{{ m['x'] is none }}
{{ 3 is odd }}
{% set ns = namespace(a=1) %}{% for n in messages %}{% set ns.a = ns.a + loop.index %}{% endfor %}{{ ns.a }}
{{ m.role.title() }}
{% for n in messages if n.role == 'user' %}{{ n.content }}{% else %}none{% endfor %}
{% set a, b = m.role, 2 %}{{ a }}{{ b }}
{% set x %}block {{ m.role }}{% endset %}{{ x }}{% with a = 1 %}{{ a }}{% endwith %}{{ 'é<b>' | e }}
{{ nothing | default('d') }}
{{ '%s and %d' % (m.role, 3) }}{{ '{} {x}'.format(m.role, x=2) }}{{ 'a' ~ 1 ~ none ~ m.role }}
{{ 'a' if false }}{{ -7 // 2 }}
{{ m.role | upper }}{{ m.role[0] | upper }}{{ m.role.replace('user', 'human') }}
{{ m.role | replace('assistant', 'model') }}
{{ [m.role] }}{{ {'user': 'U'}[m.role] | default(m.role) }}{{ m.role | tojson }}
{{ m.role | replace('x', 'y') }}{{ m.role == 'user' }}
{{ 'a</t>b</t>\nc'.split('</t>')[-1].lstrip('\n') }}{{ 'a b'.split() }}{{ 'x=y'.partition('=') }}
{{ 'ab'.startswith(('a', 'c')) }}
{{ tools is none }}{{ documents is defined }}{{ [1, 1, 2] | unique | list }}{{ dict(a=1) }}
{{ range(1, 9, 3) | list }}{{ '3' | int }}
{%- if true -%} x {%- endif %} y {# comment #}{% raw %}{{ }}{% endraw %}{{ [3, 1] | sort }}
{{ 3.14159 | round(2) }}
"""


@pytest.mark.parametrize("manner", MANNERS.strip().split("\n"))
def test_whatever_templates_are_written_with_is_rendered_as_hugging_face_does(manner: str) -> None:
    macros = "{% macro f(x, y='d') %}[{{ x }}{{ y }}{{ varargs }}{{ kwargs }}]{% endmacro %}"
    macros += "{% macro g() %}<{{ caller() }}>{% endmacro %}"
    source = macros + "{% for m in messages %}" + manner + "{% endfor %}"
    messages = turns("a <b>&'é\"", " yo\nyo ", "end", system="\n S")
    template = ChatTemplate(source, tokenizer())
    given = template.abilities.adapt(messages)
    assert given == messages or (manner.count("'user'") and given == messages_without_system(messages))
    assert template.render(messages) == hugging_face(source, given)


def messages_without_system(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    system, user, *others = messages
    return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *others]


TYPED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
)
STRING_SYSTEM = (  # Llama 3.2 Vision's kind
    "{% if messages[0].role == 'system' %}<<{{ messages[0].content | trim }}>>{% set messages = messages[1:] %}"
    "{% endif %}{% for m in messages %}[|{{ m.role }}|]{% for c in m.content %}{{ c.text }}{% endfor %}\n{% endfor %}"
)
REFUSES = (  # Gemma 2's kind
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}[|{{ m.role }}|]{{ m.content | trim }}\n{% endfor %}"
)
IGNORES = (  # the first Mistral 7B's kind
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %}{{ m.content }}</s>{% endif %}{% endfor %}"
)
TYPED_USER_ALONE = "{% for m in messages if m.role == 'user' %}[INST] {{ m.content[0].text }} [/INST]{% endfor %}"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (TYPED, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"),
        (STRING_SYSTEM, "<<S>>[|user|]Q"),
        (REFUSES, "[|user|]S\n\nQ\n"),
        (IGNORES, "[INST] S\n\nQ [/INST]"),
        (TYPED_USER_ALONE, "[INST] S\n\nQ [/INST]"),
        (GEMMA, "<s><start_of_turn>user\nS\n\nQ<end_of_turn>\n<start_of_turn>model\n"),
    ],
)
@pytest.mark.parametrize("parts", [False, True])
def test_text_is_given_in_the_form_that_the_template_shows(
    source: str, text: str, parts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def content(said: str) -> Any:
        return [{"type": "text", "text": said}] if parts else said

    messages = [{"role": "system", "content": content("S")}, {"role": "user", "content": content("Q")}]
    assert ChatTemplate(source, tokenizer()).render(messages) == text
    assert "the last message" not in caplog.text and "system text" not in caplog.text
    assert messages[1] == {"role": "user", "content": content("Q")}


def test_what_a_template_leaves_out_is_said(caplog: pytest.LogCaptureFixture) -> None:
    template = ChatTemplate(TYPED_USER_ALONE, tokenizer())
    template.render(turns("a", "b", "c"))
    template.render(turns("a", "b", "c"))
    assert caplog.text.count("leaves out the model's earlier answers") == 1
    template = ChatTemplate("{% for m in messages[:2] %}{{ m.content }}{% endfor %}", tokenizer())
    template.render(turns("Q", system="S"))
    assert "text" not in caplog.text
    template.render(turns("Q", "A", "Q2"))
    assert "leaves out the text of the last message" in caplog.text


def test_a_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    template, asked = ChatTemplate(IGNORES, tokenizer()), []
    monkeypatch.setattr(template, "_run", lambda request, run=template._run: asked.append(0) or run(request))
    template.render(turns("Q", system="S"))
    n_first = len(asked)
    template.render(turns("Q", "A", "R", system="S"))
    assert n_first <= 8 and len(asked) == n_first + 1


def test_role_marks_cost_no_look_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = tokenizer()
    source = "{% for i in range(2000) %}[|{{ messages[0].role }}|]{{ i }}<<{{ messages[0].role }}>>{% endfor %}"
    template = ChatTemplate(source, vocabulary)
    monkeypatch.setattr(vocabulary, "id", lambda text: pytest.fail("the vocabulary is searched for each mark"))
    monkeypatch.setattr(vocabulary, "controls_with", vocabulary.id)
    monkeypatch.setattr(template, "_checked", True)
    ids = template.encode(turns("Hi"))
    assert vocabulary.controls(ids) == ["[|user|]"] * 2000
    assert vocabulary.decode(ids[-20:]).endswith("1999<<user>>")


def test_known_texts_of_the_families() -> None:
    def text(source: str, messages: list[dict[str, str]]) -> str:
        return ChatTemplate(source, tokenizer()).render(messages, now=NOW)

    assert text(CHATML, turns("Hi", system="S")) == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert text(GEMMA, turns(" a ", "b", "c", system="S")) == (
        "<s><start_of_turn>user\nS\n\na<end_of_turn>\n<start_of_turn>model\nb<end_of_turn>\n"
        "<start_of_turn>user\nc<end_of_turn>\n<start_of_turn>model\n"
    )
    assert text(EXAONE, turns("Hi")) == "[|system|][|endofturn|]\n[|user|]Hi\n[|assistant|]"
    assert "Today Date: 22 Nov 2026" in text(LLAMA3, turns("Hi"))


def test_one_bos_whoever_writes_it() -> None:
    for add_bos in (False, True):
        vocabulary = FakeTokenizer(bos="<s>", add_bos=add_bos)
        assert vocabulary.controls(ChatTemplate(GEMMA, vocabulary).encode(turns("Hi"))).count("<s>") == 1
        assert vocabulary.controls(ChatTemplate("\n" + GEMMA, vocabulary).encode(turns("Hi"))).count("<s>") == 1
        ids = ChatTemplate(CHATML, vocabulary).encode(turns("Hi"))
        assert vocabulary.controls(ids).count("<s>") == add_bos
    assert ChatTemplate("{{ bos_token }}{{ messages[0].content }}", FakeTokenizer()).encode(turns("a")) == [97]


@pytest.mark.parametrize("missing", [None, ""])
def test_without_a_template_chatml_is_used_where_the_vocabulary_has_it(
    missing: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "subbyte"):
        template = ChatTemplate(missing, tokenizer())
    assert "no chat template: using ChatML" in caplog.text
    assert template.render(turns("Hi")).startswith("<|im_start|>user\nHi") and not template.stop


def test_without_a_template_and_chatml_a_transcript_is_used(caplog: pytest.LogCaptureFixture) -> None:
    base = FakeTokenizer(bos="<s>", add_bos=True)
    base.id = lambda text: None  # type: ignore[method-assign]
    with caplog.at_level(logging.WARNING, "subbyte"):
        template = ChatTemplate(None, base)
    assert "no chat template: using a transcript" in caplog.text and "not to answer" in caplog.text
    said = turns("Hi", " hello", "Bye\n", system="Two friends talk.")
    text = "Two friends talk.\n\nUser: Hi\n\nAssistant: hello\n\nUser: Bye\n\nAssistant:"
    assert template.render(said) == text
    assert template.encode(said) == base.encode(text, add_bos=True) and template.stop == ("\n\nUser:", "\nUser:")


@pytest.mark.model
def test_a_base_model_answers() -> None:
    with sb.load(model_file("gemma3-270m")) as model:
        with model.chat(sampling=sb.Sampling(temperature=0), max_tokens=40, n_ctx=128) as chat:
            reply = chat.send("What is the capital of France?")
    assert "Paris" in reply.text and reply.stop_reason == "stop"


PIECES = st.lists(
    st.one_of(st.sampled_from([*CONTROL, "</think>", "<|im_", "end|>", "[|", "user", "|]", "\n", " "]), st.text()),
    max_size=6,
).map("".join)


@pytest.mark.thorough
@settings(max_examples=200)
@given(st.sampled_from(sorted(FAMILIES)), st.lists(PIECES, min_size=1, max_size=5), st.none() | PIECES)
def test_no_message_ever_adds_a_control_token(family: str, texts: list[str], system: str | None) -> None:
    vocabulary = tokenizer()
    template = TEMPLATES[family]
    found = template.encode(turns(*texts, system=system), now=NOW)
    harmless = template.encode(turns(*["x"] * len(texts), system=None if system is None else "x"), now=NOW)
    assert vocabulary.controls(found) == vocabulary.controls(harmless)


TEMPLATES = {name: ChatTemplate(source, tokenizer()) for name, source in FAMILIES.items()}


@pytest.mark.parametrize(
    ("expression", "content"),
    [
        ("m.content | replace('#', '')", "<|im_#end|>"),
        ("m.content | lower", "<|IM_END|>"),
        ("m.content[::-1]", "<|im_end|>"[::-1]),
        ("m.content.split('#') | join", "<|im#_end|>"),
        ("m.content.split('#') | join('<|')", "a#im_end|>"),
        ("'<|' + m.content + '|>'", "im_end"),
        ("'<|%s|>' % m.content", "im_end"),
        ("'<|{}|>'.format(m.content)", "im_end"),
        ("m.content ~ '|>'", "<|im_end"),
        ("(m.content | list | join).replace('x', '<')", "x|im_end|>"),
        ("[m.content, m.content] | tojson", "<|im_end|>"),
        ("m.content", "\ue000123.0.3\ue001"),
    ],
)
def test_no_transformation_makes_a_control_token_of_text(expression: str, content: str) -> None:
    vocabulary = tokenizer()
    template = ChatTemplate("<|im_start|>{% for m in messages %}{{ " + expression + " }}{% endfor %}", vocabulary)
    assert vocabulary.controls(template.encode(turns(content))) == ["<|im_start|>"]
    assert vocabulary.encode("im_end")[0] in template.encode(turns(content)) or "\ue000" in content


def test_templates_that_look_for_control_tokens_in_messages_find_them() -> None:
    template = ChatTemplate(
        "{% for m in messages %}{{ '<|im_start|>' }}{% if '<|eot_id|>' in m.content %}cut {% endif %}"
        "{{ m.content.split('<|eot_id|>')[0] }}{{ {'user': '<|im_end|>'}[m.role] }}{% endfor %}",
        tokenizer(),
    )
    ids = template.encode(turns("a<|eot_id|>b"))
    assert tokenizer().decode(ids, special=True) == "<|im_start|>cut a<|im_end|>"
    assert tokenizer().controls(ids) == ["<|im_start|>", "<|im_end|>"]


def test_a_template_that_can_not_be_followed_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    template = ChatTemplate("{{ '<|im_' + 'end|>' + messages[0].content }}", tokenizer())
    with caplog.at_level(logging.WARNING, "subbyte"):
        template.encode(turns("a<|im_end|>"))
        assert "from parts" not in caplog.text
        template.encode(turns("a"))
    assert "from parts" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "subbyte"):
        ChatTemplate("nothing", tokenizer()).encode(turns("lost"))
    assert "leaves out" in caplog.text


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.thorough
def test_hostile_templates_are_refused_soon(name: str) -> None:
    pid, used, memory = helper_pid(), processor_seconds(), own_memory()
    with pytest.raises(TemplateError) as caught:
        ChatTemplate(HOSTILE[name], tokenizer()).encode(turns("a"))
    text = str(caught.value)
    assert text.isprintable() and len(text) < 400
    assert helper_pid() == pid, "the meters should have been enough"
    assert processor_seconds() - used < PROCESS_SECONDS + 0.1  # where the process gets a processor, that is the time
    assert memory_peak() <= PROCESS_MEMORY and own_memory() - memory < 64 << 20


def test_errors_name_the_line() -> None:
    with pytest.raises(TemplateError, match="in line 2: "):
        ChatTemplate("line one\n{% if %}", tokenizer())
    with pytest.raises(TemplateError, match="in line 3: Roles must"):
        ChatTemplate("a\n\n{{ raise_exception('Roles must alternate') }}", tokenizer()).encode(turns("a"))
    with pytest.raises(TemplateError, match=r"in line 1: no user here <s>$"):
        ChatTemplate("{{ raise_exception('no ' ~ messages[0].role ~ ' here ' ~ bos_token) }}", tokenizer()).encode(
            turns("a")
        )
    with pytest.raises(TemplateError, match="must alternate"):
        TEMPLATES["gemma"].encode([*turns("a"), *turns("b")])
    for source in (7, "x" * 70_000):
        with pytest.raises(TemplateError, match="no text"):
            ChatTemplate(source, tokenizer())  # type: ignore[arg-type]


@pytest.mark.thorough
def test_the_largest_template_compiles_in_bounded_time() -> None:
    used = processor_seconds()
    with pytest.raises(TemplateError, match="in line 1: division by zero"):
        ChatTemplate("{{ a }}" * 9_360 + "{{ 1 / 0 }}", tokenizer()).render(turns("a"))
    ChatTemplate("{{ a }}\n" * 8_191, tokenizer())
    assert 0 < processor_seconds() - used < 2 * PROCESS_SECONDS + 0.1


def test_where_python_gives_up_the_line_of_its_own_code_is_not_told() -> None:
    with pytest.raises(TemplateError, match=r"^the chat template fails: too many statically nested blocks$"):
        ChatTemplate("\n{% for a in [1] %}" * 30 + "{% endfor %}" * 30, tokenizer())


def test_a_template_is_usable_after_a_failure_and_for_long_conversations() -> None:
    template = ChatTemplate(
        "{% if messages | length > 1 %}{{ 'a' * 10**9 }}{% endif %}{{ messages[0].content }}", tokenizer()
    )
    with pytest.raises(TemplateError):
        template.encode(turns("a", "b"))
    assert template.encode(turns("a")) == [97]
    long = turns(*["some words " * 500] * 400)
    for family in ("smollm2", "llama3", "qwen", "gemma"):
        assert len(TEMPLATES[family].render(long)) > 400 * 5000


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ call.arguments | tojson }}", '{"city": "Pãris"}'),
        ("{{ call.arguments if call.arguments is string else call.arguments | tojson }}", '{"city": "Pãris"}'),
        ("{{ '<' + call.arguments + '>' }}", '<{"city": "Pãris"}>'),  # it wants text
    ],
)
def test_arguments_of_tool_calls_may_be_json_text(source: str, expected: str, nested: bool) -> None:
    call = {"name": "weather", "arguments": '{"city": "Pãris"}'}
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": call} if nested else call]}
    where = "messages[0].tool_calls[0]" + (".function" if nested else "")
    template = ChatTemplate(f"{{% set call = {where} %}}{source}", tokenizer())
    assert template.render([message]) == expected
    assert message["tool_calls"] == [{"function": call} if nested else call]
    for odd in ("no JSON", "[1]", "7"):
        given = {**message, "tool_calls": [{"function": {**call, "arguments": odd}}]}
        plain = ChatTemplate("{{ messages[0].tool_calls[0].function.arguments }}", tokenizer())
        assert plain.render([given]) == odd
