"""How vendors' models write calls: the format of each template, and an answer in each format, as its models give it."""

from collections.abc import Mapping
from dataclasses import replace

from template_conversations import BAR

from subbyte.runtime.tools.format import ToolFormat
from subbyte.runtime.tools.json_calls import NamedCalls, ObjectCalls
from subbyte.runtime.tools.known import BESIDES, CHANNELS, UNSHOWN
from subbyte.runtime.tools.literal_calls import BareKeyCalls, PythonCalls
from subbyte.runtime.tools.tagged_calls import TaggedCalls
from subbyte.runtime.tools.tool import Tool, tools_by_name

TOOLS: Mapping[str, Tool] = tools_by_name([
    {
        "name": "weather",
        "parameters": {"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
    {"name": "note", "parameters": {"properties": {"text": {"type": "string"}, "tags": {"type": "array"}}}},
    {"name": "clock"},
])  # fmt: skip
CALLS = [
    ("weather", {"city": 'Köln "am Rhein"', "days": 3}),
    ("note", {"text": "one\ntwo", "tags": ["a", None]}),
    ("clock", {}),
]

HERMES = ToolFormat((ObjectCalls("<tool_call>", "</tool_call>"),))
QWEN_CODER = ToolFormat((
    TaggedCalls(
        "<tool_call>\n<function=", ">", "<parameter=", ">\n", "\n</parameter>", "</function>\n</tool_call>"
    ),
))  # fmt: skip
SEED = ToolFormat((
    TaggedCalls(
        "<seed:tool_call>\n<function=", ">", "<parameter=", ">", "</parameter>", "</function>\n</seed:tool_call>"
    ),
))  # fmt: skip
GLM_4_5 = ToolFormat((
    TaggedCalls("<tool_call>", "", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>", "</tool_call>"),
))  # fmt: skip
GLM_4_7 = ToolFormat((
    TaggedCalls("<tool_call>", "", "<arg_key>", "</arg_key><arg_value>", "</arg_value>", "</tool_call>"),
))  # fmt: skip
MINIMAX = ToolFormat((
    TaggedCalls(
        '<invoke name="', '">', '<parameter name="', '">', "</parameter>", "</invoke>",
        ("<minimax:tool_call>", "</minimax:tool_call>"),
    ),
))  # fmt: skip
MINICPM = ToolFormat((
    TaggedCalls('<function name="', '">', '<param name="', '">', "</param>", "</function>", cdata=True),
))  # fmt: skip
MISTRAL_V3 = ToolFormat((ObjectCalls("[TOOL_CALLS]", listed=True, ids=True),))
MISTRAL_V11 = ToolFormat((NamedCalls("[TOOL_CALLS]", "[ARGS]", id="[CALL_ID]"),))
MISTRAL_V13 = ToolFormat((NamedCalls("[TOOL_CALLS]", "[ARGS]"),))
NEMOTRON = ToolFormat((ObjectCalls("<TOOLCALL>", "</TOOLCALL>", listed=True),))
HUNYUAN = ToolFormat((ObjectCalls("<tool_calls>", "</tool_calls>", listed=True),))
LLAMA = ToolFormat((ObjectCalls("", arguments="parameters"), *BESIDES["ipython"]))
GEMMA = ToolFormat((BareKeyCalls("<|tool_call>call:", "<tool_call|>", '<|"|>'),))
LFM2 = ToolFormat((PythonCalls("<|tool_call_start|>", "<|tool_call_end|>"),))
GIGACHAT = ToolFormat((ObjectCalls("<|function_call|>"),))
DEEPSEEK = ToolFormat((
    NamedCalls(
        f"<{BAR}tool▁call▁begin{BAR}>", f"<{BAR}tool▁sep{BAR}>", f"<{BAR}tool▁call▁end{BAR}>",
        (f"<{BAR}tool▁calls▁begin{BAR}>", f"<{BAR}tool▁calls▁end{BAR}>"),
    ),
))  # fmt: skip
GPT_OSS = CHANNELS["<|channel|>commentary"]
SOLAR = CHANNELS["<|tool_call:begin|>"]
LFM2_UNSHOWN = UNSHOWN["<|tool_call_start|>"]
PHI_4 = UNSHOWN["<|/tool|>"]
GRANITE_3 = UNSHOWN["<|tool_call|>"]

FORMATS: Mapping[str, ToolFormat | None] = {
    "deepseek-r1-distill": None,
    "deepseek-v2": None,
    "deepseek-v3.1": None,  # it shows calls, but not the tools
    "ernie-4.5": None,
    "exaone-3.5": None,
    "exaone-4": HERMES,
    "exaone-deep": None,
    "gemma-2": None,
    "gemma-3": None,
    "gemma-4": GEMMA,
    "gemma-4-e2b": GEMMA,
    "gemma-4-first": GEMMA,
    "gigachat-3": ToolFormat((ObjectCalls("<|message_sep|>\n\nfunction call<|role_sep|>"),)),
    "gigachat-3.1": GIGACHAT,
    "glm-4": None,  # calls are the metadata of messages
    "glm-4.5": GLM_4_5,
    "glm-4.7-flash": GLM_4_7,
    "gpt-oss": GPT_OSS,
    "granite-3.0": replace(GRANITE_3, result_role="tool_response"),
    "granite-3.3": GRANITE_3,
    "granite-4.0": HERMES,
    "granite-4.1": HERMES,
    "hunyuan-a13b": HUNYUAN,
    "lfm2": LFM2_UNSHOWN,
    "lfm2-1.2b": LFM2,
    "lfm2.5": LFM2_UNSHOWN,
    "lfm2.5-8b-a1b": LFM2,
    "ling-2": HERMES,
    "ling-lite": None,
    "llama-3": None,
    "llama-3-first": None,
    "llama-3.1": LLAMA,
    "llama-3.2": LLAMA,
    "llama-3.3": LLAMA,
    "minicpm-5": MINICPM,
    "minimax-m2": MINIMAX,
    "ministral-3-reasoning": MISTRAL_V13,
    "mistral-7b-v0.1": None,
    "mistral-7b-v0.2": None,
    "mistral-7b-v0.3": MISTRAL_V3,
    "mistral-nemo": MISTRAL_V3,
    "mistral-small-3.2": MISTRAL_V11,
    "mixtral": None,
    "nemotron-3-nano": QWEN_CODER,
    "nemotron-nano-v2": NEMOTRON,
    "nemotron-super-49b": None,
    "olmo-2": None,
    "phi-3-mini": None,
    "phi-3.5-mini": None,
    "phi-4-mini": PHI_4,
    "qwen2.5": HERMES,
    "qwen3": HERMES,
    "qwen3-2025-07": HERMES,
    "qwen3-coder": QWEN_CODER,
    "qwen3-instruct-2507": HERMES,
    "qwen3-thinking-2507": HERMES,
    "qwen3.5": QWEN_CODER,
    "qwen3.5-nothink": QWEN_CODER,
    "qwen3.6": QWEN_CODER,
    "qwen3.8": QWEN_CODER,
    "seed-oss": SEED,
    "smollm2": None,
    "smollm3": None,  # its tools are other variables of the template
    "solar-open": SOLAR,
}
"""The format of each vendor's template; None where the model can't be given tools."""

ANSWERS: Mapping[str, tuple[ToolFormat, str]] = {
    "Hermes, Qwen 2.5 and 3, Granite 4, EXAONE 4, Ling 2": (
        HERMES,
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}\n</tool_call>\n'
        '<tool_call>\n{"name": "note", "arguments": {"text": "one\\ntwo", "tags": ["a", null]}}\n</tool_call>\n'
        '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>',
    ),
    "Qwen3-Coder, Qwen 3.5, Nemotron 3": (
        QWEN_CODER,
        '<tool_call>\n<function=weather>\n<parameter=city>\nKöln "am Rhein"\n</parameter>\n<parameter=days>\n3\n'
        "</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=note>\n<parameter=text>\none\ntwo\n"
        '</parameter>\n<parameter=tags>\n["a", null]\n</parameter>\n</function>\n</tool_call>\n'
        "<tool_call>\n<function=clock>\n</function>\n</tool_call>",
    ),
    "Seed-OSS": (
        SEED,
        '<seed:tool_call>\n<function=weather>\n<parameter=city>Köln "am Rhein"</parameter>\n'
        "<parameter=days>3</parameter>\n</function>\n</seed:tool_call>\n<seed:tool_call>\n<function=note>\n"
        "<parameter=text>one\ntwo</parameter>\n<parameter=tags>['a', None]</parameter>\n</function>\n"
        "</seed:tool_call>\n<seed:tool_call>\n<function=clock>\n</function>\n</seed:tool_call>",
    ),
    "GLM 4.5": (
        GLM_4_5,
        '<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Köln "am Rhein"</arg_value>\n<arg_key>days</arg_key>\n'
        "<arg_value>3</arg_value>\n</tool_call>\n<tool_call>note\n<arg_key>text</arg_key>\n<arg_value>one\ntwo"
        '</arg_value>\n<arg_key>tags</arg_key>\n<arg_value>["a", null]</arg_value>\n</tool_call>\n'
        "<tool_call>clock\n</tool_call>",
    ),
    "GLM 4.7": (
        GLM_4_7,
        '<tool_call>weather<arg_key>city</arg_key><arg_value>Köln "am Rhein"</arg_value><arg_key>days</arg_key>'
        "<arg_value>3</arg_value></tool_call><tool_call>note<arg_key>text</arg_key><arg_value>one\ntwo</arg_value>"
        '<arg_key>tags</arg_key><arg_value>["a", null]</arg_value></tool_call><tool_call>clock</tool_call>',
    ),
    "MiniMax M2": (
        MINIMAX,
        '<minimax:tool_call>\n<invoke name="weather">\n<parameter name="city">Köln "am Rhein"</parameter>\n'
        '<parameter name="days">3</parameter>\n</invoke>\n<invoke name="note">\n<parameter name="text">one\ntwo'
        '</parameter>\n<parameter name="tags">["a", null]</parameter>\n</invoke>\n<invoke name="clock">\n</invoke>\n'
        "</minimax:tool_call>",
    ),
    "MiniCPM 5": (
        MINICPM,
        '<function name="weather"><param name="city">Köln "am Rhein"</param><param name="days">3</param></function>\n'
        '<function name="note"><param name="text"><![CDATA[one\ntwo]]></param><param name="tags">["a", null]</param>'
        '</function>\n<function name="clock"></function>',
    ),
    "Mistral 7B v0.3, Nemo": (
        MISTRAL_V3,
        '[TOOL_CALLS] [{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}, "id": "abcdef123"},'
        ' {"name": "note", "arguments": {"text": "one\\ntwo", "tags": ["a", null]}}, {"name": "clock"}]',
    ),
    "Mistral Small 3.2": (
        MISTRAL_V11,
        '[TOOL_CALLS]weather[CALL_ID]abcdef123[ARGS]{"city": "Köln \\"am Rhein\\"", "days": 3}'
        '[TOOL_CALLS]note[CALL_ID]abcdef124[ARGS]{"text": "one\\ntwo", "tags": ["a", null]}'
        "[TOOL_CALLS]clock[CALL_ID]abcdef125[ARGS]{}",
    ),
    "Ministral 3": (
        MISTRAL_V13,
        '[TOOL_CALLS]weather[ARGS]{"city": "Köln \\"am Rhein\\"", "days": 3}'
        '[TOOL_CALLS]note[ARGS]{"text": "one\\ntwo", "tags": ["a", null]}[TOOL_CALLS]clock[ARGS]{}',
    ),
    "Nemotron Nano 2": (
        NEMOTRON,
        '<TOOLCALL>[{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}, {"name": "note", '
        '"arguments": {"text": "one\\ntwo", "tags": ["a", null]}}, {"name": "clock", "arguments": {}}]</TOOLCALL>',
    ),
    "Hunyuan": (
        HUNYUAN,
        '<tool_calls>[{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}, {"name": "note", '
        '"arguments": {"text": "one\\ntwo", "tags": ["a", null]}}, {"name": "clock", "arguments": {}}]</tool_calls>',
    ),
    "Llama 3": (
        LLAMA,
        '{"name": "weather", "parameters": {"city": "Köln \\"am Rhein\\"", "days": 3}}; '
        '{"name": "note", "parameters": {"text": "one\\ntwo", "tags": ["a", null]}}; '
        '{"name": "clock", "parameters": {}}',
    ),
    "Llama 3, with its mark": (
        LLAMA,
        '<|python_tag|>{"name": "weather", "parameters": {"city": "Köln \\"am Rhein\\"", "days": 3}}'
        '<|python_tag|>{"name": "note", "parameters": {"text": "one\\ntwo", "tags": ["a", null]}}'
        '<|python_tag|>{"type": "function", "name": "clock", "parameters": {}}',
    ),
    "Llama 3.2, as Python": (
        LLAMA,
        "[weather(city='Köln \"am Rhein\"', days=3), note(text=\"one\\ntwo\", tags=['a', None]), clock()]",
    ),
    "Gemma 4": (
        GEMMA,
        '<|tool_call>call:weather{city:<|"|>Köln "am Rhein"<|"|>,days:3}<tool_call|>'
        '<|tool_call>call:note{text:<|"|>one\ntwo<|"|>,tags:[<|"|>a<|"|>,null]}<tool_call|>'
        "<|tool_call>call:clock{}<tool_call|>",
    ),
    "LFM2": (
        LFM2,
        "<|tool_call_start|>[weather(city='Köln \"am Rhein\"', days=3), note(text=\"one\\ntwo\", tags=[\"a\", null]), "
        "clock()]<|tool_call_end|>",
    ),
    "GigaChat 3.1": (
        GIGACHAT,
        '<|function_call|>{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}'
        '<|function_call|>{"name": "note", "arguments": {"text": "one\\ntwo", "tags": ["a", null]}}'
        '<|function_call|>{"name": "clock", "arguments": {}}',
    ),
    "DeepSeek V3.1": (
        DEEPSEEK,
        f"<{BAR}tool▁calls▁begin{BAR}><{BAR}tool▁call▁begin{BAR}>weather<{BAR}tool▁sep{BAR}>"
        f'{{"city": "Köln \\"am Rhein\\"", "days": 3}}<{BAR}tool▁call▁end{BAR}><{BAR}tool▁call▁begin{BAR}>note'
        f'<{BAR}tool▁sep{BAR}>{{"text": "one\\ntwo", "tags": ["a", null]}}<{BAR}tool▁call▁end{BAR}>'
        f"<{BAR}tool▁call▁begin{BAR}>clock<{BAR}tool▁sep{BAR}>{{}}<{BAR}tool▁call▁end{BAR}><{BAR}tool▁calls▁end{BAR}>",
    ),
    "gpt-oss, behind its parser of channels": (
        GPT_OSS,
        'to=functions.weather {"city": "Köln \\"am Rhein\\"", "days": 3}\n\n'
        'to=functions.note {"text": "one\\ntwo", "tags": ["a", null]}\n\nto=functions.clock {}',
    ),
    "Solar-Open": (
        SOLAR,
        '<|tool_call:begin|>abcdef123<|tool_call:name|>weather<|tool_call:args|>{"city": "Köln \\"am Rhein\\"", '
        '"days": 3}<|tool_call:end|><|tool_call:begin|>abcdef124<|tool_call:name|>note<|tool_call:args|>'
        '{"text": "one\\ntwo", "tags": ["a", null]}<|tool_call:end|><|tool_call:begin|>abcdef125<|tool_call:name|>'
        "clock<|tool_call:args|>{}<|tool_call:end|>",
    ),
    "Phi-4-mini": (
        PHI_4,
        '<|tool_call|>[{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}, {"name": "note", '
        '"arguments": {"text": "one\\ntwo", "tags": ["a", null]}}, {"name": "clock", "arguments": {}}]<|/tool_call|>',
    ),
    "Phi-4-mini, in words": (
        PHI_4,
        'functools[{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}, {"name": "note", '
        '"arguments": {"text": "one\\ntwo", "tags": ["a", null]}}, {"name": "clock", "arguments": {}}]',
    ),
    "Granite 3": (
        GRANITE_3,
        '<|tool_call|>[{"name": "weather", "arguments": {"city": "Köln \\"am Rhein\\"", "days": 3}}, {"name": "note", '
        '"arguments": {"text": "one\\ntwo", "tags": ["a", null]}}, {"name": "clock", "arguments": {}}]',
    ),
}  # fmt: skip
"""For each format the calls of `CALLS`, as a model writes them."""
