"""The chat page in headless Chromium, against a server whose answers each test writes down.

Needs playwright (dependency group `clients`) and a Chromium of the system; without them the tests are skipped. Every
test also fails on an error in the browser's console and on a request to another origin.
"""

import os
import shutil

import pytest
from page_server import page_server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    """Chromium. Playwright runs an event loop in this thread, so tests of other files could have none of their own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    sync_api.expect.set_options(timeout=60_000)
    sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's own needs another user than root
    with sync_api.sync_playwright() as playwright:
        with playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox) as chromium:
            yield chromium


@pytest.fixture
def server():
    with page_server() as server:
        yield server


@pytest.fixture
def open_page(browser, server):
    """Opens the page in a window of its own, by Playwright's options; at the end looks at what all of them did."""
    contexts, problems = [], []

    def complain(message):
        failed = "Failed to load resource"  # what Chromium says of an answer that is an HTTP error
        if message.type in ("error", "warning") and failed not in message.text:
            problems.append(message.text)

    def start(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", complain)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: r.url.startswith((server.url, "blob:", "data:")) or problems.append(r.url))
        page.goto(server.url)
        if not server.key:
            page.locator("#model option").nth(1).wait_for(state="attached")
        return page

    yield start
    server.gate.set()
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    return open_page()
