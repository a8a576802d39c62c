"""Importance matrices added up, and what is said about one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import subbyte as sb

Call = Callable[..., tuple[int, str, str]]
Q, K, E = "blk.0.attn_q.weight", "blk.1.attn_q.weight", "blk.1.ffn_up_exps.weight"


def imatrix(seed: int, *names: str, n_experts: int = 3, chunk_size: int = 32) -> sb.Imatrix:
    rng = np.random.default_rng(seed)
    squares = {name: rng.random((n_experts if "exps" in name else 1, 8)) for name in names}
    counts = {name: rng.integers(1, 9, len(of)).astype(float) for name, of in squares.items()}
    return sb.Imatrix(squares, counts, {name: of * 2 for name, of in squares.items()}, (f"text {seed}",), 4, chunk_size)


def test_sums_and_counts_are_added(tmp_path: Path) -> None:
    a, b = imatrix(1, Q, E), imatrix(2, Q, K, E, chunk_size=64)
    b.save(tmp_path / "b")
    merged = sb.merge_imatrices([a, tmp_path / "b"])
    assert merged.squares.keys() == {Q, K, E} == merged.sums.keys()
    for of in ("squares", "counts", "sums"):
        assert getattr(merged, of)[E] == pytest.approx(getattr(a, of)[E] + getattr(b, of)[E])
        assert getattr(merged, of)[K] == pytest.approx(getattr(b, of)[K])
    assert merged.datasets == ("text 1", "text 2")
    assert (merged.chunk_count, merged.chunk_size) == (12, 32)  # as many tokens as 4 chunks of 32 and 4 of 64
    assert sb.merge_imatrices([a]).digest() == a.digest()
    assert sb.merge_imatrices([a, replace(b, sums={})]).sums.keys() == set()
    twice = sb.merge_imatrices([a, a], weights=[0.5, 1.5])
    assert all(np.allclose(twice.weights(name), a.weights(name)) for name in a.squares)
    full = replace(a, chunk_count=2**32 - 1)
    sb.merge_imatrices([full, full]).save(tmp_path / "full")
    assert sb.Imatrix.open(tmp_path / "full").chunk_count == 2**32 - 1  # as many as a file can say


def test_what_can_not_be_added(tmp_path: Path) -> None:
    a, b = imatrix(1, Q, E), imatrix(1, E, n_experts=4)
    b.save(tmp_path / "b")
    with pytest.raises(sb.ModelRefused, match=r"b: '.*exps.*' has 4 x 8 values, in matrices\[0\] it has 3 x 8; it was"):
        sb.merge_imatrices([a, tmp_path / "b"])
    with pytest.raises(sb.ModelRefused, match=r"matrices\[1\]: counts no tokens, as files of the older format, unlike"):
        sb.merge_imatrices([a, replace(a, chunk_size=0)])
    with pytest.raises(sb.NumericError, match="too large"):
        sb.merge_imatrices([replace(a, squares={Q: np.full((1, 8), 3e38)})] * 2)
    for wrong, says in [
        ({"matrices": []}, "empty"), ({"matrices": [a], "weights": [1, 2]}, "weights are 2"),
        *(({"matrices": [a], "weights": [w]}, "must be from 1e-06 to 1e") for w in (0, 1e-9, 1e300)),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=says):
            sb.merge_imatrices(**wrong)  # type: ignore[arg-type]


def test_statistics_by_hand() -> None:
    flat, one, mixed = np.ones((1, 200)), np.eye(1, 200) * 50, np.zeros((3, 100))
    mixed[0], mixed[2, :50] = 2, 8
    squares = {
        "output.weight": flat * 4,
        "blk.0.a.weight": flat * 8,
        "blk.2.a.weight": one * 8,
        "blk.2.b_exps.weight": mixed,
    }
    counts = {name: np.full(len(of), 2.0) for name, of in squares.items()}
    counts["blk.2.b_exps.weight"][1] = 0
    found = sb.imatrix_statistics(sb.Imatrix(squares, counts, {}, ("t",), 3, 64))
    head, a0, a2, b2 = found.tensors
    assert [t.name for t in found.tensors] == list(squares)
    assert (head.layer, a0.layer, a2.kind, b2.kind) == (None, 0, "a", "b_exps")
    assert [t.energy for t in found.tensors] == [400, 800, 200, 300]
    assert [t.share for t in found.tensors] == pytest.approx([e / 1700 for e in (400, 800, 200, 300)])
    assert [t.entropy for t in (head, a0, a2)] == pytest.approx([1, 1, 0])
    assert b2.entropy == pytest.approx((100 / 300 * math.log2(300) + 200 / 300 * math.log2(75)) / math.log2(200))
    assert [t.top_share for t in found.tensors] == pytest.approx([0.01, 0.01, 1, 8 / 300])
    assert [head.similarity, a0.similarity, b2.similarity] == [None] * 3
    assert a2.similarity == pytest.approx(200 * 4 / (200 * 4 * math.sqrt(200)))
    assert (b2.n_matrices, b2.n_reached, b2.n_tokens) == (3, 2, 4)
    outside, first, second = found.groups("layer")
    assert (outside.group, first.group, second.group) == ("-", "0", "2")
    assert (second.n_tensors, second.energy, second.reached) == (2, 500, pytest.approx(2 / 3))
    assert second.entropy == pytest.approx((0 * 200 + (b2.entropy or 0) * 300) / 500)
    assert [group.group for group in found.groups("kind")] == ["output", "a", "b_exps"]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["layers"][2]["n_tensors"] == 2


def test_experts_count_for_similarity_where_both_were_reached() -> None:
    a, b = np.zeros((3, 4)), np.zeros((3, 4))
    a[0], a[1], b[0], b[2] = 1, 9, 2, 7
    squares = {f"blk.{i}.x_exps.weight": of for i, of in enumerate((a, b))}
    counts = {name: (of.sum(axis=1) > 0).astype(float) for name, of in squares.items()}
    assert sb.imatrix_statistics(sb.Imatrix(squares, counts, {}, (), 1, 8)).tensors[1].similarity == pytest.approx(1)


def test_nothing_to_tell() -> None:
    zero = sb.Imatrix({Q: np.zeros((1, 1)), E: np.zeros((2, 4))}, {Q: np.ones(1), E: np.zeros(2)}, {}, (), 0, 0)
    for of in sb.imatrix_statistics(zero).tensors:
        assert (of.energy, of.share, of.entropy, of.top_share, of.similarity) == (0, 0, None, None, None)


def test_commands(tmp_path: Path, command_line: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    imatrix(1, Q, E).save("a")
    imatrix(2, Q, K, E).save("b")
    code, out, _ = command_line("imatrix-merge", "a", "b", "c", "--weights", "1,2", "-o", "json")
    assert code == 0 and json.loads(out)["datasets"] == ["text 1", "text 2"] and json.loads(out)["n_tensors"] == 3
    merged = sb.merge_imatrices(["a", "b"], weights=[1, 2])
    assert sb.Imatrix.open("c").weights(E) == pytest.approx(merged.weights(E))
    assert command_line("imatrix-merge", "a", "b")[0] == 4  # b is OUT here, and stays
    assert command_line("imatrix-merge", "a", "b", "d", "--weights", "1")[0] == 2
    code, out, _ = command_line("imatrix-stats", "c")
    assert code == 0 and "3/3" in out and out.rstrip().endswith("8 chunks of 32 tokens of text 1, text 2")
    for by, rows in (("layer", 2), ("kind", 2), ("tensor", 3)):
        assert len(command_line("imatrix-stats", "c", "--by", by, "-o", "csv")[1].splitlines()) == 1 + rows
