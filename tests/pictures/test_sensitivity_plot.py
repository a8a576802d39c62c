"""The plot of an attribution: a cell for each tensor in the row of its kind, coloured by what it costs."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

import subbyte as sb
from subbyte.runtime.compare.attribution_result import Attribution, Sensitivity
from subbyte.runtime.evaluation.divergence import Estimate
from subbyte.runtime.pictures.sensitivity_plot import MAX_CELLS, RANGE, _Colours

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.thorough

SVG = "{http://www.w3.org/2000/svg}"
N_LAYER = 24


def of(tensor: str, kld: float, per_mb: float | None = None) -> Sensitivity:
    return Sensitivity(
        tensor, "F16 → Q4_K", 2 * 10**6, 10**6, Estimate(kld, kld / 10), kld if per_mb is None else per_mb
    )


def attribution(*groups: Sensitivity, by: str = "tensor") -> Attribution:
    return Attribution("/x/f16.gguf", "/x/q4_k.gguf", by, groups, Estimate(0.5, 0.1), 512, 1, 255, "ab" * 32, "f16",
                       "int8x2", 1.0)  # fmt: skip


GROUPS = (
    *(of(f"blk.{i}.ffn_down.weight", 1e-3 * (i + 1)) for i in range(N_LAYER)),
    *(of(f"blk.{i}.attn_q.weight", 1e-4, 0.0) for i in range(0, N_LAYER, 2)),
    of("blk.3.attn_q.bias", 0.5, math.inf),
    of("blk.0.<&\x1b>.weight", 0.0),
    of("token_embd.weight", 1e-9),
)


def draw(found: Attribution, folder: Path) -> ElementTree.Element:
    found.save_plot(folder / "p.svg", overwrite=True)
    return ElementTree.parse(folder / "p.svg").getroot()


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def cells(svg: ElementTree.Element, panel: str) -> dict[int, tuple[float, float, float, str, str]]:
    """Of each tensor: left, top and width of its cell, its colour, and what it says."""
    found = {}
    for group in svg.iter(f"{SVG}g"):
        if match := re.fullmatch(rf"{panel}-(\d+)", group.get("id", "")):
            (path,) = group.iter(f"{SVG}path")
            corners = re.findall(r"[ML] (\S+) (\S+)", path.attrib["d"])
            x, y = ([float(corner[i]) for corner in corners] for i in (0, 1))
            (colour,) = re.findall("fill: (#[0-9a-f]{6})", path.attrib["style"])
            found[int(match[1])] = min(x), min(y), max(x) - min(x), colour, group.findtext(f"{SVG}title") or ""
    return found


def test_cells_are_in_their_rows_and_columns(tmp_path: Path) -> None:
    svg = draw(attribution(*GROUPS), tmp_path)
    texts = texts_of(svg)
    assert "KL divergence by tensor: q4_k.gguf" in texts
    assert any(text.startswith("each alone put into f16.gguf, 1 chunk of 512 tokens, text sha256 ab") for text in texts)
    rows = ["attn_q", "ffn_down", "attn_q.bias", r"<&\x1b>", "token_embd"]
    assert [text for text in texts if text in rows] == rows * 2
    assert r"Dearest for what they save: blk.23.ffn_down, blk.22.ffn_down" in " ".join(texts)
    for panel in ("kld", "per-mb"):
        found = cells(svg, panel)
        assert found.keys() == {*range(len(GROUPS))}
        down, q, (bias, odd, embd) = (
            [*range(N_LAYER)],
            [*range(N_LAYER, N_LAYER + 12)],
            range(N_LAYER + 12, len(GROUPS)),
        )
        width = found[0][2]
        assert [found[i][0] for i in down] == pytest.approx([found[0][0] + i * width for i in range(N_LAYER)], abs=0.01)
        assert [found[i][0] for i in q] == pytest.approx(
            [found[0][0] + i * width for i in range(0, N_LAYER, 2)], abs=0.01
        )
        tops = [{found[i][1] for i in row} for row in (q, down, [bias], [odd], [embd])]
        assert all(len(top) == 1 for top in tops) and sorted(tops, key=min) == tops
        assert found[embd][2] == pytest.approx(3 * width, abs=0.01) and found[odd][0] == found[0][0]
        colours = [found[i][3] for i in down]
        assert (len({*colours}) == N_LAYER and colours[-1] != found[bias][3]) or panel == "per-mb"
    assert found[bias][3] == colours[-1]  # infinite, where nothing is dearer
    assert found[23][4] == "blk.23.ffn_down: F16 → Q4_K, KL divergence 0.024 ± 0.0024, 0.024 for each MB saved"
    assert found[bias][4] == "blk.3.attn_q.bias: F16 → Q4_K, KL divergence 0.5 ± 0.05"
    assert found[23][4] in (svg.findtext(f"{SVG}desc") or "")


def test_colours_are_ever_lighter() -> None:
    colours = _Colours.of([0.0, 1e-9, 0.02, 3.0, math.inf, math.nan])
    assert colours == _Colours(3.0 / RANGE, 3.0)
    light = [sum(colours(3.0 * 10 ** (i / 10))[:3]) for i in range(-40, 1)]
    assert light == sorted(light) and colours(0.0) == colours(1e-4) and colours(math.inf) == colours(3.0)
    assert _Colours.of([2.0]) == _Colours(0.2, 2.0) and _Colours.of([0.0]) == _Colours(0.1, 1.0)


@pytest.mark.parametrize("groups", [
    [of("output.weight", 0.1)], [of("blk.0.attn_q.weight", 0.0)], [of("blk.500.x.weight", 1e300, 1e-300)],
    [of(f"blk.{i}.attn_v.weight", 0.1) for i in range(130)],
])  # fmt: skip
def test_odd_grids(groups: list[Sensitivity], tmp_path: Path) -> None:
    svg = draw(attribution(*groups), tmp_path)
    assert len(cells(svg, "kld")) == len(groups)
    width = float(svg.attrib["viewBox"].split()[2])
    assert all(0 < left < left + size < width for left, _, size, *_ in cells(svg, "per-mb").values())


def test_what_is_no_grid_is_an_error(tmp_path: Path) -> None:
    kinds = replace(attribution(of("ffn_down", 0.1)), by="kind")
    with pytest.raises(ValueError, match="a plot of tensors is of a blame by=\"tensor\", and this is one by='kind'"):
        kinds.save_plot(tmp_path / "p.svg")
    with pytest.raises(ValueError, match="a plot of 0 tensors"):
        attribution().save_plot(tmp_path / "p.svg")
    with pytest.raises(ValueError, match=rf"but it takes 1 to {MAX_CELLS}"):
        attribution(*[of("a.weight", 0.1)] * (MAX_CELLS + 1)).save_plot(tmp_path / "p.svg")
    with pytest.raises(ValueError, match="a tensor of layer 99999, but a plot ends with 999"):
        attribution(of("blk.99999.attn_q.weight", 0.1)).save_plot(tmp_path / "p.svg")
    with pytest.raises(sb.ResourceError, match="there is no folder"):
        attribution(of("a.weight", 0.1)).save_plot(tmp_path / "none" / "p.png")
