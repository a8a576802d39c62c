"""Recipes: what their rules mean, as files, taken out of models, compared with them, and for llama-quantize."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf_builder import STR, U32, pair, tensor
from gguf_builder import gguf as gguf_bytes
from hybrid_models import HYBRIDS
from hypothesis import given
from hypothesis import strategies as st
from llama_quantize import MODELS, ROWS, runs
from tiny_models import MIXED, write_model

import subbyte as sb
from subbyte.cli.main import run
from subbyte.kernels import FORMATS
from subbyte.runtime.gguf.model_file import GGUF
from subbyte.runtime.gguf.tensors import TYPE_IDS
from subbyte.runtime.quantize.plan import make_plan
from subbyte.runtime.recipes.extract import (
    check,
    compress,
    export,
    extract,
    from_tensor_types,
    ranges,
    resolve,
    typical,
)
from subbyte.runtime.recipes.file_types import FILE_TYPES
from subbyte.runtime.recipes.matrices import ModelTraits, is_matrix, locate, matrices
from subbyte.runtime.recipes.recipe import NAMED, Recipe, find_recipe, format_recipe, parse_recipe
from subbyte.runtime.recipes.rule import QuantizableTensor, Rule, parse_override
from subbyte.runtime.synthetic.write import Synthetic, write

KINDS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
SIXTEEN = "Q4_0 Q4_K_S Q4_K_M Q5_K_M Q6_K Q8_0 IQ4_NL IQ4_XS IQ3_XXS IQ3_XS IQ3_S IQ3_M IQ2_XXS IQ2_XS IQ2_S IQ2_M " \
          "IQ1_S IQ1_M F16 BF16"  # fmt: skip


def dense(n_layer: int = 32, row: int = 4096, gqa: int = 4, tied: bool = False) -> list[QuantizableTensor]:
    names = ["token_embd.weight", *([] if tied else ["output.weight"])]
    names += [f"blk.{i}.{kind}.weight" for i in range(n_layer) for kind in KINDS]
    return locate([(name, row) for name in names], ModelTraits(n_layer, gqa, False), imatrix=True)


def types(recipe: Recipe, found: list[QuantizableTensor]) -> dict[str, str]:
    return {matrix.name: recipe.type_of(matrix) for matrix in found}


@pytest.fixture(scope="module", params=[*MODELS, *HYBRIDS])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A file of each shape that llama-quantize's dry runs were made with."""
    path = tmp_path_factory.mktemp("shapes") / f"{request.param}.gguf"
    if request.param in HYBRIDS:
        HYBRIDS[request.param].write(path)
    else:
        write(Synthetic(MODELS[request.param], "IQ1_S"), path)
    return request.param, path


@pytest.mark.thorough
def test_files_get_the_types_that_llama_quantize_gives_them(written: tuple[str, Path]) -> None:
    """All file types on dense models, tied and untied, mixtures, such with states, odd rows or layers of one part."""
    name, path = written
    rows = [row for row in ROWS if row["model"] == name]
    assert {row["file_type"] for row in rows} >= set(SIXTEEN.split())
    with sb.GGUF.open(path) as opened:
        kept = {tensor.name: tensor.type for tensor in opened.tensors.values()}
        for row in rows:
            for imatrix in {"yes": [True], "no": [False], "any": [True, False]}[row["imatrix"]]:
                found = matrices(opened, imatrix=imatrix)
                assert runs(kept | types(Recipe.named(row["file_type"]), found)) == row["types"], row["file_type"]
        if name in MODELS:
            planned = make_plan(opened, Recipe.named("Q8_0"))
            floats = {change.name for change in planned.changes if change.type == "F32"}
            assert floats == {tensor for tensor, type in kept.items() if type == "F32"}  # norms, biases, routers


def test_the_table_is_of_all_sixteen() -> None:
    assert {row["file_type"] for row in ROWS} >= set(SIXTEEN.split()) and set(SIXTEEN.split()) <= NAMED.keys()


@pytest.mark.parametrize("name, gqa, n_layer, expected", [
    ("IQ2_S", 4, 32, {"attn_v": {"IQ4_XS"}, "attn_output": {"IQ3_S"}, "ffn_gate": {"IQ2_XS"}, "output": {"Q5_K"}}),
    ("IQ1_S", 2, 32, {"attn_v": {"IQ3_XXS"}, "attn_output": {"IQ3_XXS"}, "attn_q": {"IQ1_S"}, "token_embd": {"Q5_K"}}),
    ("IQ2_XXS", 1, 30, {"attn_v": {"IQ3_S"}, "attn_output": {"IQ3_S"}, "ffn_down": {"IQ3_S", "IQ2_XXS"}}),
])  # fmt: skip
def test_dynamic_gate(name: str, gqa: int, n_layer: int, expected: dict[str, set[str]]) -> None:
    found = dense(n_layer, gqa=gqa)
    chosen = types(Recipe.dynamic_gate(name), found)
    for kind, wanted in expected.items():
        assert {chosen[matrix.name] for matrix in found if matrix.context.kind == kind} == wanted
    edge, middle = ("IQ4_XS", "IQ3_S") if name == "IQ2_S" else ("IQ3_S", "IQ2_XXS")
    down = [chosen[f"blk.{i}.ffn_down.weight"] for i in range(n_layer)]
    quarter = n_layer // 4
    assert down == [edge] * quarter + [middle] * (n_layer - 2 * quarter) + [edge] * quarter


@pytest.mark.parametrize("name, embeddings", [("bf16-q8_0", "BF16"), ("F16-Q8_0", "F16")])
def test_floats_around_bytes(name: str, embeddings: str) -> None:
    chosen = types(Recipe.named(name), dense())
    assert chosen.pop("token_embd.weight") == chosen.pop("output.weight") == embeddings
    assert set(chosen.values()) == {"Q8_0"}


@pytest.mark.parametrize("name, file_type", [
    ("Q4_K", "Q4_K_M"), ("dynamicgate iq2_xs", "IQ2_XS"), ("bf16-q8_0", "Q8_0"), ("BF16", "BF16"), ("iq3_m", "IQ3_M"),
])  # fmt: skip
def test_names_are_found_in_any_case_and_known_to_llama_quantize(name: str, file_type: str) -> None:
    assert Recipe.named(name).file_type == file_type
    assert f"MOSTLY_{file_type}" in gguf.LlamaFileType.__members__


def test_every_recipe_and_type_has_a_file_type() -> None:
    recipes = [Recipe.named(name) for name in NAMED] + [Recipe(name, name, pure=True) for name in FORMATS]
    for recipe in recipes:
        assert {f"MOSTLY_{recipe.file_type}", f"ALL_{recipe.file_type}"} & gguf.LlamaFileType.__members__.keys()


RULES = """
mix = "Q4_K_M"

[[rule]]
match = "attn_v"
when = ["gqa_ge_4", "not early"]
type = "Q8_0"

[[rule]]
match = "ffn_*, blk.7.attn_q.weight"
layers = "0-3, 7, last 25%"
type = "Q6_K"

[[rule]]
match = "output"
type = "Q8_0"
"""


def test_rules_in_order_with_conditions(tmp_path: Path) -> None:
    recipe = parse_recipe(RULES)
    chosen, plain = types(recipe, dense()), types(Recipe.named("Q4_K_M"), dense())
    for i in range(32):
        layer = f"blk.{i}"
        inside = i in (0, 1, 2, 3, 7) or i >= 24
        assert chosen[f"{layer}.attn_v.weight"] == ("Q8_0" if i >= 4 else plain[f"{layer}.attn_v.weight"])
        assert chosen[f"{layer}.ffn_up.weight"] == ("Q6_K" if inside else plain[f"{layer}.ffn_up.weight"])
        assert chosen[f"{layer}.attn_q.weight"] == ("Q6_K" if i == 7 else "Q4_K")
        assert chosen[f"{layer}.attn_output.weight"] == "Q4_K"
    assert chosen["output.weight"] == "Q8_0"
    few = types(recipe, dense(gqa=2))
    assert few["blk.9.attn_v.weight"] == types(Recipe.named("Q4_K_M"), dense(gqa=2))["blk.9.attn_v.weight"]
    assert types(recipe, dense(row=288))["blk.0.ffn_up.weight"] == "Q8_0"  # what Q6_K is for rows of 288
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.open(tmp_path / "recipe.toml") == recipe == find_recipe(str(tmp_path / "recipe.toml"))


def test_every_condition_is_asked_of_the_place() -> None:
    first, last = dense(32, tied=True)[1], dense(32)[-1]
    holds = {
        word: {each.name for each in (first, last) if Rule("*", "Q8_0", when=(word,)).fits(each)}
        for word in ("early", "late", "use_more_bits", "gqa_ge_4", "tied", "is_70b", "imatrix", "not is_70b")
    }
    both = {first.name, last.name}
    assert holds == {"early": {first.name}, "late": {last.name}, "use_more_bits": both, "gqa_ge_4": both,
                     "tied": {first.name}, "is_70b": set(), "imatrix": both, "not is_70b": both}  # fmt: skip


@pytest.mark.parametrize("text, message", [
    ("", "either mix"),
    ("mix = 3", "a text"),
    ("mix = 'Q4_K_M'\ntype = 'Q4_K'", "either mix"),
    ("mix = 'Q9'", "no recipe 'Q9'"),
    ("type = 'Q9'", "no block type 'Q9'"),
    ("mix = 'Q8_0'\nfoo = 1", "unknown key 'foo'"),
    ("mix = 'Q8_0'\nrule = 1", "tables"),
    ("mix = 'Q8_0'\nrule = [1]", "rule 1 is no"),
    ("mix = 'Q8_0'\n[[rule]]\ntype = 'Q8_0'", "rule 1 needs match"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'", "rule 1 needs type"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'\ntype = 'q8'", "rule 1: no block type"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = '(a+)+$'\ntype = 'Q8_0'", "no pattern"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = ' '\ntype = 'Q8_0'", "no pattern"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'\nlayers = '1-'\ntype = 'Q8_0'", "no layers"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'\nlayers = 3\ntype = 'Q8_0'", "layers ="),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'\nwhen = ['often']\ntype = 'Q8_0'", "no condition 'often'"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'\nwhen = 'early'\ntype = 'Q8_0'", "list of words"),
    ("mix = 'Q8_0'\n[[rule]]\nmatch = 'a'\ntype = 'Q8_0'\nbits = 4", "unknown key 'bits'"),
    ("mix = [", "no TOML"),
    ("mix = " + "[" * 5000, "TOML|nested"),
    ("type = 'Q8_0'\n" + "[[rule]]\nmatch = 'a'\ntype = 'Q8_0'\n" * 5000, "more than 4096 patterns"),
])  # fmt: skip
def test_broken_recipes(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(sb.FormatError, match=message) as error:
        find_recipe(tmp_path / "r.toml")
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value) and len(str(error.value)) < 1000


@pytest.mark.parametrize("data", [b"\xff\xfe", b"x" * (2 << 20)])
def test_files_that_are_no_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_bytes(data)
    with pytest.raises(sb.FormatError):
        find_recipe(tmp_path / "r.toml")
    with pytest.raises(sb.ResourceError, match="No such file"):
        find_recipe("none.toml")


def test_a_pattern_that_would_take_for_ever_as_a_regular_expression() -> None:
    odd = locate([("a" * 63, 256)], ModelTraits(1, 4, False), imatrix=False)[0]
    assert not Rule("*a" * 400 + "b", "Q8_0").fits(odd)


@pytest.mark.parametrize("text, says", [
    ("/(a/", "missing )"), ("/a(?=b)/", "(?="), (r"/(a)\1/", "invalid escape sequence"),
    ("/((a{100}){100}){100}/", "size"),
    ("/[z-a]/", "range"), ("//", "no pattern"), ("/", "no pattern"), ("/a\x1b/", "no pattern"),
    ("/" + "a" * 999 + "/", "no pattern"),
])  # fmt: skip
def test_what_is_no_regular_expression(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        Rule(text, "Q8_0")
    assert says in str(error.value) and len(str(error.value)) < 400


def test_regular_expressions_are_searched_for_in_the_whole_name() -> None:
    recipe = parse_recipe(RULES.replace('"ffn_*, blk.7.attn_q.weight"', r"""'/^blk\.\d*[02468]\.ffn_(up|gate)\./'"""))
    assert parse_recipe(recipe.to_toml()) == recipe
    chosen = types(recipe, dense())
    found = {name for name, type in chosen.items() if "ffn" in name and "down" not in name and type == "Q6_K"}
    even = [i for i in range(32) if i % 2 == 0 and (i in (0, 2) or i >= 24)]
    assert found == {f"blk.{i}.ffn_{kind}.weight" for i in even for kind in ("up", "gate")}
    assert parse_override("/a=b,c/=q8_0") == Rule("/a=b,c/", "Q8_0")


def test_no_regular_expression_takes_for_ever() -> None:
    odd = locate([("a" * 63, 256)], ModelTraits(1, 4, False), imatrix=False)[0]
    for regex in ("(a+)+b", "(a|a)*b", "(a*)*b", "a*" * 60 + "b", "(.*){9}(.*){9}b"):
        assert not Rule(f"/{regex}/", "Q8_0").fits(odd)
    large = Rule("/(a|b|.){300}c/", "Q8_0")
    assert Recipe("a", "Q8_0", (large,) * 40)
    with pytest.raises(ValueError, match="too large together; use fewer"):
        Recipe("a", "Q8_0", (large,) * 50)


def test_without_re2_only_regular_expressions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    assert parse_recipe(RULES).rules
    with pytest.raises(sb.ResourceError, match=r"need google-re2.*pip install 'subbyte\[quantize\]'"):
        Rule("/a/", "Q8_0")


def test_what_is_exported_is_imported(quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And lines as people write them, of which the first that is found counts."""
    with sb.GGUF.open(quantized) as opened:
        _, lines = export(opened, Recipe.dynamic_gate("IQ2_XS"), imatrix=True)
        found = matrices(opened, imatrix=True)
    (tmp_path / "types.txt").write_text("\n".join(lines))
    assert run(["recipe", "import", str(tmp_path / "types.txt"), "q4_k_m"]) == 0
    assert types(parse_recipe(capsys.readouterr().out), found) == types(Recipe.dynamic_gate("IQ2_XS"), found)
    (tmp_path / "types.txt").write_text(r"BLK\.[01]\.ATTN_V=q8_0 attn_v=F16" "\n  ffn=q5_k\n")
    imported = from_tensor_types(tmp_path / "types.txt", "Q4_K_M")
    chosen, plain = types(imported, found), types(Recipe.named("Q4_K_M"), found)
    for name, type in chosen.items():
        early = name.startswith(("blk.0.", "blk.1."))
        wanted = ("Q8_0" if early else "F16") if "attn_v" in name else "Q5_K" if "ffn" in name else plain[name]
        assert type == wanted, name
    for text, says in [("a", "'a' is not PATTERN=TYPE"), ("(=Q8_0", "missing )"), ("a=Q9", "no block type 'Q9'"),
                       ("a=Q8_0\n" * 5000, "more than 4096 patterns"), ("\x80", "not UTF-8")]:  # fmt: skip
        (tmp_path / "types.txt").write_bytes(text.encode("latin-1"))
        assert run(["recipe", "import", str(tmp_path / "types.txt"), "Q8_0"]) == 3
        said = capsys.readouterr().err
        assert says in said and said.count("\n") == 1 and len(said) < 500
    assert run(["recipe", "import", str(tmp_path / "none"), "Q8_0"]) == 4


@given(st.text())
def test_no_text_is_worse_than_an_error(text: str) -> None:
    for parse in (parse_recipe, parse_override, Recipe.named):
        try:
            parse(text)
        except ValueError as error:
            assert str(error)


@given(st.lists(st.sampled_from(["Q4_K", "Q6_K", "IQ2_XS", "F16"]), min_size=1, max_size=40), st.data())
@pytest.mark.thorough
def test_compressed_types_are_the_same_types(choice: list[str], data: Any) -> None:
    found = dense(6)
    given_types = {matrix.name: data.draw(st.sampled_from(choice)) for matrix in found}
    recipe = compress(given_types, found, "any")
    assert types(recipe, found) == given_types
    assert parse_recipe(format_recipe(recipe)) == recipe


def test_a_mixture_in_few_rules() -> None:
    recipe = typical(Recipe.named("IQ3_XS"))
    middle = Rule("ffn_gate, ffn_up", "IQ3_S", "0-3, 28-31")
    assert recipe.default_type == "IQ3_S" or middle in recipe.rules
    assert len(recipe.rules) <= 5 and types(recipe, dense()) == types(Recipe.named("IQ3_XS"), dense())


def test_ranges() -> None:
    assert ranges([3, 0, 1, 2, 8, 30, 31]) == "0-3, 8, 30-31"


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    write_model(tmp_path / "m.gguf", shape=MIXED)
    sb.quantize(tmp_path / "m.gguf", tmp_path / "q.gguf", "Q4_K_M")
    return tmp_path / "q.gguf"


def test_extract_and_check(quantized: Path) -> None:
    with sb.GGUF.open(quantized) as opened:
        recipe = extract(opened)
        assert check(opened, Recipe.named("Q4_K_M")) == [] == check(opened, recipe)
        found = check(opened, Recipe.named("Q8_0"))
        assert {each.name for each in found} == {t.name for t in opened.tensors.values() if is_matrix(t.name, t.shape)}
        assert all(each.wanted == "Q8_0" and each.found == opened.tensors[each.name].type for each in found)
        assert resolve(opened, Recipe.named("Q4_K_M"), imatrix=False).rules == recipe.rules


def test_export_names_every_matrix_once(quantized: Path) -> None:
    with sb.GGUF.open(quantized) as opened:
        file_type, lines = export(opened, Recipe.dynamic_gate("IQ2_XS"), imatrix=True)
        wanted = types(Recipe.dynamic_gate("IQ2_XS"), matrices(opened, imatrix=True))
        patterns = [line.rpartition("=")[::2] for line in lines]
        for name, type in wanted.items():
            assert [t.upper() for pattern, t in patterns if re.search(pattern, name)] == [type]
        assert file_type == "IQ2_XS" and not any(" " in line for line in lines)
        assert export(opened, Recipe.named("F16"), imatrix=False) == ("F16", [])
        with pytest.raises(ValueError, match="floats"):
            export(opened, Recipe("x", "F16", (Rule("output", "BF16"),), pure=True), imatrix=False)


def test_export_writes_names_of_two_parts_in_full(tmp_path: Path) -> None:
    write_model(tmp_path / "m.gguf", "lfm2")
    with sb.GGUF.open(tmp_path / "m.gguf") as opened:
        _, lines = export(opened, Recipe.named("Q4_K_M"), imatrix=False)
        patterns = [line.rpartition("=")[0] for line in lines]
        names = [matrix.name for matrix in matrices(opened, imatrix=False)]
    assert any(".shortconv.in_proj." in name for name in names)
    assert all(sum(bool(re.search(pattern, name)) for pattern in patterns) == 1 for name in names)


def test_experts_in_tensors_of_their_own_are_refused(tmp_path: Path) -> None:
    head = [pair("general.architecture", STR, "llama"), pair("llama.block_count", U32, 1)]
    data = gguf_bytes(head, [tensor("blk.0.ffn_gate.3.weight", (32, 2))], bytes(256))
    (tmp_path / "m.gguf").write_bytes(data)
    with (
        sb.GGUF.open(tmp_path / "m.gguf") as opened,
        pytest.raises(sb.UnsupportedError, match="April 2024 have; convert"),
    ):
        matrices(opened, imatrix=False)


def test_names_that_no_recipe_tells_apart() -> None:
    found = locate([("blk.0.a.weight", 256), ("blk.0.x.a.weight", 256)], ModelTraits(1, 4, False), imatrix=False)
    with pytest.raises(sb.ModelRefused, match="no recipe tells"):
        compress({"blk.0.a.weight": "Q4_K", "blk.0.x.a.weight": "Q6_K"}, found, "x")
    found = locate([("a(.weight", 256), ("b.weight", 256), ("c.weight", 256)], ModelTraits(1, 4, False), imatrix=False)
    with pytest.raises(sb.ModelRefused, match="names"):
        compress({"a(.weight": "Q4_K", "b.weight": "Q6_K", "c.weight": "Q6_K"}, found, "x")


def test_commands(quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recipe", "show"]) == 0
    assert capsys.readouterr().out.split() == list(NAMED)
    assert run(["recipe", "show", "IQ2_M"]) == 0
    shown = capsys.readouterr().out
    assert types(parse_recipe(shown), dense()) == types(Recipe.named("IQ2_M"), dense())
    assert run(["recipe", "extract", str(quantized)]) == 0
    (tmp_path / "r.toml").write_text(capsys.readouterr().out)
    assert run(["recipe", "check", str(quantized), str(tmp_path / "r.toml")]) == 0
    assert "all tensors match" in capsys.readouterr().out
    assert run(["recipe", "check", str(quantized), "Q6_K", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"][0]["wanted"] == "Q6_K"
    assert run(["recipe", "export", "Q4_K_M", str(quantized)]) == 0
    out, err = capsys.readouterr()
    assert "--tensor-type-file" in err and err.strip().endswith("Q4_K_S") and out.count("=") == len(out.splitlines())
    assert run(["recipe", "show", "Q9"]) == 2
    assert "lists those built in" in capsys.readouterr().err


def test_built_in_names_are_llama_quantizes() -> None:
    assert FILE_TYPES.keys() - {"F32"} <= NAMED.keys()


@pytest.mark.parametrize("name, meant", [
    ("iq2xs", "IQ2_XS"), ("q4km", "Q4_K_M"), ("Q4-K-M", "Q4_K_M"), ("Q4_K_M_L", "Q4_K_M"),
    ("dynamicgate_iq2xs", "DynamicGate-IQ2_XS"),
])  # fmt: skip
def test_a_name_that_is_nearly_right(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean {meant}"):
        Recipe.named(name)


def test_a_type_that_is_nearly_right() -> None:
    with pytest.raises(ValueError, match=r"did you mean Q4_K\?"):
        Rule("attn_v", "Q4K")
    with pytest.raises(ValueError, match=r"did you mean use_more_bits\?"):
        Rule("attn_v", "Q4_K", when=("use more bits",))


@pytest.mark.parametrize("type", sorted(TYPE_IDS.keys() - FORMATS.keys()))
def test_a_file_of_types_that_have_only_a_name(type: str, tmp_path: Path) -> None:
    """Most matrices, or one of several."""
    pairs = [pair("general.architecture", STR, "x"), pair("x.block_count", 4, 1), pair("x.attention.head_count", 4, 1)]
    for other in (type, "F32"):
        tensors = [tensor("blk.0.a.weight", [256, 2], TYPE_IDS[type])]
        tensors.append(tensor("blk.0.b.weight", [256, 2], TYPE_IDS[other], 4096))
        tensors.append(tensor("blk.0.c.weight", [256, 2], TYPE_IDS[other], 8192))
        (tmp_path / "m.gguf").write_bytes(gguf_bytes(pairs, tensors, bytes(1 << 14)))
        with (
            GGUF.open(tmp_path / "m.gguf") as gguf,
            pytest.raises(sb.UnsupportedError, match=f"is {type}, which can't"),
        ):
            extract(gguf)


def test_names_of_a_hostile_file_for_llama_quantize(tmp_path: Path) -> None:
    """A line stays a line, and matches the name."""
    kind = "a\x1b[2J\n=b\x9b c"
    write_model(tmp_path / "m.gguf", tensors={f"blk.0.{kind}.weight": np.ones((2, 64), np.float32)})
    with GGUF.open(tmp_path / "m.gguf") as gguf:
        lines = export(gguf, Recipe("own", "Q8_0", pure=True), imatrix=False)[1]
    (line,) = (line for line in lines if "2J" in line)
    assert line.isprintable() and re.fullmatch(line.rpartition("=")[0], f"blk.0.{kind}.weight")


def test_a_name_with_control_characters_in_toml() -> None:
    recipe = Recipe("a\x1b\x7f\x9b\u00e9", "Q4_K_M")
    assert format_recipe(recipe).replace("\n", "").isprintable() and parse_recipe(format_recipe(recipe)) == recipe
