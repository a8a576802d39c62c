"""A whole search on a tiny model: what it measures against written files, what it finds, and how it goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_models import LLAMA, N_VOCAB, SHAPES, write_model

import subbyte as sb
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.search import one_target
from subbyte.runtime.search.groups import find_groups
from subbyte.runtime.search.kept import EncodedTensors, KeptFigures
from subbyte.runtime.search.measured import Measured, Variant
from subbyte.runtime.search.passages import choose_passages

WORDS = "the thin man and another one are in an old inn near a river while the rain on it goes over them again".split()
TEXT = "\n".join(" ".join(np.random.default_rng(i).choice(WORDS, 12)) for i in range(120))
SHAPE = {**LLAMA, "n_layer": 3}
OPTIONS: dict[str, Any] = {"n_ctx": 64, "passages": 4, "step": 3}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("search") / "m.gguf"
    write_model(path, shape=SHAPE)
    return path


@pytest.fixture(scope="module")
def model(source: Path) -> Iterator[sb.Model]:
    with sb.load(source, threads=1) as model:
        yield model


def test_a_head_behind_layers_that_share_keys(tmp_path: Path) -> None:
    """Each passage is advanced by itself: such a layer reads what an earlier one has cached."""
    shape = SHAPES["gemma4"]
    output = np.random.default_rng(5).standard_normal((N_VOCAB, shape["n_embd"])).astype(np.float32) / 8
    write_model(tmp_path / "m.gguf", "gemma4", tensors={"output.weight": output})
    with sb.load(tmp_path / "m.gguf", threads=1) as model, Encoder(1) as encoder:
        groups = find_groups(model, None, ["Q4_0", "Q8_0"])
        (head,) = (i for i, group in enumerate(groups) if group.name == "output.weight")
        passages = choose_passages(model, TEXT, n_ctx=64, n=2, step=1).search
        encoded = EncodedTensors(tmp_path, 10**9, model.gguf, encoder)
        found = []
        for start in (groups[head].start, None):
            measured = Measured(
                model, groups, passages, sb.EvalOptions(64), encoded, KeptFigures(tmp_path / f"{start}")
            )
            found += measured.divergences({}, [Variant({head: "Q4_0"}, start)])
        assert groups[head].start is not None and found[0] == pytest.approx(found[1], rel=1e-5)


def test_variants_diverge_as_files_do(tmp_path: Path, model: sb.Model) -> None:
    """Groups alone, and left out of a mixture, against files that hold just that."""
    groups = find_groups(model, None, None)
    passages = choose_passages(model, TEXT, n_ctx=64, n=2, step=1).search
    mixture = {i: ("Q4_0", "IQ4_NL", "Q5_0")[i % 3] for i in range(len(groups))}
    without = [{j: type for j, type in mixture.items() if j != i} for i in mixture]
    with Encoder(1) as encoder:
        encoded = EncodedTensors(tmp_path, 10**9, model.gguf, encoder)
        measured = Measured(model, groups, passages, sb.EvalOptions(64), encoded, KeptFigures(tmp_path))
        alone = [Variant({i: mixture[i]}, group.start) for i, group in enumerate(groups)]
        left_out = [Variant(rest, group.start) for rest, group in zip(without, groups, strict=True)]
        for reference, variants in (({}, alone), (mixture, left_out)):
            found = list(measured.divergences(reference, variants))
            for i in (0, 1, 9, len(groups) - 1):
                anew = KeptFigures(tmp_path / f"{i}-{len(reference)}")
                fresh = Measured(model, groups, passages, sb.EvalOptions(64), encoded, anew)
                (whole,) = fresh.divergences({}, [Variant(variants[i].mixture, None)])
                assert found[i] == pytest.approx(whole, rel=1e-5, abs=1e-9) and found[i].min() > 0
        n = measured.n_new
        assert np.array_equal(list(measured.divergences(mixture, left_out)), found)
        assert (measured.n_new, measured.n_reused) == (n, len(groups))


@pytest.mark.thorough
def test_a_search_finds_what_it_promises(source: Path, model: sb.Model, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = sb.search_recipes(model, TEXT, bits=[5.5, 7.0], kld=0.002, cache=cache, **OPTIONS)
    coarse, fine, of_kld = run.found
    assert [of.target for of in run.found] == ["5.5-bits", "7-bits", "kld-0.002"]
    imatrix = next((cache / "imatrix").glob("*.gguf"))
    for of, bits in ((coarse, 5.5), (fine, 7.0)):
        assert 0.99 * bits < of.bits_per_weight <= bits
        assert of.predicted == pytest.approx(of.rounds[-1].kld.value, rel=0.3)
        out = tmp_path / f"{of.target}.gguf"
        written = sb.quantize(source, out, of.open_recipe(), imatrix=imatrix)
        assert written.n_bytes == pytest.approx(of.n_bytes, abs=2000)
        assert {t.tensor: t.type for t in of.tensors} == {
            c.name: c.type for c in written.plan.changes if c.name in {t.tensor for t in of.tensors}
        }
    assert coarse.kld.estimate > fine.kld.estimate > 0 and of_kld.rounds[-1].kld.value < 0.0025
    assert coarse.predict({}) == pytest.approx(coarse.rounds[-1].kld.value, rel=1e-6)
    worse = {tensor.tensor: tensor.types[0].type for tensor in coarse.tensors}
    assert coarse.predict(worse) > coarse.predict({}) > fine.predict({})
    with pytest.raises(ValueError, match=r"nothing is known of blk.0.attn_q.weight in F32; known are "):
        coarse.predict({"blk.0.attn_q.weight": "F32"})
    basis = {cost.basis for tensor in coarse.tensors for cost in tensor.types}
    assert basis == {"measured", "estimated"} and all(tensor.together == 1 for tensor in coarse.tensors)
    uniform = sb.quantize(source, tmp_path / "u.gguf", sb.Recipe("u", "Q5_0", pure=True))
    sized = sb.search_recipes(model, TEXT, size=uniform.n_bytes, imatrix=imatrix, cache=cache, **OPTIONS).found[0]
    sb.quantize(source, tmp_path / "s.gguf", sized.open_recipe(), imatrix=imatrix)
    both = sb.compare(model, [tmp_path / "u.gguf", tmp_path / "s.gguf"], TEXT, n_ctx=64)
    assert both.results[1].kld.value < both.results[0].kld.value
    again = sb.search_recipes(model, TEXT, bits=[5.5, 7.0], kld=0.002, cache=cache, **OPTIONS)
    assert again.measured == 0 and again.found == run.found


def test_an_interrupted_search_keeps_what_it_has(model: sb.Model, tmp_path: Path) -> None:
    given: dict[str, Any] = {**OPTIONS, "cache": tmp_path, "types": ["Q4_0", "Q8_0"], "imatrix": empty_imatrix()}
    with sb.RecipeSearchMeasurement(model, TEXT, bits=[6, 7], **given) as search:
        for step in search:
            assert 0 <= step.done <= step.total
            if search.n_done == 1:
                break
        assert len(search.result().found) == 1 and search.coverage == "1 of 2 targets"
        n = search.result().measured
    with sb.RecipeSearchMeasurement(model, TEXT, bits=[6], **given) as search:
        assert search.run().measured == 0 and search.result().reused == n


def test_what_does_not_add_up_is_measured_within_the_mixture(
    model: sb.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_target, "ADDS_UP", -1.0)
    given: dict[str, Any] = {**OPTIONS, "cache": tmp_path, "types": ["Q4_0", "Q8_0"], "imatrix": empty_imatrix()}
    found = sb.search_recipes(model, TEXT, bits=6, rounds=2, **given).found[0]
    first = found.rounds[0]
    within = [tensor.within for tensor in found.tensors]
    if len(found.rounds) == 1 or found.rounds[0].kld.value <= found.rounds[1].kld.value:
        assert all(of is not None for of in within)
        saved = sum(of.value for of in within if of is not None)
        assert saved == pytest.approx(first.kld.value, rel=0.5)
    assert min(of.kld.value for of in found.rounds) == pytest.approx(found.predict({}), rel=0.05)


def empty_imatrix() -> sb.Imatrix:
    return sb.Imatrix(squares={}, counts={}, sums={}, datasets=(), chunk_count=0, chunk_size=0)


def test_a_layer_that_is_not_run_is_guessed(tmp_path: Path) -> None:
    path, name = tmp_path / "m.gguf", f"blk.{SHAPE['n_layer']}.attn_q.weight"
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    write_model(path, shape=SHAPE, tensors={name: weights})
    given: dict[str, Any] = {**OPTIONS, "cache": tmp_path, "types": ["Q4_0", "Q8_0"], "imatrix": empty_imatrix()}
    found = sb.search_recipes(path, TEXT, bits=8.3, rounds=1, **given).found[0]
    (of,) = (tensor for tensor in found.tensors if tensor.tensor == name)
    assert of.type == "Q8_0" and {cost.basis for cost in of.types} == {"guessed"} and of.types[0].part == 0


def test_what_no_search_can_do(model: sb.Model, tmp_path: Path) -> None:
    given: dict[str, Any] = {**OPTIONS, "cache": tmp_path, "imatrix": empty_imatrix()}
    for wrong, message in (
        ({}, "nothing to search for"),
        ({"size": 0}, "size is 0"),
        ({"bits": 99}, "bits is 99"),
        ({"bits": 4, "types": ["Q9"]}, "no block type 'Q9'"),
        ({"bits": 4, "passages": 1}, "passages is 1"),
        ({"bits": 4, "types": ["IQ2_XS"]}, "its rows are no whole blocks of IQ2_XS"),
    ):
        with pytest.raises(ValueError, match=message):
            sb.search_recipes(model, TEXT, **{**given, **wrong})
    with pytest.raises(sb.ModelRefused, match=r"2-bits: no mixture .* reaches it; the smallest has about 4\.\d+ bits"):
        sb.search_recipes(model, TEXT, bits=2, **given)
    with pytest.raises(ValueError, match="passages is 4, but must be at least 5, as many as there are texts"):
        sb.search_recipes(model, [TEXT] * 5, bits=6, **given)


def test_a_divergence_is_refused_only_where_the_finest_types_miss_it(
    model: sb.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what is guessed before anything is measured."""
    given: dict[str, Any] = {**OPTIONS, "cache": tmp_path, "imatrix": empty_imatrix(), "types": ["Q4_0", "Q8_0"]}
    with pytest.raises(
        sb.ModelRefused, match=r"kld-1e-06: .* the finest, of 0\.\d MB, diverges by \S+ nats"
    ) as refused:
        sb.search_recipes(model, TEXT, kld=1e-6, **given)
    finest = float(str(refused.value).split()[-2])
    monkeypatch.setattr(one_target, "HEAD", 1e6)
    found = sb.search_recipes(model, TEXT, kld=1.2 * finest, **given).found[0]
    assert found.reached and found.rounds[-1].kld.value <= 1.2 * 1.02 * finest


def test_metadata_in_place_of_the_files_own_is_another_model(source: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {**OPTIONS, "cache": tmp_path, "bits": 6, "types": ["Q4_0", "Q8_0"], "rounds": 1}
    first = sb.search_recipes(source, TEXT, **given)
    with sb.load(source, override_kv={"llama.rope.freq_base": 100.0}) as other:
        second = sb.search_recipes(other, TEXT, **given)
    assert second.measured == first.measured and second.reused == 0
    assert second.found[0].kld != first.found[0].kld and second.imatrix != first.imatrix


@pytest.mark.thorough
def test_the_command(source: Path, tmp_path: Path, command_line: Callable[..., Any], monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text(TEXT)
    line = ["recipe", "search", str(source), "-f", "text", "--bits", "6", "--types", "q4_0,q8_0", "-c", "64", "-t", "1",
            "--passages", "2", "--cache", "cache"]  # fmt: skip
    code, out, err = command_line(*line)
    assert (code, err) == (0, "") and "6-bits" in out and "quantize" in out
    recipe, evidence = Path("m-6-bits.toml"), json.loads(Path("m-6-bits.json").read_text())
    assert sb.Recipe.open(recipe).to_toml() == evidence["recipe"] and Path("m.imatrix").exists()
    code, _, err = command_line(*line)
    assert code == 4 and "m-6-bits.toml" in err and "--overwrite" in err
    code, out, _ = command_line(*line, "--overwrite", "-o", "json")
    assert code == 0 and json.loads(out)["measured"] == 0
    line[line.index("6")] = "5.5"
    code, _, err = command_line(*line, "--kld", "0.000001", "--overwrite")
    assert code == 3 and "1 of 2 targets were found, and are in ." in err and "kld-1e-06: no mixture" in err
    assert Path("m-5.5-bits.toml").exists() and not Path("m-kld-1e-06.toml").exists()
