"""The plot of a report: what is where in it, what it says in words, and what hostile or odd reports make of it."""

from __future__ import annotations

import copy
import json
import math
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from subbyte.errors import FileExists, FormatError, ResourceError
from subbyte.runtime.pictures.frontier import LONGEST, Figure, File, Frontier, short_names
from subbyte.runtime.pictures.frontier_plot import LOOKS
from subbyte.runtime.pictures.labels import Names, Surroundings, place_names
from subbyte.runtime.pictures.picture import DIM, FAINT, GROUND, INK, ON_DARK, check_plot
from subbyte.runtime.pictures.sheet import log_ticks
from subbyte.runtime.report.saved import SavedReport

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.thorough

SVG = "{http://www.w3.org/2000/svg}"
PER_LN = 0.36  # bits a byte for each nat a token
KLDS = {"IQ2_XXS": (60.0, 2.5), "DynamicGate-IQ2_XXS": (70.0, 1.9), "IQ2_S": (72.0, 1.6), "mine": (90.0, 0.7),
        "IQ3_XXS": (91.0, 0.8), "Q4_K_M": (120.0, 0.1), "Q8_0": (400.0, 0.004)}  # fmt: skip


def row(name: str, mb: float, kld: float | None, maker: str = "standard") -> dict[str, Any]:
    """As a report has it; the perplexity follows from the divergence.

    Intervals are 10 % of the divergence and 3 % of the perplexity's ratio to the base's, e^3, to either side.
    """
    ppl = math.exp(3 + (kld or 0))
    found = kld and {
        "kld": {"value": kld, "error": 0.1}, "kld_interval": {"low": 0.9 * kld, "high": 1.1 * kld},
        "log_ratio": {"value": kld},
        "log_ratio_interval": {"low": kld + math.log(0.97), "high": kld + math.log(1.03)},
    }  # fmt: skip
    return {
        "model": f"/x/llm-{name}.gguf", "size_class": {"file_type": name, "maker": maker}, "n_bytes": int(mb * 1e6),
        "perplexity": {
            "ppl": ppl, "interval": {"low": 0.8 * ppl, "high": 1.3 * ppl}, "bits_per_byte": PER_LN * math.log(ppl),
            "n_ctx": 512, "chunks": 3, "total_chunks": 40, "text_sha256": "0123456789abcdef" * 4,
        },
        "divergence": found or None,
    }  # fmt: skip


def report(*, base: bool = True) -> dict[str, Any]:
    makers = {"mine": "other", "DynamicGate-IQ2_XXS": "DynamicGate"}
    rows = [row(name, mb, kld, makers.get(name, "standard")) for name, (mb, kld) in KLDS.items()]
    if base:
        rows.append(row("F32", 3000, None))
    return {"rows": rows, "base": "/x/llm-F32.gguf" if base else None}


def svg_of(facts: dict[str, Any], folder: Path) -> ElementTree.Element:
    SavedReport.of(facts).save_plot(folder / "p.svg", overwrite=True)
    return ElementTree.parse(folder / "p.svg").getroot()


def texts_of(svg: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plot") / "p.svg"
    SavedReport.of(report()).save_plot(path)
    return path


@pytest.fixture(scope="module")
def png(drawn: Path) -> Path:
    path = drawn.with_suffix(".png")
    SavedReport.of(report()).save_plot(path)
    return path


@pytest.fixture(scope="module")
def svg(drawn: Path) -> ElementTree.Element:
    return ElementTree.parse(drawn).getroot()


def group(svg: ElementTree.Element, gid: str) -> ElementTree.Element:
    (found,) = (each for each in svg.iter(f"{SVG}g") if each.get("id") == gid)
    return found


def point(svg: ElementTree.Element, gid: str) -> tuple[float, float]:
    (use,) = group(svg, gid).iter(f"{SVG}use")
    return float(use.attrib["x"]), float(use.attrib["y"])


def path(svg: ElementTree.Element, gid: str) -> list[tuple[float, float]]:
    """The corners of the line itself, whose path stands before its markers'."""
    numbers = re.findall(r"[ML] (\S+) (\S+)", next(group(svg, gid).iter(f"{SVG}path")).attrib["d"])
    return [(float(x), float(y)) for x, y in numbers]


# ---- what is where


def test_points_and_the_ends_of_intervals_are_where_the_axes_have_them(svg: ElementTree.Element) -> None:
    """Along logarithmic sizes and divergences, and along bits a byte, which are even."""
    values = {
        "kld": [[math.log(kld * factor) for factor in (1, 0.9, 1.1)] for _, kld in KLDS.values()],
        "bits": [[PER_LN * (3 + kld + math.log(factor)) for factor in (1, 0.97, 1.03)] for _, kld in KLDS.values()],
    }
    sizes = [math.log(mb) for mb, _ in KLDS.values()]
    for measure, expected in values.items():
        points = [point(svg, f"{measure}-{i}") for i in range(len(KLDS))]
        x, y = (
            np.polyfit(sizes, [x for x, _ in points], 1),
            np.polyfit([v[0] for v in expected], [y for _, y in points], 1),
        )
        assert x[0] > 0 > y[0]
        for i, (value, low, high) in enumerate(expected):
            assert points[i] == pytest.approx((np.polyval(x, sizes[i]), np.polyval(y, value)), abs=0.01)
            bottom, top = path(svg, f"{measure}-{i}-interval")
            assert bottom == pytest.approx((points[i][0], np.polyval(y, low)), abs=0.01)
            assert top == pytest.approx((points[i][0], np.polyval(y, high)), abs=0.01)


def test_the_frontier_goes_by_the_files_that_none_beats(svg: ElementTree.Element) -> None:
    for measure in ("kld", "bits"):
        corners = path(svg, f"{measure}-frontier")
        points = [point(svg, f"{measure}-{i}") for i in (0, 1, 2, 3, 5, 6)]  # IQ3_XXS is larger than "mine" and worse
        assert corners[::2] == [pytest.approx(at, abs=0.01) for at in points]
        below = [(x, y) for (x, _), (_, y) in zip(points[1:], points, strict=False)]
        assert corners[1:-1:2] == [pytest.approx(at, abs=0.01) for at in below]
        assert corners[-1][0] > points[-1][0] and corners[-1][1] == pytest.approx(points[-1][1], abs=0.01)


def test_everything_has_its_name(svg: ElementTree.Element) -> None:
    texts = texts_of(svg)
    assert "KL divergence and perplexity by size: llm" in texts
    assert "3 of 40 chunks of 512 tokens, text sha256 0123456789abcdef…; KL divergence from llm-F32.gguf" in texts
    assert all(texts.count(name) == 2 for name in KLDS)
    for name in ("standard", "DynamicGate", "other", "Pareto frontier", "base llm-F32, 3.0 GB", "perplexity",
                 "KL divergence, nats a token, logarithmic", "size, MB, logarithmic"):  # fmt: skip
        assert name in texts
    group(svg, "base")
    assert [tick for tick in ("0.01", "0.1", "1", "100", "200", "50") if tick not in texts] == []


def test_makers_differ_in_shape_and_colour(svg: ElementTree.Element) -> None:
    looks = {}
    for i, name in enumerate(KLDS):
        (use,) = group(svg, f"kld-{i}").iter(f"{SVG}use")
        (shape,) = (
            p for p in svg.iter(f"{SVG}path") if p.get("id") == use.attrib["{http://www.w3.org/1999/xlink}href"][1:]
        )
        looks[name] = shape.attrib["d"], re.findall("fill: (#[0-9a-f]{6})", use.attrib["style"])[0]
    assert looks["Q8_0"] == looks["Q4_K_M"]
    three = [looks[name] for name in ("Q8_0", "mine", "DynamicGate-IQ2_XXS")]
    assert len({shape for shape, _ in three}) == len({colour for _, colour in three}) == 3


def test_it_says_all_in_words(svg: ElementTree.Element, drawn: Path) -> None:
    assert svg.get("role") == "img"
    title, desc = (svg.find(f"{SVG}{name}") for name in ("title", "desc"))
    assert title is not None and desc is not None
    assert svg.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert title.text in texts_of(svg)
    for words in (
        "mine: other mine, 90.0 MB, KL divergence 0.7 (0.63 to 0.77), perplexity 40.45,",
        "Pareto frontier of perplexity: IQ2_XXS, DynamicGate-IQ2_XXS, IQ2_S, mine, Q4_K_M, Q8_0.",
        "Bars: 95 % intervals, of perplexity for its difference from the base.",
    ):
        assert words in (desc.text or "")
    tip = group(svg, "bits-3").find(f"{SVG}title")
    assert tip is not None and (tip.text or "").startswith("mine: other mine, 90.0 MB")


def test_it_is_the_same_file_whenever_it_is_drawn(drawn: Path, png: Path, tmp_path: Path) -> None:
    for path in (drawn, png):
        SavedReport.of(report()).save_plot(tmp_path / path.name)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    text = drawn.read_text()
    assert "<image" not in text and "dc:date" not in text and "sans-serif" in text and "@font-face" not in text


def test_the_png(png: Path, svg: ElementTree.Element) -> None:
    from PIL import Image

    with Image.open(png) as image:
        points = [float(part) for part in svg.attrib["viewBox"].split()[2:]]
        assert image.size == pytest.approx([part * 200 / 72 for part in points], abs=1)
        assert image.info["Description"] == (svg.findtext(f"{SVG}desc") or "")
        pixels = np.asarray(image.convert("RGB"))
    shown = {f"#{colour:06x}" for colour in np.unique(pixels.astype(np.int32) @ [0x10000, 0x100, 1])}
    assert {GROUND, *(light for _, light, _ in LOOKS.values())} <= shown
    assert 0.02 < (pixels < 200).any(axis=2).mean() < 0.2


# ---- light and dark


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [value / 255 for value in bytes.fromhex(colour[1:])]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_on_light_and_on_dark(drawn: Path) -> None:
    for colour in (INK, DIM):
        assert contrast(colour, GROUND) >= 4.5 and contrast(ON_DARK[colour], ON_DARK[GROUND]) >= 4.5
    for _, light, dark in LOOKS.values():
        assert contrast(light, GROUND) >= 4.5 and contrast(dark, ON_DARK[GROUND]) >= 4.5
    text = drawn.read_text()
    swapped = {*ON_DARK, *(light for _, light, _ in LOOKS.values())}
    assert {*re.findall("(?:fill|stroke): (#[0-9a-f]{6})", text.partition("</style>")[2])} <= swapped
    for colour in swapped - {FAINT}:
        assert "@media(prefers-color-scheme:dark){" in text and f"[style*='fill: {colour}']{{fill:" in text


# ---- names


def test_names_lose_what_all_begin_with() -> None:
    assert short_names(["a-b-Q4_K.gguf", "a-b-Q8_0.gguf"]) == (["Q4_K", "Q8_0"], "a-b")
    assert short_names(["a-Q4.gguf", "a-Q4_K-00001-of-00003.gguf"]) == (["Q4", "Q4_K"], "a")
    assert short_names(["x/a.gguf", "y/a.gguf"]) == (["x/a", "y/a"], "")
    assert short_names(["a-b.gguf"]) == (["a-b"], "") and short_names([".gguf", "b"]) == ([".gguf", "b"], "")
    (name,), _ = short_names(["x" * 30 + "y" * 30])
    assert len(name) == LONGEST and "…" in name and name[0] + name[-1] == "xy"


def overlap(a: np.ndarray, b: np.ndarray) -> bool:
    return bool((a[:2] < b[2:]).all() and (b[:2] < a[2:]).all())


@pytest.mark.parametrize("spread", [150, 40, 5])
def test_no_name_covers_another_or_a_point(spread: float) -> None:
    rng = np.random.default_rng(1)
    at = np.array([230.0, 300.0]) + rng.normal(0, 1, (40, 2)) * spread
    at = np.clip(at, 5, [445, 595])
    sizes = np.stack([rng.uniform(30, 120, 40), np.full(40, 10.4)], axis=1)
    points = np.hstack([at - 3, at + 3])
    line = np.array([[0.0, 300.0, 450.0, 300.0]])
    boxes = place_names(Names(at, sizes), Surroundings(np.array([0.0, 0.0, 450.0, 600.0]), points, line))
    assert np.allclose(boxes[:, 2:] - boxes[:, :2], sizes)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [450, 600]).all()
    for i in range(40):
        assert not any(overlap(boxes[i], boxes[j]) for j in range(i))
        assert not any(overlap(boxes[i], of) for of in points)


def test_names_in_a_crowded_plot_do_not_overlap(tmp_path: Path) -> None:
    """By their widths in the plot's font, from where the SVG has their middles."""
    from subbyte.runtime.pictures.picture import SMALL
    from subbyte.runtime.pictures.sheet import text_size

    facts = report()
    facts["rows"][:-1] = [row(f"mixture-{i}", 60 + i % 5 / 4, 1 + i / 100) for i in range(25)]
    svg = svg_of(facts, tmp_path)
    for measure in ("kld", "bits"):
        boxes = []
        for i in range(25):
            (text,) = group(svg, f"{measure}-{i}-name").iter(f"{SVG}text")
            width, height = text_size(text.text or "", SMALL)
            assert "text-anchor: middle" in text.attrib["style"]
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            boxes.append(np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]))
        assert not any(overlap(boxes[i], boxes[j]) for i in range(25) for j in range(i))


HOSTILE = (
    "]]><script>&amp;\"'-->",
    r"$\frac{1}{0}$ $_$^",
    "\x1b[31m\x00\ufffe",
    "\u202egnp",
    "\udc80",
    "模型 🎉",
    "y" * 500,
)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    facts = report()
    for i, name in enumerate(HOSTILE):
        facts["rows"][i]["model"] = f"/x/{name}"
        facts["rows"][i]["size_class"]["file_type"] = name
    facts["rows"][0]["perplexity"]["text_sha256"] = "</text>\x1b"
    svg = svg_of(facts, tmp_path)
    texts, text = texts_of(svg), (tmp_path / "p.svg").read_text()
    assert text.replace("\n", "").isprintable() and not list(svg.iter(f"{SVG}script"))
    for name in (HOSTILE[0], HOSTILE[1], r"\x1b[31m\x00\ufffe", r"\u202egnp", r"\udc80", HOSTILE[5]):
        assert texts.count(name) == 2, name
    SavedReport.of(facts).save_plot(tmp_path / "p.png")


# ---- odd reports


def test_the_frontier_of_equal_files_has_the_first() -> None:
    def file(n_bytes: int, kld: float) -> File:
        return File("m", "other", "", n_bytes, Figure(kld), Figure(math.nan), math.nan)

    files = (file(2, 3.0), file(1, 3.0), file(1, 5.0), file(2, 1.0), file(3, 1.0), file(3, math.nan))
    frontier = Frontier(files, None, "")
    assert (frontier.having("kld"), frontier.best("kld"), frontier.best("bits")) == ([1, 2, 3, 0, 4], [1, 3], [])


def test_without_a_base_there_is_one_panel(tmp_path: Path) -> None:
    facts = report(base=False)
    for each in facts["rows"]:
        each["divergence"] = None
    svg = svg_of(facts, tmp_path)
    texts = texts_of(svg)
    assert "Perplexity by size: llm" in texts and texts.count("mine") == 1
    assert not any("KL" in text or "base" in text for text in texts)
    tip = group(svg, "bits-3").findtext(f"{SVG}title") or ""
    assert "1.332 (1.252 to 1.426) bits a byte" in tip and "of each file by itself" in " ".join(texts)


def test_what_is_not_known_is_left_out_and_said(tmp_path: Path) -> None:
    facts = report()
    for each in facts["rows"]:
        each["perplexity"]["interval"] = {"low": 0.0, "high": None}
        if each["divergence"]:
            each["divergence"] |= {name: {"low": None, "high": None} for name in ("kld_interval", "log_ratio_interval")}
    facts["rows"][1]["perplexity"] |= {"ppl": None, "bits_per_byte": None}
    facts["rows"][2]["divergence"]["kld"]["value"] = None
    facts["rows"][3]["divergence"]["kld"]["value"] = 0.0  # which no logarithmic axis has
    facts["rows"][4]["perplexity"]["bits_per_byte"] *= 2  # another vocabulary
    texts = texts_of(svg_of(facts, tmp_path))
    assert [texts.count(name) for name in KLDS] == [2, 1, 1, 2, 2, 2, 2]
    assert "KL divergence, nats a token" in texts and "perplexity" not in texts
    assert any(text.startswith("Too few chunks") for text in texts)
    for name in ("perplexity", "KL divergence"):
        assert any(f"Without a finite {name}, and not shown there: 1 of 7 files." in text for text in texts)


def test_one_file_and_extreme_figures(tmp_path: Path) -> None:
    facts = report()
    for numbers in ((1e-300, 1e100, 1e308, 1e-11), (0.0, -1e100, 1e-300, 1.0)):
        for each, number in zip(facts["rows"], numbers, strict=False):
            each["perplexity"] |= {"ppl": abs(number), "bits_per_byte": min(number, 1e100)}
            each["divergence"]["kld"]["value"] = min(number, 1e100)
            each["n_bytes"] = 1 + int(min(abs(number), 1e18))
        svg_of(facts, tmp_path)
    alone = {"rows": facts["rows"][-2:-1], "base": None}
    assert "llm-Q8_0" in texts_of(svg_of(alone, tmp_path))


@pytest.mark.parametrize("apart", [1e-4, 0.002, 0.01, 0.03, 0.2, 3])
def test_ticks_of_any_range(apart: float) -> None:
    for low in np.random.default_rng(0).uniform(0.001, 40, 200):
        ticks = log_ticks(low, low * (1 + apart))
        assert 2 <= len(ticks) <= 12 and low <= min(ticks) < max(ticks) <= low * (1 + apart)


def test_a_base_of_no_divergence_is_on_no_logarithmic_axis(tmp_path: Path) -> None:
    facts = report()
    facts["rows"][-1]["divergence"] = {**facts["rows"][0]["divergence"], "kld": {"value": 0.0, "error": 0.0}}
    assert texts_of(svg_of(facts, tmp_path))


def test_nothing_to_plot_is_an_error(tmp_path: Path) -> None:
    facts = report(base=False)
    many = {**facts, "rows": facts["rows"] * 30}
    with pytest.raises(ValueError, match="a plot of 210 files, but it takes 1 to 200"):
        svg_of(many, tmp_path)
    with pytest.raises(ValueError, match="a plot of 0 files"):
        svg_of({"rows": facts["rows"][:1], "base": "/x"}, tmp_path)
    for each in facts["rows"]:
        each["perplexity"]["bits_per_byte"], each["divergence"] = None, None
    with pytest.raises(ValueError, match="no file has a finite perplexity or divergence"):
        svg_of(facts, tmp_path)


# ---- files


def test_a_place_is_checked_before_the_work(
    drawn: Path, png: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p.pdf", "p", "svg"):
        with pytest.raises(ValueError, match=r"path is .*, but must end with \.svg or \.png"):
            check_plot(tmp_path / name)
    (tmp_path / "other.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "other.png").write_bytes(b"\x89PNG\r\n")
    for name in ("other.svg", "other.png"):
        with pytest.raises(FileExists, match="is not a plot, so it is never overwritten"):
            check_plot(tmp_path / name, overwrite=True)
    for path, name in ((drawn, "p.svg"), (png, "p.PNG")):
        check_plot(tmp_path / name)
        (tmp_path / name).write_bytes(path.read_bytes())
        with pytest.raises(FileExists, match="a plot exists; overwrite=True replaces it"):
            check_plot(tmp_path / name)
        check_plot(tmp_path / name, overwrite=True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ResourceError, match=r"needs matplotlib; install it with: pip install 'subbyte\[plot\]'"):
        check_plot(tmp_path / "new.svg")


def test_own_settings_of_matplotlib_change_nothing_and_stay(drawn: Path, tmp_path: Path) -> None:
    import matplotlib

    own = {"font.size": 30.0, "axes.facecolor": "red", "text.usetex": True}
    with matplotlib.rc_context(own):
        SavedReport.of(report()).save_plot(tmp_path / "p.svg")
        assert {name: matplotlib.rcParams[name] for name in own} == own
    assert (tmp_path / "p.svg").read_bytes() == drawn.read_bytes()


def wrong_reports() -> list[str]:
    found = ["", "{", "[" * 100_000, "[]", "{}", '{"rows": [], "base": null}', "\x00", "null"]
    for keys, value in (
        (("n_bytes",), 0), (("n_bytes",), 1.5), (("n_bytes",), 10**400), (("size_class", "maker"), "x"),
        (("perplexity", "ppl"), "1"), (("perplexity", "bits_per_byte"), 1e200), (("divergence", "kld"), 1),
        (("model",), None), (("perplexity", "chunks"), "\x1b"),
    ):  # fmt: skip
        facts = copy.deepcopy(report())
        place = facts["rows"][1]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        found.append(json.dumps(facts))
    return found


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    for text in wrong_reports():
        path.write_text(text)
        with pytest.raises(
            FormatError, match=r"r\.json: no report: .*; give what `subbyte report -o json` wrote"
        ) as of:
            SavedReport.open(path)
        assert str(of.value).isprintable()
    for other in (tmp_path, tmp_path / "none"):
        with pytest.raises(ResourceError, match="can't be read"):
            SavedReport.open(other)
