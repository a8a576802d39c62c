"""The chat page with the real server and a tiny model."""

import re
import subprocess
import sys

import pytest
from page_actions import done, last, send, settings
from tiny_models import write_model

expect = pytest.importorskip("playwright.sync_api").expect
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.thorough

SERVE = [sys.executable, "-c", "import sys; from subbyte.cli.entry import main; sys.exit(main())", "serve"]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    model = tmp_path_factory.mktemp("served") / "tiny.gguf"
    write_model(model, context_length=512)
    with subprocess.Popen(
        [*SERVE, str(model), f"other={model}", "--port", "0", "--api-key", "secret"], stderr=subprocess.PIPE, text=True
    ) as process:
        yield re.search(r"at (http://\S+/) \(", process.stderr.readline())[1]
        process.terminate()


def test_the_page_and_the_server_understand_each_other(browser, url):
    with browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        context.set_default_timeout(60_000)
        page, problems = context.new_page(), []
        page.goto(url)
        page.get_by_label("This server asks for an API key").fill("secret")
        page.get_by_role("button", name="Use key").click()
        page.on("console", lambda m: m.type in ("error", "warning") and problems.append(m.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        expect(page.locator("#model")).to_have_value("tiny")
        settings(page, temperature="0", max_tokens="8", seed="1", top_k="40", stop="never\nso")
        page.get_by_role("button", name="Probabilities").click()
        send(page, "ab")
        expect(last(page)).to_contain_text("8 tokens")
        expect(last(page)).to_contain_text("cut: no tokens left")
        expect(page.locator("#gauge")).to_contain_text("of 512 tokens")
        tokens = last(page).locator(".tokens span")
        assert 0 < tokens.count() <= 8
        tokens.first.hover()
        assert re.fullmatch(r"(\S+\s(< )?[\d.]+ %\s?){5,6}", page.get_by_role("tooltip").inner_text())
        page.locator("#model").select_option("other")  # is loaded when it is asked
        expect(page.locator("#gauge")).not_to_contain_text("512")
        send(page, "ba")
        expect(last(page)).to_contain_text("8 tokens")
        expect(page.locator("#gauge")).to_contain_text("of 512 tokens")
        expect(page.locator("#model")).to_have_value("other")
        assert problems == []
        settings(page, max_tokens="", tools="[{}]")
        send(page, "ba")
        expect(page.locator("#log .error")).to_contain_text("name")
        settings(page, tools="")
        page.get_by_role("button", name="Try again").click()
        page.keyboard.press("Escape")
        done(page)
        expect(last(page)).to_contain_text(re.compile("stopped|cut"))
