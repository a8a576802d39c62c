"""The chat page is one file that needs nothing else, and its policy allows exactly what is in it."""

import base64
import hashlib
import re

from subbyte.runtime.server.page import chat_page


def test_the_policy_allows_the_pages_own_script_and_style_and_nothing_else():
    page, headers = chat_page()
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>".encode(), page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert policy.pop(f"{tag}-src") == f"'sha256-{digest}'"
    assert policy.pop("connect-src") == "'self'"
    assert policy.pop("img-src") == "data:"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'none'"}
    assert {"default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types"} == set(policy)


def test_the_page_has_no_handlers_or_styles_in_attributes_and_names_no_other_place():
    text = chat_page()[0].decode()
    markup = re.sub(r"<(script|style)>.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"<[^>]*\s(on\w+|style)=", markup)
    assert re.findall(r"https?://[^\s'\"]+", text) == ["http://www.w3.org/2000/svg"] * 2
    assert "innerHTML" not in text
