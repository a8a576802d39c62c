"""The page to chat in, and the Content-Security-Policy that goes with it."""

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files


@cache
def chat_page() -> tuple[bytes, dict[str, str]]:
    """The page (UTF-8) and its HTTP headers.

    What the policy allows is this page's own style and script, by their SHA-256, and requests to the server it comes
    from: whatever a model writes, nothing of it runs and nothing is fetched elsewhere.
    """
    text = (files("subbyte.runtime.server") / "page.html").read_bytes()
    policy = {
        "default-src": "'none'",
        "script-src": _hashes(text, b"script"),
        "style-src": _hashes(text, b"style"),
        "connect-src": "'self'",
        "img-src": "data:",  # the icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return text, {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
    }


def _hashes(page: bytes, tag: bytes) -> str:
    """The sources of a policy for the contents of each such element, from CSP 3, section 6.7.3.3."""
    contents = re.findall(b"<" + tag + b">(.*?)</" + tag + b">", page, re.DOTALL)
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in contents)
