"""A server of tiny models for clients' packages, and the table of what they were seen to do."""

from __future__ import annotations

import os
from collections.abc import Iterator

import client_table
import pytest
from live_server import LiveServer, live_server
from template_conversations import source
from tiny_models import write_model

KEY = "of-the-tests"
os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false"}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """`tiny` knows tools and seldom reasons; `thinker` begins each answer with reasoning."""
    folder = tmp_path_factory.mktemp("models")
    for name, template in {"tiny": "qwen3", "thinker": "qwen3-thinking-2507"}.items():
        write_model(folder / f"{name}.gguf", context_length=2048, strings={"tokenizer.chat_template": source(template)})
    paths = {path.stem: path for path in (folder / "tiny.gguf", folder / "thinker.gguf")}
    with live_server(paths, n_ctx=2048, api_keys=[KEY]) as running:
        yield running


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--client-table", choices=["check", "write"], help="of docs/serving.md, by the tests that pass")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for mark in item.iter_markers("shows"):
            client, *features = mark.args
            item.user_properties += [("shows", (client, feature)) for feature in features]


shown, failed = set[tuple[str, str]](), set[tuple[str, str]]()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    found = {(str(value[0]), str(value[1])) for name, value in report.user_properties if name == "shows"}
    if report.when == "call" and report.passed:
        shown.update(found)
    elif not report.passed:
        failed.update(found)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In the process that hears of all tests."""
    wanted = session.config.getoption("--client-table", default=None)
    if wanted is None or hasattr(session.config, "workerinput"):
        return
    found = client_table.rendered(shown - failed)
    if wanted == "write":
        client_table.write(found)
    elif found != client_table.written():
        print(
            f"\n{client_table.PAGE} has another table; make test-clients CLIENT_TABLE=write writes this one:\n{found}"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
