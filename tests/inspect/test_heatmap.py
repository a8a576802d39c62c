"""The heatmap of a file: what is in which cell, its picture, and what a terminal or a pipe shows of it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from gguf_builder import STR, U32, gguf, pair, tensor
from tiny_models import write_mixed_model, write_model

import subbyte as sb
from subbyte.cli.main import run
from subbyte.kernels import FORMATS
from subbyte.runtime.inspect.colours import bits_colour, ink, type_colour
from subbyte.runtime.inspect.heatmap import MAX_KINDS, MAX_OUTSIDE

Q8_0, Q4_0 = FORMATS["Q8_0"].id, FORMATS["Q4_0"].id


def write(path: Path, tensors: list[tuple[str, list[int], int]], **metadata: int) -> Path:
    """A file of zeros with such tensors (name, shape, ggml type id)."""
    types = {format.id: format for format in FORMATS.values()}
    entries, offset = [], 0
    for name, shape, kind in tensors:
        entries.append(tensor(name, shape, kind, offset))
        n_weights = 1
        for n in shape:
            n_weights *= n
        offset += -(-n_weights // types[kind].block_size * types[kind].block_bytes // 32) * 32
    pairs = [pair("general.architecture", STR, "deci")]
    pairs += [pair(f"deci.{key}", U32, value) for key, value in metadata.items()]
    path.write_bytes(gguf(pairs, entries, bytes(offset + 32)))
    return path


@pytest.fixture
def deci(tmp_path: Path) -> Path:
    """80 layers; the even ones have no attention, the last one nothing."""
    tensors = [("token_embd.weight", [32, 8], Q8_0), ("output.weight", [32, 8], Q4_0), ("output_norm.weight", [32], 0)]
    for i in range(79):
        if i % 2:
            tensors += [(f"blk.{i}.attn_q.weight", [32, 2], Q8_0 if i == 5 else Q4_0)]
        tensors += [(f"blk.{i}.ffn_down.weight", [32, 4], Q4_0), (f"blk.{i}.ffn_norm.weight", [32], 0)]
    return write(tmp_path / "deci.gguf", tensors, block_count=80)


def test_cells_are_the_matrices_of_the_layers(deci: Path) -> None:
    found = sb.heatmap(deci)
    assert (found.architecture, found.kinds, found.n_layer) == ("deci", ("attn_q", "ffn_down"), 80)
    rows = found.rows()
    assert len(rows) == 80 and rows[79] == (None, None) and rows[4][0] is None
    q, down = rows[5]
    assert q is not None and (q.type, q.bits, q.n_weights, q.n_bytes) == ("Q8_0", 8.5, 64, 68)
    assert down is not None and (down.text("bits"), down.text("type")) == ("4.50", "Q4_0")
    assert [(cell.kind, cell.type) for cell in found.outside] == [("token_embd", "Q8_0"), ("output", "Q4_0")]


def test_shares_are_all_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mixed.gguf"
    write_mixed_model(path)
    found = sb.heatmap(path)
    with sb.GGUF.open(path) as file:
        tensors = list(file.tensors.values())
    assert sum(share.n_bytes for share in found.shares) == found.whole.n_bytes == sum(t.n_bytes for t in tensors)
    assert sum(share.n_tensors for share in found.shares) == found.whole.n_tensors == len(tensors)
    assert sum(share.n_weights for share in found.shares) == found.whole.n_weights == sum(t.n_weights for t in tensors)
    assert found.whole.bits == 8 * found.whole.n_bytes / found.whole.n_weights
    assert set(found.whole.types) == {t.type for t in tensors} and found.whole.types[0] == "F32"
    assert found.kinds == ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


def test_fused_matrices_are_kinds_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "phi3.gguf"
    write_model(path, "phi3")
    assert sb.heatmap(path).kinds == ("attn_qkv", "attn_output", "ffn_up", "ffn_down")


def test_what_a_file_names_without_end_is_bounded(tmp_path: Path) -> None:
    tensors = [(f"blk.0.k{i}.weight", [32, 1], Q4_0) for i in range(100)]
    tensors += [(f"t{i}.weight", [32, 1], Q4_0) for i in range(100)]
    tensors += [("blk.999999.attn_q.weight", [32, 1], Q4_0), ("blk.007.attn_q.weight", [32, 1], Q4_0)]
    found = sb.heatmap(write(tmp_path / "many.gguf", tensors, block_count=4_000_000_000))
    assert (len(found.kinds), len(found.outside), found.n_layer) == (MAX_KINDS, MAX_OUTSIDE, 1)
    assert sum(share.n_tensors for share in found.shares) == 202
    assert found.shares[-1].kind == "others" and found.shares[-1].n_tensors == 202 - MAX_KINDS - MAX_OUTSIDE


def test_a_file_without_tensors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "empty.gguf", [])
    found = sb.heatmap(path)
    assert (found.kinds, found.shares, found.whole.bits) == ((), (), None)
    ElementTree.fromstring(found.svg())
    assert run(["inspect", str(path), "--heatmap"]) == 0 and "0 B" in capsys.readouterr().out


@pytest.mark.parametrize("by", ["bits", "type"])
def test_the_picture(deci: Path, by: str) -> None:
    found = sb.heatmap(deci)
    picture = found.svg(by)
    root = ElementTree.fromstring(picture)
    space = "{http://www.w3.org/2000/svg}"
    tips = [tip.text for tip in root.iter(f"{space}title")]
    assert len(tips) == 79 + 39 + 2 and "blk.5.attn_q: Q8_0, 8.5 bits per weight, 0.00 MB" in tips
    texts = [text.text for text in root.iter(f"{space}text")]
    assert texts.count("8.50" if by == "bits" else "Q8_0") == 2 and "token_embd" in texts
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in root.iter(f"{space}rect"):
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width and 0 <= y <= y + h <= height
    of_file, of_page = found.svg(), found._repr_html_()
    texts = "".join(of_page[of_page.index("</style>") :].rpartition("</div>")[0])
    assert of_file.endswith(f"{texts}\n")
    assert "background" not in of_page and "currentColor" in of_page and "#fff" not in of_page.partition("</style>")[0]
    assert ":root" not in of_page  # of a page that is the page itself
    assert "prefers-color-scheme:dark" in of_file


def test_hostile_names_in_the_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "x.gguf", [("blk.0.<&\x1b[31m>.weight", [32, 1], Q4_0), ("\x00\ufffe]]>", [32, 1], Q4_0)])
    picture = sb.heatmap(path).svg()
    ElementTree.fromstring(picture)
    assert picture.replace("\n", "").isprintable() and r"&lt;&amp;\x1b[31m&gt;" in picture


def test_in_a_pipe(deci: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(deci), "--heatmap", "--by", "type"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert "\x1b" not in out and lines[:2] == [["layer", "attn", "ffn"], ["q", "down"]]
    assert lines[2:8] == [["0", "-", "Q4_0"], ["1", "Q4_0", "Q4_0"], ["2", "-", "Q4_0"], ["3", "Q4_0", "Q4_0"],
                          ["4", "-", "Q4_0"], ["5", "Q8_0", "Q4_0"]]  # fmt: skip
    assert lines[81] == ["79", "-", "-"] and ["Q8_0", "token_embd"] in lines
    assert lines[-1][:2] == ["all", "200"]


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int, **env: str) -> None:
    for name, value in {"COLUMNS": str(columns), "TERM": "xterm-256color", "COLORTERM": "truecolor", **env}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)


def test_in_a_terminal(deci: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch, 80)
    assert run(["inspect", str(deci), "--heatmap"]) == 0
    red, green, blue = bytes.fromhex(bits_colour(8.5)[1:])
    assert f"48;2;{red};{green};{blue}m8.50" in capsys.readouterr().out


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_without_colours(
    deci: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    terminal(monkeypatch, 80, **env)
    assert run(["inspect", str(deci), "--heatmap"]) == 0
    out = capsys.readouterr().out
    assert not re.search(r"\x1b\[[0-9;]*[34]8;", out) and "8.50" in out


def test_a_narrow_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mixed.gguf"
    write_mixed_model(path)
    terminal(monkeypatch, 30, NO_COLOR="1")
    assert run(["inspect", str(path), "--heatmap", "--by", "type"]) == 0
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    grid = out.partition("token_embd")[0].splitlines()
    assert all(len(line) <= 30 for line in grid)
    assert sum(line.startswith("layer") for line in grid) > 1
    cells = [cell.type for cell in sb.heatmap(path).cells]
    assert all(" ".join(grid).split().count(type) >= cells.count(type) for type in cells)


def test_a_file_for_the_picture(deci: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "p.svg"
    assert run(["inspect", str(deci), "--svg", str(picture), "--by", "type"]) == 0
    assert picture.read_text() == sb.heatmap(deci).svg("type") and capsys.readouterr().out == ""
    assert run(["inspect", str(deci), "--svg", str(tmp_path / "no" / "where.svg")]) == 4


@pytest.mark.parametrize("type", [*FORMATS, "Q8_1", "I32", "F64", "NVFP4", "Q1_0"])
def test_every_type_has_a_colour_that_can_be_written_on(type: str) -> None:
    ground = type_colour(type)
    assert re.fullmatch("#[0-9a-f]{6}", ground) and contrast(ground, ink(ground)) >= 4.4


def test_colours_of_bits_are_even_and_readable() -> None:
    grounds = [bits_colour(1 + i / 8) for i in range(300)]
    assert grounds[0] == bits_colour(0.1) and grounds[-1] == bits_colour(1e9)
    assert all(contrast(ground, ink(ground)) >= 4.4 for ground in grounds)
    light = [luminance(ground) for ground in grounds]
    assert light == sorted(light)  # readable in grey, too


def luminance(colour: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    parts = [value / 255 for value in bytes.fromhex(colour[1:])]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)
