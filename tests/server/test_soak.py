"""A short soak of a server, and a short measurement: what benchmarks/serving_soak.py and benchmarks/serving.py do."""

import asyncio

import pytest
import serving
from live_server import LiveServer, wait_until
from serving_soak import Load, requests


def test_many_clients_good_and_bad(server: LiveServer) -> None:
    pytest.importorskip("llguidance")
    load = Load(server.url, requests())
    asyncio.run(load.ask_alone())
    asyncio.run(load.run(12, 2.0))
    assert not load.faults and load.counts["200"] > 20
    wait_until(server.is_idle)


def test_servers_take_turns(server: LiveServer) -> None:
    found = serving.take_turns({"one": server.url, "other": server.url}, [1, 2], 2, 2, 4)
    assert all(len(turns) == 2 for by_clients in found.values() for turns in by_clients.values())
    lines = serving.table(found).splitlines()
    assert len(lines) == 2 + 4 and lines[-1].startswith("| 2 | other | ")
    assert len(set(serving.prompts(20, 1) + serving.prompts(20, 2))) == 40
