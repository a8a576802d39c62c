"""What of a model fits: bytes from memory and disk, and the command that shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_synthetic import TINY, TINY_MOE

import subbyte as sb
from subbyte.cli.main import run
from subbyte.runtime.bench import disk, fit
from subbyte.runtime.inspect.mixture import mixture
from subbyte.runtime.machine import PROCESS_BYTES
from subbyte.runtime.synthetic.write import Synthetic, write

MIXTURE = fit.Weights(n_bytes=1000, expert_bytes=800, active_bytes=250, used_bytes=100)
DENSE = fit.Weights(n_bytes=1000, expert_bytes=0, active_bytes=900, used_bytes=0)


@pytest.mark.parametrize("weights, room, expected", [
    (MIXTURE, 950, 0), (MIXTURE, 949, 100 / 800), (MIXTURE, 550, 50), (MIXTURE, 150, 100), (MIXTURE, 149, 250),
    (MIXTURE, -5, 250), (DENSE, 900, 0), (DENSE, 899, 900),
])  # fmt: skip
def test_what_comes_from_disk(weights: fit.Weights, room: int, expected: float) -> None:
    assert weights.from_disk(room) == pytest.approx(expected)


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moe") / "moe.gguf"
    write(Synthetic(replace(TINY_MOE, n_ctx_train=8192), "Q4_0"), path)
    return path


def test_a_context_in_much_and_in_little_memory(moe: Path) -> None:
    with sb.load(moe) as model:
        weights, of = fit.weights_of(model), mixture(model.gguf)
        assert of and (weights.expert_bytes, weights.used_bytes) == (of.n_bytes, of.used_bytes)
        assert 0.95 * of.active_bytes < weights.active_bytes <= of.active_bytes, "norms and biases are not counted"
        one = fit.context_fit(model, weights, 4096, "f16", 1 << 30, 1e9, None)
        assert one.fits and one.disk_bytes == 0 and one.cache_bytes == model.plan.cache_bytes(4096, "f16")
        assert one.read_bytes == weights.active_bytes + one.cache_bytes
        assert one.tokens_per_second == pytest.approx(1e9 / one.read_bytes)
        kept = weights.active_bytes - weights.used_bytes + weights.expert_bytes // 4
        little = one.cache_bytes + PROCESS_BYTES + kept
        other = fit.context_fit(model, weights, 4096, "f16", little, 1e9, 1e8)
        assert other.disk_bytes == pytest.approx(0.75 * weights.used_bytes)
        assert other.tokens_per_second == pytest.approx(1 / (other.read_bytes / 1e9 + other.disk_bytes / 1e8))
        assert fit.context_fit(model, weights, 4096, "f16", little, 1e9, None).tokens_per_second is None
        assert not fit.context_fit(model, weights, 4096, "f16", one.cache_bytes - 1, 1e9, 1e8).fits


def test_the_command(moe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fit, "disk_rate", lambda paths: 1e8)
    monkeypatch.setattr(fit, "bandwidth_of", lambda model: 2e9)
    monkeypatch.setattr(fit, "available_memory", lambda: PROCESS_BYTES + 5 * 10**6)
    assert run(["inspect", "--fit", str(moe)]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "\ndisk          100.0 MB/s\n" in out and "155.0 MB available, read at 2.0 GB/s by" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(("   4096", "   8192"))]
    assert [row[:2] for row in rows] == [[n, kind] for n in ("4096", "8192") for kind in ("f16", "q8_0", "f32")]
    assert run(["inspect", "--fit", str(moe), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["disk_rate"] == 1e8 and found["contexts"][0]["n_ctx"] == 4096
    assert run(["inspect", "--fit", str(moe), "-o", "csv"]) == 0
    assert capsys.readouterr().out.startswith(
        "n_ctx,cache_type,cache_bytes,read_bytes,disk_bytes,tokens_per_second,fits\n"
    )
    assert run(["inspect", "--fit", str(moe), "-o", "md"]) == 0
    assert "| 4096 | f16 |" in capsys.readouterr().out
    assert run(["inspect", "--fit", "--tensors", str(moe)]) == 2


def test_what_is_not_known_and_what_has_no_memory_is_told(
    moe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "disk_rate", lambda paths: None)
    monkeypatch.setattr(fit, "bandwidth_of", lambda model: 2e9)
    monkeypatch.setattr(fit, "available_memory", lambda: 3 * 10**6)
    assert run(["inspect", "--fit", str(moe)]) == 0
    out = capsys.readouterr().out
    assert "\ndisk          unknown\n" in out and "no memory\n" in out and "unknown\n" in out


def test_a_dense_model_and_its_bandwidth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("subbyte.runtime.bench.roofline._read_bytes", lambda: 1 << 20)
    write(Synthetic(TINY, "Q4_0"), tmp_path / "m.gguf")
    assert run(["inspect", "--fit", str(tmp_path / "m.gguf")]) == 0
    assert "experts" not in capsys.readouterr().out.partition("a token behind")[0]


def test_the_disk_is_measured_or_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(disk.LEAST_BYTES - 1))
    assert disk.disk_rate([path]) is None
    assert disk.disk_rate([tmp_path / "none"]) is None
    with path.open("ab") as file:
        file.write(bytes(1))
    rate = disk.disk_rate([path], seconds=0.01)
    assert rate is None or rate > 0, "None on a file system without O_DIRECT"
    monkeypatch.setattr("os.preadv", lambda *_: 1 / 0)
    if rate is not None:
        with pytest.raises(ZeroDivisionError):
            disk.disk_rate([path], seconds=0.01)
