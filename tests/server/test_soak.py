"""A short soak of a server: the long one is `python benchmarks/serving_soak.py`."""

import asyncio

import pytest
from live_server import LiveServer, wait_until
from serving_soak import Load, requests

pytest.importorskip("llguidance")


def test_many_clients_good_and_bad(server: LiveServer) -> None:
    load = Load(server.url, requests())
    asyncio.run(load.ask_alone())
    asyncio.run(load.run(12, 2.0))
    assert not load.faults and load.counts["200"] > 20
    wait_until(server.is_idle)
