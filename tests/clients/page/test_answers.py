"""Answers in the chat page: streamed, with reasoning, calls and errors, and stopped."""

import json
import re

import pytest
from page_actions import ask, begin, done, last, settings
from page_server import GATE, content, delta, end, progress, reasoning, tool_call

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.thorough

TOOLS = [{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def test_text_appears_while_it_is_written_and_only_its_whole_is_announced(page, server):
    begin(page, server, "Hello", *content("The first", " half"), GATE, *content(" and the second."), *end(20, 30))
    expect(last(page).locator(".md").last).to_have_text("The first half")
    expect(page.locator("#send")).to_have_text("Stop")
    expect(page.locator("#said")).to_have_text("The model answers.")
    server.gate.set()
    done(page)
    expect(page.locator("#said")).to_have_text("The first half and the second.")
    expect(last(page)).to_contain_text("30 tokens · 30.0 tokens/s · prompt 20 in 0.4 s")
    expect(page.get_by_role("meter")).to_have_attribute("aria-valuetext", "50 of 4,096 tokens")
    (request,) = server.requests
    assert request["messages"] == [{"role": "user", "content": "Hello"}]
    assert request["model"] == "tiny" and request["stream"] and request["stream_options"] == {"include_usage": True}
    assert "logprobs" not in request and "tools" not in request


def test_how_far_the_prompt_is_read_is_shown(page, server):
    begin(page, server, "Long", progress(512, 2048, cache=256), GATE, *content("Done."), *end())
    expect(last(page)).to_contain_text("Reading the prompt: 512 of 2,048 tokens, 256 from cache; 6.1 s left")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "512")
    expect(page.get_by_role("meter")).to_have_attribute("aria-valuetext", "2,048 of 4,096 tokens")
    server.gate.set()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    assert server.requests[0]["return_progress"] is True


def test_reasoning_is_apart_open_while_it_lasts_and_given_back_to_the_model(page, server):
    begin(page, server, "What is it?", *reasoning("Let me", " see."), GATE, *content("42"), *end())
    expect(page.locator("details.reasoning")).to_have_attribute("open", "")
    expect(page.locator("summary")).to_have_text("Thinking …")
    server.gate.set()
    done(page)
    expect(page.locator("summary")).to_have_text(re.compile(r"Thought for \d+\.\d s"))
    expect(page.get_by_text("Let me see.")).to_be_hidden()
    page.locator("summary").click()
    expect(page.get_by_text("Let me see.")).to_be_visible()
    ask(page, server, "Sure?", [*content("Yes"), *end()])
    assert server.requests[1]["messages"][1] == {
        "role": "assistant",
        "content": "42",
        "reasoning_content": "Let me see.",
    }


def test_a_tool_is_called_and_its_result_given(page, server):
    settings(page, tools=json.dumps(TOOLS), system="Be brief.")
    calls = [*tool_call(0, "c0", "get_weather", '{"city": "Le', 'ipzig"}'), *tool_call(1, "c1", "get_weather", "{}")]
    ask(page, server, "Weather?", [*calls, *end(finish="tool_calls")])
    expect(page.locator(".call")).to_have_count(2)
    expect(page.locator(".call").first).to_contain_text('{ "city": "Leipzig" }')
    expect(page.locator("#said")).to_have_text("The model calls get_weather, get_weather.")
    page.get_by_label("Result").first.fill("4 °C")
    page.reload()
    expect(page.get_by_label("Result").first).to_have_value("4 °C")
    page.get_by_label("Result").last.fill("unknown city")
    server.answers = [[*content("It is 4 °C."), *end()]]
    page.get_by_role("button", name="Send results").click()
    expect(last(page)).to_contain_text("It is 4 °C.")
    first, second = server.requests
    assert first["tools"] == [{"type": "function", "function": TOOLS[0]}]
    assert first["messages"][0] == {"role": "system", "content": "Be brief."}
    assert second["messages"][2:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": id, "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
                for id, arguments in [("c0", '{"city": "Leipzig"}'), ("c1", "{}")]
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": "4 °C"},
        {"role": "tool", "tool_call_id": "c1", "content": "unknown city"},
    ]


@pytest.mark.parametrize("by", ["button", "key"])
def test_an_answer_can_be_stopped_and_what_was_written_stays(page, server, by):
    begin(page, server, "Go", *content("So far"), GATE, *content(" never"), *end())
    expect(last(page)).to_contain_text("So far")
    if by == "button":
        page.get_by_role("button", name="Stop the answer").click()
    else:
        page.keyboard.press("Escape")
    done(page)
    assert server.gone.wait(60)
    expect(last(page)).to_contain_text("stopped")
    expect(page.locator(".error")).to_have_count(0)


def test_an_error_is_one_line_and_what_was_typed_can_be_sent_again(page, server):
    ask(page, server, "Hello", (429, "all 4 slots\nare busy"))
    error = page.get_by_role("alert").filter(has_text="slots")
    expect(error).to_contain_text("all 4 slots are busy")
    expect(page.locator(".turn.user .body")).to_have_text("Hello")
    page.reload()
    expect(error).to_be_visible()
    server.answers = [[delta(content="Partly "), {"error": {"message": "the model file has changed"}}]]
    error.get_by_role("button", name="Try again").click()
    expect(page.locator("#log .error")).to_contain_text("the model file has changed")
    expect(last(page)).to_contain_text("Partly")
    expect(last(page)).to_contain_text("incomplete")
    server.answers = [[*content("At last."), *end()]]
    page.get_by_role("button", name="Try again").click()
    expect(last(page)).to_contain_text("At last.")
    expect(page.locator("#log .error")).to_have_count(0)
    assert [request["messages"] for request in server.requests] == [[{"role": "user", "content": "Hello"}]] * 3


def test_a_connection_that_breaks_off_is_said(page, server):
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body="data: {}\n")
    )
    ask(page, server, "Hello")
    expect(page.locator("#log .error")).to_contain_text("The connection broke off")
    page.unroute_all()
    page.route("**/v1/chat/completions", lambda route: route.abort())
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#log .error")).to_contain_text("The server cannot be reached")
