"""What a model writes becomes text and a few elements, never more."""

import pytest
from page_actions import ask
from page_server import content, end, page_server, reasoning, tool_call

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.thorough


HOSTILE = """<script>window.hacked = 1</script>
<img src=x onerror="window.hacked = 1"> <iframe src="https://evil.test/"></iframe><style>body { display: none }</style>

![picture](https://evil.test/a.png) ![x](javascript:window.hacked=1) [click](javascript:window.hacked=1)
[data](data:text/html,<script>1</script>) [file](file:///etc/passwd) <a href="javascript:1">a</a> [rel](//evil.test/)
[odd](https://ok.test/"onmouseover="window.hacked=1) [JAVASCRIPT](JaVaScRiPt:1) java\nscript:1 [good](https://ok.test/?a=(b))

| <img src=x> | [j](javascript:1) |
|---|---|
| <b>x</b> | `<script>` |

```<script>
</code></pre><script>window.hacked = 1</script>
```
"""


def test_hostile_output_stays_text(page, server):
    calls = tool_call(0, "c", "<img src=x onerror=1>", '{"<script>": "window.hacked = 1"}')
    answer = [*reasoning("<img src=x onerror='window.hacked = 1'>"), *content(*HOSTILE.splitlines(True)), *calls]
    ask(page, server, "<img src=x onerror='window.hacked = 1'>", [*answer, *end(finish="tool_calls")])
    page.locator("summary").click()
    turns = page.locator("#turns")
    assert page.evaluate("window.hacked") is None
    assert turns.locator("script, img, iframe, style, object, embed, link, base, [onerror], [onmouseover]").count() == 0
    expect(turns).to_contain_text('<img src=x onerror="window.hacked = 1"> <iframe src="https://evil.test/">')
    expect(turns).to_contain_text("[click](javascript:window.hacked=1)")
    links = [(a.get_attribute("href"), a.get_attribute("rel")) for a in turns.locator("a").all()]
    addresses = {
        "https://evil.test/",
        "https://evil.test/a.png",
        "https://ok.test/%22onmouseover=%22window.hacked=1",
        "https://ok.test/?a=(b)",
    }
    assert {href for href, _ in links} == addresses
    assert {rel for _, rel in links} == {"noopener noreferrer nofollow"}


RENDER = """text => {
  const box = document.createElement("div");
  showMarkdown(box, text);
  box.querySelectorAll("figcaption").forEach((node) => node.remove());
  for (const node of box.querySelectorAll("*")) {
    for (const name of ["class", "tabindex", "role", "aria-label", "title", "rel", "target"])
      node.removeAttribute(name);
  }
  return box.innerHTML;
}"""


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("", ""),
        ("a *b* **c** ~~d~~", "<p>a <em>b</em> <strong>c</strong> <del>d</del></p>"),
        ("***a*** _b_ __c__", "<p><strong><em>a</em></strong> <em>b</em> <strong>c</strong></p>"),
        ("*a **b** c* snake_case_name", "<p><em>a <strong>b</strong> c</em> snake_case_name</p>"),
        ("**a *b*** and \\*c\\*", "<p><strong>a <em>b</em></strong> and *c*</p>"),
        ("2 * 3 * 4, **open, `too", "<p>2 * 3 * 4, **open, `too</p>"),
        ("`` `a` `` `*b*`", "<p><code>`a`</code> <code>*b*</code></p>"),
        ("one\ntwo\n\nthree", "<p>one\ntwo</p><p>three</p>"),
        ("## A `b` ##\n---\ntext", "<h4>A <code>b</code></h4><hr><p>text</p>"),
        ("3. a\n4. b\n\n   more\n5. c", '<ol start="3"><li>a</li><li>b<p>more</p></li><li>c</li></ol>'),
        ("- a\n  - b\n- c\n\nd", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul><p>d</p>"),
        ("* a\n```\nb\n```", "<ul><li>a</li></ul><figure><pre><code>b</code></pre></figure>"),
        ("- a\n  ```\n  b\n    c\n  ```", "<ul><li>a<figure><pre><code>b\n  c</code></pre></figure></li></ul>"),
        ("- [ ] a\n- [x] b\n\n\n* c", "<ul><li>☐ a</li><li>☑ b</li><li>c</li></ul>"),
        ("> a\n> > b\n\nc", "<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>"),
        ("```\nopen **x**\n\n", "<figure><pre><code>open **x**\n\n</code></pre></figure>"),
        ("~~~~\n```\n~~~~", "<figure><pre><code>```</code></pre></figure>"),
        (
            "a|b\n-|-:\n`x`|y\\|z\n\nend",
            '<div><table><thead><tr><th>a</th><th style="text-align: right;">b</th></tr></thead>'
            '<tbody><tr><td><code>x</code></td><td style="text-align: right;">y|z</td></tr></tbody></table></div>'
            "<p>end</p>",
        ),
        ("see https://a.test/b_c_d.", '<p>see <a href="https://a.test/b_c_d">https://a.test/b_c_d</a>.</p>'),
        ("(https://a.test)", '<p>(<a href="https://a.test/">https://a.test</a>)</p>'),
        ('[a **b**](http://a.test "t")', '<p><a href="http://a.test/">a <strong>b</strong></a></p>'),
        ("![a](https://a.test)", '<p><a href="https://a.test/">image: a</a></p>'),
        ("[a](https://bücher.test)", '<p><a href="https://xn--bcher-kva.test/">a</a></p>'),
    ],
)
def test_markdown(markdown_page, source, html):
    assert markdown_page.evaluate(RENDER, source) == html


@pytest.fixture(scope="module")
def markdown_page(browser):
    with page_server() as server, browser.new_context() as context:
        page = context.new_page()
        page.goto(server.url)
        yield page


PIECES = [
    "*",
    "**a ",
    "_a",
    "`",
    "``a`",
    "[",
    "[a](",
    "![",
    ">",
    "> ",
    "- ",
    "  - a\n",
    "|",
    "a|b\n-|-\n",
    "```\n",
    "\\",
    "~~",
    "# ",
    "http://",
    "(",
    "1. a\n\n",
]


@pytest.mark.parametrize("piece", PIECES)
def test_markdown_takes_its_time_by_the_length_of_a_text(markdown_page, piece):
    """Not measured: what took longer by the square of the length would not end within the test's time."""
    n = 200_000 // len(piece)
    assert markdown_page.evaluate(
        "text => { showMarkdown(document.createElement('div'), text); return true; }", piece * n
    )
