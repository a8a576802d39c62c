"""The chat page by keyboard, on a telephone, and for eyes and screen readers of all kinds."""

import json

import pytest
from page_actions import MARKDOWN, ask, done, last, settings
from page_server import content, end, reasoning, token, tool_call

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.thorough


def test_everything_can_be_done_by_keyboard(page, server):
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.get_by_role("link", name="Skip to the message field").press("Enter")
    expect(page.locator("#text")).to_be_focused()
    server.answers = [[*content("Answer"), *end()]]
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line more")
    page.keyboard.press("Enter")
    expect(last(page)).to_contain_text("Answer")
    done(page)
    assert server.requests[0]["messages"][0]["content"] == "One\nline more"
    page.locator("a.skip").focus()
    walked = []
    for _ in range(16):
        page.keyboard.press("Tab")
        walked.append(
            page.evaluate("(e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent)(document.activeElement)")
        )
        shown = page.evaluate("(s => s.outlineStyle + s.boxShadow)(getComputedStyle(document.activeElement))")
        assert "solid" in shown or walked[-1] == "Message", walked
        if walked[-1] == "Send":
            break
    title = "One line more"
    chats = ["New conversation", title, f"Export “{title}” as JSON", f"Delete “{title}”"]
    header = ["Model", "Probabilities", "Settings"]
    turns = ["Edit", "Copy", "Copy", "Regenerate"]
    assert walked[:7] == [*chats, *header] and walked[-6:] == [*turns, "Message", "Send"]
    page.keyboard.press("Alt+s")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("Alt+m")
    expect(page.locator("#text")).to_be_focused()
    server.answers = [[*content("Otherwise"), *end()]]
    page.keyboard.press("Alt+r")
    expect(last(page)).to_contain_text("Otherwise")
    done(page)
    server.answers = [[*content("Third"), *end()]]
    page.get_by_role("button", name="Regenerate").press("Enter")
    expect(last(page)).to_contain_text("Third")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Alt+n")
    expect(page.locator("article")).to_have_count(0)


@pytest.mark.parametrize("width", [320, 390, 768])
def test_on_a_phone_nothing_reaches_beyond_the_edge(open_page, server, width):
    page = open_page(viewport={"width": width, "height": 780}, is_mobile=True, has_touch=True)
    wide = "() => [document.documentElement.scrollWidth, document.getElementById('log').scrollWidth]"

    def fits():
        assert max(page.evaluate(wide)) <= width

    fits()
    page.get_by_role("button", name="Probabilities").tap()
    long = "x" * 300
    calls = tool_call(0, "c", "f", json.dumps({long: long}))
    server.answers = [[*reasoning(long), *content(MARKDOWN, long), token(long, 0.1), *calls, *end(finish="tool_calls")]]
    page.locator("#text").fill(long)
    page.locator("#text").press("Enter")  # a touch keyboard has no Shift+Enter: Enter begins a line
    expect(page.locator("#text")).to_have_value(long + "\n")
    page.get_by_role("button", name="Send").tap()
    done(page)
    fits()
    page.get_by_role("button", name="Probabilities").tap()
    fits()
    page.get_by_role("button", name="Settings").tap()
    assert page.evaluate("document.getElementById('settings').scrollWidth") <= width
    page.get_by_role("button", name="Done").tap()
    page.get_by_role("button", name="Conversations").tap()
    expect(page.get_by_role("button", name="New conversation")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("navigation")).to_be_hidden()
    page.get_by_role("button", name="Conversations").tap()
    page.get_by_role("button", name="New conversation").tap()
    expect(page.get_by_role("navigation")).to_be_hidden()
    expect(page.locator("article")).to_have_count(0)


CONTRASTS = """() => {
  const parse = (color) => { const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const background = (e) => {
    const own = parse(getComputedStyle(e).backgroundColor);
    return own[3] === 1 || !e.parentElement ? own : over(own, background(e.parentElement));
  };
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const found = {};
  const judge = (e, style, name) => {
    const under = background(e), both = [luminance(over(parse(style.color), under)), luminance(under)];
    found[name] = Math.min(found[name] ?? 21, (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05));
  };
  for (const e of document.body.querySelectorAll("*")) {
    if (!e.checkVisibility() || e.closest("svg, script")) continue;
    const written = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
    if (written) judge(e, getComputedStyle(e), `${e.tagName} ${e.className}`);
    if (e.placeholder) judge(e, getComputedStyle(e, "::placeholder"), "placeholder");
  }
  return found;
}"""
"""The least contrast of text with its background (WCAG 2.2, 1.4.3), by the kind of element that it is in."""


@pytest.fixture
def every_state(open_page, server):
    """The page in its states, one after the other: (name, page)."""

    def states(scheme, **options):
        page = open_page(color_scheme=scheme, **options)
        yield "empty", page
        ask(page, server, "Hello", [*reasoning("Hm."), *content(MARKDOWN), *end()])
        page.locator("summary").click()
        ask(page, server, "Call", [*tool_call(0, "c", "f", "{}"), *end(finish="tool_calls")])
        yield "conversation", page
        page.get_by_role("button", name="Probabilities").click()
        ask(page, server, "Sure?", [*(token(f" {p}", p) for p in (0.95, 0.8, 0.5, 0.2, 0.1)), *end()])
        page.locator(".tokens span").nth(4).hover()
        yield "probabilities", page
        ask(page, server, "Fail", (500, "no"))
        page.get_by_role("button", name="Edit").first.click()
        page.get_by_role("button", name="Regenerate").first.hover()
        yield "error", page
        settings(page, tools="[")
        page.get_by_role("button", name="Settings").click()
        yield "settings", page

    return states


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(every_state, scheme):
    for state, page in every_state(scheme):
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) >= 8, state
        assert {name: ratio for name, ratio in contrasts.items() if ratio < 4.5} == {}, state


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_fault(every_state, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for state, page in every_state(scheme, reduced_motion="reduce"):
        results = axe.run(page, options={"resultTypes": ["violations"]})
        assert results.violations_count == 0, f"{state}: {results.generate_report()}"
