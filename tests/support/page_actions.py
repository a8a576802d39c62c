"""What a user of the chat page does, for its tests."""

from typing import Any

from page_server import Chunk, PageServer

MARKDOWN = """# Title

Some **bold**, *italic* and `code`.

- one
- two

```python
print(1)  # a line that is much too long for the width of any telephone, so that it has to scroll by itself
```

| a | b |
|---|---|
| 1 | 2 |

> quoted, and [linked](https://example.com/)
"""


def ask(page: Any, server: PageServer, text: str, *answers: list[Chunk] | tuple[int, str]) -> None:
    """Sends a message, whose answers are those; returns when the last of them has ended."""
    server.answers += answers
    page.locator("#text").fill(text)
    page.locator("#send").click()
    done(page)


def begin(page: Any, server: PageServer, text: str, *answer: Chunk) -> None:
    """Sends a message by Enter, and does not wait for its answer."""
    server.answers = [list(answer)]
    send(page, text)


def send(page: Any, text: str) -> None:
    """Sends a message by Enter."""
    page.locator("#text").fill(text)
    page.locator("#text").press("Enter")


def done(page: Any) -> None:
    """Waits until no answer is being written."""
    page.get_by_role("button", name="Send", exact=True).wait_for()


def last(page: Any) -> Any:
    """The last answer."""
    return page.locator("article.answer").last


def settings(page: Any, **values: str) -> None:
    """Fills in fields of the settings."""
    page.get_by_role("button", name="Settings").click()
    for name, value in values.items():
        page.locator(f"#{name}").fill(value)
    page.get_by_role("button", name="Done").click()
