"""A ChatML template with what it makes of a conversation: whether templates are rendered."""

from fake_engine import FakeTokenizer

from subbyte.runtime.template.chat_template import CHATML, ChatTemplate

HELLO = [{"role": "user", "content": "Hello"}]
RENDERED = "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def template(source: str = CHATML) -> ChatTemplate:
    return ChatTemplate(source, FakeTokenizer(bos="<s>"))


def works() -> bool:
    return template().render(HELLO) == RENDERED
