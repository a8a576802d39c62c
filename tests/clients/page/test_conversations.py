"""Conversations in the chat page: settings, messages edited, what is kept; token probabilities."""

import json
from pathlib import Path

import pytest
from page_actions import ask, begin, done, last, settings
from page_server import GATE, content, end, reasoning, token

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.thorough


def test_a_key_is_asked_for_when_the_server_wants_one(open_page, server):
    server.key = "secret"
    page = open_page()
    field = page.get_by_label("This server asks for an API key")
    expect(field).to_be_focused()
    field.fill("wrong")
    field.press("Enter")
    field = page.get_by_label("The server refused this API key")
    field.fill("secret")
    field.press("Enter")
    expect(page.locator("#model option")).to_have_count(2)
    expect(field).to_be_hidden()
    ask(page, server, "Hello", [*content("Hi"), *end()])
    expect(last(page)).to_contain_text("Hi")
    assert "secret" not in page.evaluate("JSON.stringify(localStorage)")


def test_settings_go_into_the_request_and_what_makes_no_sense_is_refused(page, server):
    schema = {"type": "object"}
    settings(page, temperature="0.5", top_k="7", max_tokens="64", seed="1", stop="END\n###", schema=json.dumps(schema))
    page.locator("#model").select_option("other")
    ask(page, server, "Hello", [*content("{}"), *end(400, 100, finish="length")])
    (request,) = server.requests
    expected = {"temperature": 0.5, "top_k": 7, "max_tokens": 64, "seed": 1, "stop": ["END", "###"], "model": "other"}
    assert expected.items() <= request.items() and "top_p" not in request
    assert request["response_format"]["json_schema"]["schema"] == schema
    expect(last(page)).to_contain_text("cut: no tokens left")
    expect(page.locator("#gauge")).to_have_class("full")
    settings(page, schema="{", top_p="7")
    ask(page, server, "Again")
    expect(page.locator("#log .error")).to_contain_text("Not sent; see Settings: Top-p, JSON schema of the answer.")
    assert len(server.requests) == 1
    page.keyboard.press("Alt+s")
    expect(page.locator("#schema")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#schema-wrong")).to_contain_text("No valid JSON")
    expect(page.locator("#numbers-wrong")).to_have_text("Top-p: a number from 0 to 1.")


def test_a_message_can_be_edited_an_answer_asked_for_again_and_both_undone(page, server):
    ask(page, server, "One", [*content("first"), *end()])
    ask(page, server, "Two", [*content("second"), *end()])
    server.answers = [[*content("third"), *end()], [*content("fourth"), *end()]]
    last(page).get_by_role("button", name="Regenerate").click()
    expect(last(page)).to_contain_text("third")
    page.get_by_role("button", name="Edit").first.click()
    page.get_by_label("Your message").fill("Eins")
    page.reload()
    expect(page.get_by_label("Your message")).to_have_value("Eins")
    page.get_by_role("button", name="Send again").click()
    expect(last(page)).to_contain_text("fourth")
    done(page)
    expect(page.locator("article")).to_have_count(2)
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "Eins"}]
    expect(page.locator("#notice")).to_contain_text("4 messages replaced.")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("article")).to_have_count(4)
    expect(page.locator("article").first).to_contain_text("One")
    server.answers = [[*content("being written"), GATE, *end()]]
    last(page).get_by_role("button", name="Regenerate").click()
    expect(last(page)).to_contain_text("being written")
    page.get_by_role("button", name="Undo").click()
    done(page)
    expect(page.locator("article")).to_have_count(4)
    expect(last(page)).to_contain_text("third")


def test_conversations_are_kept_listed_exported_and_deleted(page, server):
    ask(page, server, "About bits", [*reasoning("Hm."), *content("Bits."), *end()])
    page.get_by_role("button", name="New conversation").click()
    ask(page, server, "About bytes", [*content("Bytes."), *end()])
    page.locator("#text").fill("not yet sent")
    page.reload()
    expect(page.locator("article.answer .md").last).to_have_text("Bytes.")
    expect(page.locator("#text")).to_have_value("not yet sent")
    expect(page.locator("#chats li")).to_have_count(2)
    page.get_by_role("button", name="New conversation").click()
    page.locator("#text").fill("begun")
    page.get_by_role("button", name="About bits", exact=True).click()
    expect(last(page)).to_contain_text("Bits.")
    expect(page.locator("#text")).to_have_value("")
    page.get_by_role("button", name="begun", exact=True).click()
    expect(page.locator("#text")).to_have_value("begun")
    page.get_by_role("button", name="Delete “begun”").click()
    page.get_by_role("button", name="About bits", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export “About bits”").click()
    exported = json.loads(Path(download.value.path()).read_text())
    assert download.value.suggested_filename == "About-bits.json"
    assert exported["messages"][-1] == {"role": "assistant", "content": "Bits.", "reasoning_content": "Hm."}
    page.get_by_role("button", name="Delete “About bits”").click()
    expect(page.locator("#chats li")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#chats li")).to_have_count(2)
    expect(last(page)).to_contain_text("Bits.")


def test_a_full_storage_is_said_and_loses_nothing_that_is_shown(page, server):
    page.evaluate("""() => {
      for (let size = 1 << 22, n = 0; size >= 1;) try { localStorage[n++] = "x".repeat(size); } catch { size >>= 1; }
    }""")
    ask(page, server, "Hello", [*content("Hi"), *end()])
    expect(page.get_by_role("status").filter(has_text="The browser keeps nothing more")).to_be_visible()
    ask(page, server, "Still there?", [*content("Yes"), *end()])
    assert [message["content"] for message in server.requests[1]["messages"]] == ["Hello", "Hi", "Still there?"]
    expect(page.locator("article")).to_have_count(4)


def test_what_others_put_into_the_storage_is_passed_over(page, server):
    ask(page, server, "One", [*content("first"), *end()])
    page.evaluate("""() => {
      localStorage["subbyte.chat.a"] = "{";
      localStorage["subbyte.chat.b"] = JSON.stringify({ id: "b", settings: {}, messages: [{ role: "tool" }] });
      localStorage["subbyte.chat.c"] = localStorage["subbyte.current"] = "null";
      localStorage["subbyte.settings"] = localStorage["subbyte.probabilities"] = "}";
    }""")
    page.reload()
    expect(page.locator("#chats li")).to_have_count(1)
    ask(page, server, "Two", [*content("second"), *end()])
    expect(last(page)).to_contain_text("second")


def test_another_window_shows_what_is_kept(page, server):
    ask(page, server, "One", [*content("first"), *end()])
    other = page.context.new_page()
    other.goto(server.url)
    expect(last(other)).to_contain_text("first")
    ask(other, server, "Two", [*content("second"), *end()])
    expect(last(page)).to_contain_text("second")


def test_code_and_answers_are_copied(open_page, server):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    ask(page, server, "Code", [*content("Here:\n```c\nint x;\n```"), *end()])
    page.get_by_role("button", name="Copy").nth(1).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "int x;"
    page.get_by_role("button", name="Copy").last.click()
    expect(page.get_by_role("button", name="Copied")).to_have_count(2)
    assert page.evaluate("navigator.clipboard.readText()") == "Here:\n```c\nint x;\n```"


def test_an_answer_goes_on_while_another_conversation_is_shown(page, server):
    begin(page, server, "First", *content("begun"), GATE, *content(" and ended"), *end())
    expect(last(page)).to_contain_text("begun")
    page.keyboard.press("Alt+n")
    expect(page.locator("article")).to_have_count(0)
    page.locator("#text").fill("Second")
    page.locator("#text").press("Enter")
    expect(page.locator("#notice")).to_contain_text("An answer is being written in “First”")
    expect(page.locator("#text")).to_have_value("Second")
    page.get_by_role("button", name="First", exact=True).click()
    expect(last(page)).to_contain_text("begun")
    server.gate.set()
    expect(last(page)).to_contain_text("begun and ended")
    done(page)


def test_token_probabilities_are_shown_by_pointer_keyboard_and_touch(open_page, server):
    page = open_page(has_touch=True)
    page.get_by_role("button", name="Probabilities").click()
    tokens = [token("Yes", 0.95), token(",", 0.5, (",", 0.5), (".", 0.2995)), token(" no\n", 0.0004, (" well", 0.9))]
    ask(page, server, "Sure?", [*tokens, *end()])
    assert server.requests[0]["logprobs"] is True and server.requests[0]["top_logprobs"] == 5
    spans, tip = page.locator(".tokens span"), page.get_by_role("tooltip")
    assert [spans.nth(i).get_attribute("class") for i in range(3)] == ["p0", "p2", "p4"]
    spans.nth(1).hover()
    assert tip.inner_text().split("\n") == [",", "50 %", ".", "30 %"]
    spans.nth(2).tap()
    assert tip.inner_text().split("\n") == ["␣no↵", "< 0.1 %", "␣well", "90 %"]
    page.locator("#text").focus()
    expect(tip).to_be_hidden()
    spans.nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(spans.nth(1)).to_be_focused()
    expect(spans.nth(1)).to_have_attribute("aria-describedby", "tip")
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    page.keyboard.press("Alt+p")
    expect(last(page).locator(".md").last).to_have_text("Yes, no")
