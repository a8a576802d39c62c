"""The parts of a search, each against what it must be: allocation, prediction, recipes, passages, errors, the cache."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tiny_models import LLAMA, write_model

import subbyte as sb
from subbyte.runtime.files import try_lock
from subbyte.runtime.quantize.encode import Encoder
from subbyte.runtime.recipes.matrices import matrices
from subbyte.runtime.search.allocation import Allocation
from subbyte.runtime.search.errors import frontier, relative_errors
from subbyte.runtime.search.evidence import SearchProgress
from subbyte.runtime.search.groups import SHORT_ROWS, Group, banded, bands, find_groups
from subbyte.runtime.search.kept import EncodedTensors, KeptFigures
from subbyte.runtime.search.measured import some_of
from subbyte.runtime.search.one_target import OneTarget
from subbyte.runtime.search.own_imatrix import own_imatrix
from subbyte.runtime.search.passages import SKIPPED, Passages, choose_passages
from subbyte.runtime.search.prediction import Costs, Curve, Prediction, Within, nearest, neighbours
from subbyte.runtime.search.recipe_of import ranges, recipe_of
from subbyte.runtime.search.target import targets_of

WORDS = "the thin man and another one are in an old inn near a river while the rain on it goes over them again".split()
TEXT = "\n".join(" ".join(np.random.default_rng(i).choice(WORDS, 12)) for i in range(120))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sb.Model]:
    path = tmp_path_factory.mktemp("parts") / "m.gguf"
    write_model(path, shape=LLAMA)
    with sb.load(path, threads=1) as model:
        yield model


def test_allocation_is_the_best_of_all() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        sizes = [sorted(rng.integers(100, 1000, 3).tolist()) for _ in range(5)]
        losses = [sorted(rng.random(3).tolist(), reverse=True) for _ in range(5)]
        limit = int(rng.integers(sum(s[0] for s in sizes), sum(s[2] for s in sizes)))
        allocation = Allocation(losses, sizes, limit)
        every = [
            (sum(losses[g][i] for g, i in enumerate(c)), sum(sizes[g][i] for g, i in enumerate(c)), list(c))
            for c in itertools.product(range(3), repeat=5)
        ]
        found = allocation.within_limit()
        assert found == min(entry for entry in every if entry[1] <= limit)[2]
        most = min(entry[0] for entry in every if entry[1] <= limit)
        assert allocation.for_loss(most * (1 + 1e-9)) == found and allocation.for_loss(most / 2) is None
    assert Allocation([[1.0]], [[10]], 9).within_limit() is None
    sizes = rng.integers(1, 10**6, (300, 3)).cumsum(axis=1).tolist()
    assert Allocation([[3.0, 2.0, 1.0]] * 300, sizes, 1 << 60).within_limit() == [2] * 300


def test_a_curve_goes_through_its_points_and_on_in_proportion() -> None:
    curve = Curve([(1.0, 2.0), (4.0, 32.0)])
    assert [curve.at(x) for x in (0.5, 1, 2, 4, 8)] == pytest.approx([1, 2, 8, 32, 64])
    assert [curve.where(y) for y in (1, 8, 64)] == pytest.approx([0.5, 2, 8])
    assert curve.at(0) == 0


def test_parts_are_estimated_by_errors_and_corrected_within_a_mixture() -> None:
    errors = [{"a": 0.4, "b": 0.1}, {"a": 0.2, "b": 0.05}]
    costs = Costs(errors, [9.0, 5.0], [{"a": 0.8}, {"b": 0.3}], np.ones(2))
    assert costs.parts(["b", "a"]) == pytest.approx([0.2, 1.2])
    assert Costs(errors, [9.0, 5.0], [{}, {}], np.ones(2)).parts(["b", "a"]) == pytest.approx([0.9, 1.0])
    prediction = Prediction(costs).with_whole(["a", "b"], 2.2)  # twice the sum of its parts
    assert prediction.divergence(["a", "b"]) == pytest.approx(2.2)
    assert prediction.divergence(["b", "b"]) == pytest.approx(1.0)
    assert prediction.sum_for(1.0) == pytest.approx(0.5)
    each = [(0,), (1,)]
    assert prediction.saved_by(["a", "b"], each) == pytest.approx([1.6, 0.6])
    assert prediction.saved_by(["a", "b"], [(0, 1)]) == pytest.approx([2.2])

    def factors(saved: tuple[float, float], error: float) -> list[float]:
        within = [Within(band, sb.Estimate(value, error)) for band, value in zip(each, saved, strict=True)]
        return prediction.corrected(["a", "b"], within).costs.factors.tolist()

    assert factors((1.6, 0.6), 0) == pytest.approx([1, 1])
    a, b = factors((1.1, 1.1), 0)
    assert a / b == pytest.approx(0.3 / 0.8)
    assert factors((1.1, 1.1), 1e9) == pytest.approx([1, 1])


def test_what_a_lossless_type_measures_tells_nothing_of_others() -> None:
    """Where a base was decoded from a type: rounding over an error of nothing would make others cost thousands."""
    errors = [{"a": 0.4, "b": 0.1, "base": 0.0}]
    costs = Costs(errors, [2.0], [{"base": 2e-7}], np.ones(1))
    assert [costs.alone(0, type) for type in errors[0]] == pytest.approx([0.8, 0.2, 0])
    assert costs.telling(0) == [] and costs.is_lossless(0, "base") and not costs.is_lossless(0, "b")
    assert Costs(errors, [2.0], [{"base": 2e-7, "b": 0.5}], np.ones(1)).alone(0, "a") == pytest.approx(2)


def test_bands_are_short_at_both_ends(model: sb.Model, groups: list[Group]) -> None:
    found = bands(groups)
    assert sorted(i for band in found for i in band) == list(range(len(groups)))
    assert all(len({groups[i].matrix.context.kind for i in band}) == 1 for band in found)
    assert [len(part) for part in banded(list(range(30)))] == [1, 1, 2, 4, 8, 6, 4, 2, 1, 1]
    assert [i for part in banded(list(range(7))) for i in part] == list(range(7))


def test_types_near_and_far() -> None:
    assert neighbours(["a", "b", "c", "d"], "b", 1) == ["a", "b", "c"]
    errors = {"a": 0.4, "b": 0.1, "c": 0.05}
    assert nearest(errors, ["a", "c"], "b") == pytest.approx(2) and nearest(errors, [], "b") == math.inf


def test_a_recipe_gives_each_tensor_its_type(model: sb.Model) -> None:
    assert ranges([7, 0, 2, 1]) == "0-2, 7"
    of_model = matrices(model.gguf, imatrix=True)
    rng = np.random.default_rng(0)
    types = {matrix.name: str(rng.choice(SHORT_ROWS)) for matrix in of_model}
    weights = {name: tensor.n_weights for name, tensor in model.gguf.tensors.items()}
    recipe = recipe_of("found", types, of_model, weights)
    assert {matrix.name: recipe.type_of(matrix) for matrix in of_model} == types


def test_passages_are_apart_and_the_same_again(model: sb.Model) -> None:
    def chosen() -> Passages:
        return choose_passages(model, [TEXT, TEXT.upper()], n_ctx=64, n=6, step=5)

    a, b = chosen(), chosen()
    assert len(a.search) == len(a.held_out) == 6 and {p.domain for p in a.search} == {0, 1}
    texts = [model.detokenize(p.tokens.tolist()[1:]) for p in (*a.search, *a.held_out)]
    places = [(TEXT if text.islower() else TEXT.upper()).find(text[:40]) for text in texts]
    assert min(places) >= 0
    for domain in (0, 1):
        found = [place for place, p in zip(places, (*a.search, *a.held_out), strict=True) if p.domain == domain]
        assert len(set(found)) == 6
    assert all(p.rows[0] == SKIPPED and set(np.diff(p.rows)) == {5} and p.rows[-1] < 63 for p in a.search)
    assert [p.tokens.tolist() for p in a.search] == [p.tokens.tolist() for p in b.search]
    with pytest.raises(ValueError, match="text 1: it holds 0 passages"):
        choose_passages(model, ["short"], n_ctx=64, n=6, step=5)
    with pytest.raises(ValueError, match="no text to search on"):
        choose_passages(model, [], n_ctx=64, n=6, step=5)


def test_the_last_answer_of_a_conversation_is_scored(model: sb.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"the man {i}" * 3},
                {"role": "assistant", "content": "in an inn" * 4},
            ]
        }
        for i in range(4)
    ]
    for passage in choose_passages(model, sb.Conversations.of(lines), n_ctx=128, n=2, step=1).search:
        scored = model.detokenize(passage.tokens[passage.rows + 1].tolist())
        assert "in an inn" in scored and "the man" not in scored
    monkeypatch.setattr(type(model.tokenizer), "leading_bos", property(lambda _: 5))
    for passage in choose_passages(model, sb.Conversations.of(lines), n_ctx=40, n=2, step=1).search:
        assert len(passage.tokens) == 40 and passage.tokens[0] == 5 and passage.rows[0] == 19
    for bad in (b"{}", b"[1]", b'{"messages": [{"role": "user", "content": "a"}]}', b"no JSON"):
        with pytest.raises(ValueError, match="text 1: line 1: no"):
            choose_passages(model, sb.Conversations(bad), n_ctx=128, n=2, step=1)


@pytest.fixture(scope="module")
def groups(model: sb.Model) -> list[Group]:
    return find_groups(model, None, None)


def test_groups_begin_where_they_change_something(model: sb.Model, groups: list[Group]) -> None:
    starts = [-1 if group.start is None else group.start for group in groups]
    assert starts == sorted(starts) and groups[0].name == "token_embd.weight" and groups[-1].start == 2
    assert {group.name for group in groups} == {matrix.name for matrix in matrices(model.gguf, imatrix=False)}
    assert all(set(group.n_bytes) == set(SHORT_ROWS) for group in groups)
    with pytest.raises(ValueError, match="no matrix takes any of IQ2_XS"):
        find_groups(model, None, ["IQ2_XS"])


def test_errors_are_those_of_the_encoded_rows(groups: list[Group]) -> None:
    with Encoder(1) as encoder:
        for group in groups[:3]:
            errors = relative_errors(group, group.n_bytes, encoder)
            assert errors["Q8_0"] < errors["Q5_0"] < errors["Q4_0"] and 1e-6 < errors["Q8_0"] < 1e-3
            types = frontier(group, errors)
            assert [group.n_bytes[type] for type in types] == sorted({group.n_bytes[type] for type in types})
            assert [errors[type] for type in types] == sorted((errors[type] for type in types), reverse=True)


def test_encoded_tensors_are_kept_within_a_bound(tmp_path: Path, model: sb.Model, groups: list[Group]) -> None:
    group = groups[1]
    with Encoder(1) as encoder:
        made = EncodedTensors(tmp_path, 10**9, model.gguf, encoder).get(group, "Q8_0")
        expected = b"".join(encoder.encode(group.tensor, "Q8_0", None))
        assert bytes(made.data) == expected
        (file,) = (tmp_path / "tensors").iterdir()
        whole, when = file.read_bytes(), file.stat().st_ino
        assert EncodedTensors(tmp_path, 10**9, model.gguf, encoder).get(group, "Q8_0").data == made.data
        assert file.stat().st_ino == when  # taken, not made
        for damaged in (whole[:-40], whole[:-40] + b"x" + whole[-39:], b"no GGUF"):
            file.write_bytes(damaged)
            anew = EncodedTensors(tmp_path, 10**9, model.gguf, encoder).get(group, "Q8_0")
            assert bytes(anew.data) == expected and file.read_bytes() == whole
        killed = file.with_name(f".{file.name[:48]}.01234567")
        killed.write_bytes(b"GGUF")
        os.utime(killed, (0, 0))
        again = EncodedTensors(tmp_path, 2 * group.n_bytes["Q8_0"], model.gguf, encoder)
        assert bytes(again.get(group, "Q8_0").data) == expected
        for type in ("Q4_0", "Q5_0", "Q4_1"):
            again.get(group, type)
        assert not killed.exists()
        kept = [path.stat().st_size for path in (tmp_path / "tensors").iterdir()]
        assert 0 < sum(kept) <= 2 * group.n_bytes["Q8_0"] + 400


def test_figures_that_can_not_be_read_are_not_there(tmp_path: Path) -> None:
    figures = KeptFigures(tmp_path)
    assert figures.get("a") is None
    figures.put("a", [1.5, 2])
    assert figures.get("a") == [1.5, 2.0]
    for bad in ("[1", '["x"]', "[1e999]", "{}", "[" * 1000, "[true]"):
        (tmp_path / "figures" / "a.json").write_text(bad)
        assert figures.get("a") is None
        figures.put("a", [3.0])
        assert figures.get("a") == [3.0]


def test_nothing_is_kept_of_a_source_that_was_changed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write_model(path, shape=LLAMA)
    with sb.load(path, threads=1) as model, Encoder(1) as encoder:
        encoded = EncodedTensors(tmp_path, 10**9, model.gguf, encoder)
        (group, *_) = find_groups(model, None, ["Q8_0"])
        with path.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"abcd")
        with pytest.raises(sb.ModelChanged, match="was changed in place"):
            encoded.get(group, "Q8_0")
        assert [*(tmp_path / "tensors").iterdir()] == []


def test_an_importance_matrix_is_made_once(model: sb.Model, tmp_path: Path) -> None:
    texts = {"a": TEXT, "b": TEXT.upper()}

    def made() -> tuple[Path, int]:
        steps, n = own_imatrix(model, texts, 256, tmp_path), 0
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value[0], n
            n += 1

    path, n = made()
    assert n > 1 and made() == (path, 0)
    whole = path.read_bytes()
    path.write_bytes(b"no importance matrix")
    path.with_suffix(".sums").write_bytes(b"no sums")
    assert made() == (path, n) and path.read_bytes() == whole and not path.with_suffix(".sums").exists()
    with path.with_suffix(".lock").open("ab") as lock:
        assert try_lock(lock) and next(own_imatrix(model, texts, 256, tmp_path)).what.endswith("another search makes")


def test_targets_have_names_of_their_own() -> None:
    found = targets_of([2_500_000_000, 2_500_001_000, 700_000_000], 4.5, (0.1, 1e-5))
    assert [*map(str, found)] == ["2.5GB", "2.500001GB", "700MB", "4.5-bits", "kld-0.1", "kld-1e-05"]
    with pytest.raises(ValueError, match="4-bits is given twice"):
        targets_of(None, [4, 4.0], None)


def test_progress_expects_of_a_target_what_those_before_it_took(model: sb.Model) -> None:
    groups = find_groups(model, None, ["Q4_0", "Q8_0"])
    together = bands(groups)
    progress = SearchProgress(groups, together, 2, n_targets=3, rounds=3)
    first = progress.step("errors", len(groups))
    assert first.done == 0 and first.total > len(groups) + 3 * 3 * len(together)
    for _ in range(2):
        progress.step("whole", 20)
        progress.next_target()
    step = progress.step("whole", 50)
    assert (step.done, step.total) == (len(groups) + 40, len(groups) + 60)
    late = progress.step("more than was expected", 5)
    assert late.done == len(groups) + 90 < late.total


def test_some_passages_are_of_all_texts(model: sb.Model) -> None:
    passages = choose_passages(model, [TEXT.replace("thin", f"{i}") for i in range(9)], n_ctx=64, n=16, step=5).search
    some = some_of(passages)
    assert {passages[i].domain for i in some} == {*range(9)} and len(some) < len(passages)


def test_what_a_band_was_measured_to_cost_is_shared_until_it_is_measured_alone(model: sb.Model) -> None:
    groups = find_groups(model, None, ["Q4_0", "Q8_0"])[:2]
    errors = [{"Q4_0": 0.1, "Q8_0": 0.01}] * 2
    alone: list[dict[str, float]] = [{}, {}]
    shared: set[tuple[int, str]] = set()
    types = [["Q4_0", "Q8_0"]] * 2
    one = OneTarget(targets_of(None, 5, None)[0], groups, errors, types, alone, shared, [[0, 1]], 0, 0, 1, 2)

    class Fake:
        def divergences(self, *_: object, **__: object) -> Iterator[np.ndarray]:
            while True:
                yield np.array([0.5])

    for _ in one._measure_alone(Fake(), [[0, 1]], ("Q4_0", "Q8_0")):  # type: ignore[arg-type]
        pass
    assert shared == {(0, "Q4_0"), (1, "Q8_0")} and alone[0]["Q4_0"] == pytest.approx(0.5 * 0.1 / 0.11)
    for _ in one._measure_alone(Fake(), [[0]], ("Q4_0", "Q8_0")):  # type: ignore[arg-type]
        pass
    assert shared == {(1, "Q8_0")} and alone[0]["Q4_0"] == 0.5
