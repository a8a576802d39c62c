"""What inspect, heatmap and diff show of a mixture of experts: a row for all experts of a kind, and what works."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf_builder import ARR, STR, U32, array, gguf, pair, tensor
from tiny_synthetic import TINY, TINY_MOE

import subbyte as sb
from subbyte.cli.main import run
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.inspect.mixture import Mixture, mixture
from subbyte.runtime.synthetic.write import Synthetic, write


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moe") / "moe.gguf"
    write(Synthetic(TINY_MOE, "Q4_K_M"), path)
    return path


def counted(n_expert: int = 4, **counts: list[float]) -> sb.Imatrix:
    """An importance matrix of layers with experts."""
    found = {f"blk.{layer[1:]}.ffn_up_exps.weight": np.array(of) for layer, of in counts.items()}
    return sb.Imatrix({name: np.ones((n_expert, 256)) for name in found}, found, {}, (), 1, 512)


def test_what_works_for_a_token_is_all_but_embeddings_and_experts_unchosen(moe: Path) -> None:
    with GGUF.open(moe) as opened:
        tensors, found = opened.tensors, mixture(opened)
        experts = [t for t in tensors.values() if "_exps" in t.name]
        active = [t for t in tensors.values() if "_exps" not in t.name and t.name != "token_embd.weight"]
        assert found == Mixture(
            n_expert=4, n_used=2, n_weights=sum(t.n_weights for t in experts),
            n_active=sum(t.n_weights for t in active) + sum(t.n_weights // 2 for t in experts),
            active_bytes=sum(t.n_bytes for t in active) + sum(t.n_bytes // 2 for t in experts),
            n_bytes=sum(t.n_bytes for t in experts), used_bytes=sum(t.n_bytes // 2 for t in experts),
        )  # fmt: skip


def read(path: Path, pairs: list[bytes], *names: str) -> Mixture | None:
    """The mixture in a file of such tensors, of 8 x 2 floats each, or twice as many of all experts together."""
    shapes = [(8, 2, 2) if "_exps" in name else (8, 2) for name in names]
    entries = [tensor(name, shape, offset=128 * i) for i, (name, shape) in enumerate(zip(names, shapes, strict=True))]
    head = [pair("general.architecture", STR, "x"), *pairs]
    path.write_bytes(gguf(head, entries, bytes(128 * len(names))))
    with GGUF.open(path) as opened:
        return mixture(opened)


def test_layers_with_numbers_of_their_own_blocks_that_are_not_run_and_experts_in_tensors_of_their_own(
    tmp_path: Path,
) -> None:
    names = ["blk.0.ffn_up_exps.weight", "blk.1.ffn_up_exps.weight", "blk.2.ffn_up_exps.weight", "token_embd.weight"]
    used = pair("x.expert_used_count", ARR, array(U32, [1, 2, 2]))
    further = pair("x.nextn_predict_layers", U32, 1)
    keys = [pair("x.expert_count", U32, 2), pair("x.block_count", U32, 3)]
    assert read(tmp_path / "a", [*keys, used, further], *names) == Mixture(
        2, 2, 96, 16 + 32 + 16, 64 * 4, 96 * 4, 48 * 4
    )
    alone = ["blk.0.ffn_up.0.weight", "blk.0.ffn_up.1.weight", "blk.0.ffn_norm.weight"]
    assert read(tmp_path / "a", [*keys, pair("x.expert_used_count", U32, 1)], *alone) == Mixture(
        2, 1, 32, 32, 128, 128, 64
    )


@pytest.mark.parametrize("n_expert, used", [(0, 0), (2, 3), (2, None), (None, 2)])
def test_keys_that_make_no_sense_are_no_mixture(n_expert: int | None, used: int | None, tmp_path: Path) -> None:
    keys = {"x.expert_count": n_expert, "x.expert_used_count": used}
    pairs = [pair(key, U32, n) for key, n in keys.items() if n is not None]
    assert read(tmp_path / "a", pairs, "blk.0.ffn_up_exps.weight") is None
    assert read(tmp_path / "a", [pair("x.expert_count", STR, "8")], "blk.0.ffn_up_exps.weight") is None


def test_inspect(moe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(moe)]) == 0
    assert "experts       2 of 4 for a token, so that " in capsys.readouterr().out
    assert run(["inspect", str(moe), "--tensors", "-o", "csv"]) == 0
    assert "blk.1.ffn_down_exps.weight,Q6_K,256 x 256 x 4,215040\n" in capsys.readouterr().out


def test_all_experts_of_a_kind_are_one_cell_and_their_biases_none(tmp_path: Path) -> None:
    shape = replace(TINY_MOE, architecture="gpt-oss")
    for name, mix in (("a", "MXFP4_MOE"), ("b", "Q8_0")):
        write(Synthetic(shape, mix), tmp_path / name)
    found = sb.heatmap(tmp_path / "a")
    assert found.kinds[4:] == ("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps")
    assert [cell.text("type") for cell in found.rows()[1] if cell][4:] == ["F32", *["MXFP4"] * 3]
    assert [cell.kind for cell in found.outside] == ["token_embd", "output"]
    others = [of for of in sb.diff(tmp_path / "a", tmp_path / "b").tensors if of.what == "type" and of.layers]
    changes = {(of.kind, of.a, of.b, of.layers) for of in others}
    assert changes == {(f"ffn_{kind}_exps.weight", "MXFP4", "Q8_0", (0, 1)) for kind in ("gate", "up", "down")}


def test_how_often_each_expert_was_chosen(moe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted(_1=[0, 30, 60, 10], _0=[25, 25, 25, 25]).save(tmp_path / "i.gguf")
    command = ["inspect", str(moe), "--experts", str(tmp_path / "i.gguf")]
    assert run(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["1", "100", "1", "0.00%", "10.00%", "60.00%", "2,", "1,", "3,", "0"]
    assert run([*command, "-o", "csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["1,2,60,0.6", "1,3,10,0.1"]
    assert run([*command, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][1] == {"layer": 1, "counts": [0, 30, 60, 10]}
    assert run([*command, "--heatmap"]) == 2


def test_counts_that_are_not_of_the_model(moe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(Synthetic(TINY, "Q4_K"), tmp_path / "dense.gguf")
    path = tmp_path / "i.gguf"
    for model, imatrix, message in (
        (tmp_path / "dense.gguf", counted(_0=[1, 2, 3, 4]), "dense.gguf: a dense model, which has no experts"),
        (moe, counted(1, _0=[4]), "the importance matrix counts no experts; make one"),
        (moe, counted(2, _0=[1, 2]), "layer 0 has 4 experts, the importance matrix has 2; it was made from another"),
    ):
        imatrix.save(path, overwrite=True)
        assert run(["inspect", str(model), "--experts", str(path)]) == 3
        assert message in capsys.readouterr().err
