"""llama.cpp's base files, against a reader and a writer of their own, written from llama-perplexity's arithmetic."""

import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import N_VOCAB, write_model

import subbyte as sb
from subbyte.errors import FormatError, ModelNotFound, ResourceError
from subbyte.runtime.compare import base_file
from subbyte.runtime.compare.base_file import BaseFile, base_bytes, encode, is_base_file, write_base

TEXT = bytes(np.random.default_rng(0).integers(97, 123, 2000).tolist())
N_CTX = 33
F = np.float32


def their_row(logits: np.ndarray) -> bytes:
    """One row, as llama-perplexity's log_softmax writes it: step by step in float32."""
    top, low = max(logits), min(logits)
    low = max(low, F(top - F(16)))
    log_sum = F(np.log(sum(float(np.exp(F(x - top))) for x in logits)))
    scale, least = F(F(top - low) / F(65535)), F(F(low - top) - log_sum)
    codes = [0] * len(logits)
    if scale:
        inverse = F(F(1) / scale)
        codes = [int(np.rint(F(inverse * F(x - low)))) if x > low else 0 for x in logits]
    codes += [0] * (len(codes) % 2)
    return struct.pack(f"<2f{len(codes)}H", scale, least, *codes)


def read(path: Path) -> tuple[int, int, np.ndarray, np.ndarray]:
    """n_ctx, n_vocab, tokens [n_chunks, n_ctx] and log-probabilities [rows, n_vocab] of a base file."""
    data = path.read_bytes()
    assert data[:8] == b"_logits_"
    n_ctx, n_vocab, n_chunks = struct.unpack_from("<3i", data, 8)
    tokens = np.frombuffer(data, "<i4", n_ctx * n_chunks, 20).reshape(n_chunks, n_ctx)
    width = 2 * ((n_vocab + 1) // 2) + 4
    rows = np.frombuffer(data, "<u2", offset=20 + tokens.nbytes).reshape(-1, width)
    assert len(rows) == n_chunks * (n_ctx - 1 - n_ctx // 2)
    scale, least = rows[:, :4].copy().view("<f4").T
    return n_ctx, n_vocab, tokens, scale[:, None] * rows[:, 4 : 4 + n_vocab] + least[:, None]


@pytest.fixture(scope="module", params=[0, 1])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[sb.Model]]:
    """Two models of an even and of an odd vocabulary; logits so wide that some are clipped."""
    folder = tmp_path_factory.mktemp("pair")
    opened = []
    for seed in (1, 2):
        path = folder / f"{seed}.gguf"
        weights = write_model(path, seed=1, n_unused=request.param)
        noise = np.random.default_rng(seed).standard_normal(weights["output"].shape).astype(F) / 40
        write_model(path, seed=1, n_unused=request.param, tensors={"output.weight": 3 * weights["output"] + noise})
        opened.append(sb.load(path))
    yield opened
    for model in opened:
        model.close()


@pytest.fixture
def saved(pair: list[sb.Model], tmp_path: Path) -> Path:
    sb.compare(*pair, TEXT, n_ctx=N_CTX, chunks=6, save_base=tmp_path / "base.kld")
    return tmp_path / "base.kld"


@pytest.mark.parametrize("n_vocab", [1, 2, 7, 64])
def test_rows_are_bit_for_bit_llama_cpps(n_vocab: int) -> None:
    rng = np.random.default_rng(n_vocab)
    for spread in (0, 1e-3, 1, 6, 30):
        logits = (spread * rng.standard_normal((20, n_vocab)) + 5).astype(F)
        assert encode(logits) == b"".join(map(their_row, logits))


def test_what_is_written_is_what_the_base_predicts(pair: list[sb.Model], saved: Path) -> None:
    n_ctx, n_vocab, tokens, log_probs = read(saved)
    assert (n_ctx, n_vocab, tokens.shape) == (N_CTX, pair[0].config.n_vocab, (6, N_CTX))
    assert tokens.ravel().tolist() == pair[0].tokenize(TEXT)[: 6 * N_CTX]
    with pair[0].session(N_CTX, activations="int8x2") as session:
        logits = session.eval(tokens[1], "all")[N_CTX // 2 : -1]
    exact = logits - np.logaddexp.reduce(logits.astype(float), axis=1)[:, None]
    of_chunk = log_probs[len(exact) : 2 * len(exact)]
    clipped = exact < exact.max(axis=1, keepdims=True) - 16
    assert clipped.any()
    assert of_chunk[~clipped] == pytest.approx(exact[~clipped], abs=16 / 65535)
    with BaseFile(saved) as base:
        assert np.array_equal(base.tokens, tokens)
        assert np.array_equal(base.log_probs(1, range(3, 9)), of_chunk[3:9])


def test_comparing_with_a_file_is_llama_cpps_arithmetic(pair: list[sb.Model], saved: Path) -> None:
    """Tokens of log p <= -16 have no part in the divergence, and p(t) comes from its code."""
    _, _, tokens, log_p = read(saved)
    with BaseFile(saved) as base:
        run = sb.compare(base, pair[1])
    log_q, wanted = [], []
    for window in tokens:
        with pair[1].session(N_CTX, activations="int8x2") as session:
            logits = session.eval(window, "all")[N_CTX // 2 : -1].astype(float)
        log_q.append(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        wanted += window[N_CTX // 2 + 1 :].tolist()
    log_q = np.concatenate(log_q)
    each, log_p = range(len(wanted)), log_p.astype(float)
    kld = np.where(log_p > -16, np.exp(log_p) * (log_p - log_q), 0).sum(axis=1)
    assert run.per_token[0].kld.ravel() == pytest.approx(kld, rel=1e-3, abs=1e-5)
    assert run.per_token[0].loss_base.ravel() == pytest.approx(-log_p[each, wanted], abs=1e-6)
    assert run.per_token[0].loss.ravel() == pytest.approx(-log_q[each, wanted], abs=1e-4)
    assert run.results[0].kld.value == pytest.approx(kld.mean(), rel=1e-3)
    assert (run.text_sha256, run.n_tokens, run.chunks) == (None, 6 * N_CTX, 6)


def test_a_file_stands_for_its_model(pair: list[sb.Model], saved: Path) -> None:
    model = sb.compare(*pair, TEXT, n_ctx=N_CTX, chunks=6).results[0]
    with BaseFile(saved) as base:
        file = sb.compare(base, pair[1], chunks=6).results[0]
        assert sb.compare(base, pair[1], n_ctx=N_CTX, chunks=2).chunks == 2
    assert file.kld.value == pytest.approx(model.kld.value, rel=1e-3)
    assert file.ppl.value == model.ppl.value and file.same_top == model.same_top
    assert file.ppl_base.value < model.ppl_base.value  # some tokens that came lay below the least code
    assert file.ppl_base.value == pytest.approx(model.ppl_base.value, rel=0.05)


def test_a_chunk_begins_with_bos_where_the_model_wants_it(
    pair: list[sb.Model], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file has the text's own token there; llama-perplexity, too, puts BOS over it."""
    with BaseFile(saved) as base:
        plain = sb.compare(base, pair[1], chunks=1).results[0]
        monkeypatch.setattr(pair[1].tokenizer, "add_bos", True)
        assert sb.compare(base, pair[1], chunks=1).results[0].kld.value != plain.kld.value


def test_only_a_whole_file_appears(pair: list[sb.Model], tmp_path: Path) -> None:
    options = sb.EvalOptions(n_ctx=N_CTX, chunks=3)
    comparing = iter(sb.CompareMeasurement(pair[0], [pair[1]], TEXT, options, save_base=tmp_path / "x.kld"))
    next(comparing)
    (temporary,) = tmp_path.iterdir()
    assert temporary.name.startswith(".x.kld.")
    comparing.close()
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_to(
    pair: list[sb.Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResourceError, match="there is no folder"):
        sb.compare(*pair, TEXT, n_ctx=N_CTX, save_base=tmp_path / "nowhere" / "x.kld")
    full = base_file.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(base_file.shutil, "disk_usage", lambda _: full)
    with pytest.raises(ResourceError, match="0 MB are free"):
        sb.compare(*pair, TEXT, n_ctx=N_CTX, save_base=tmp_path / "x.kld")
    assert not list(tmp_path.iterdir())


def small_file(path: Path, n_ctx: int = 6, n_vocab: int = 3, n_chunks: int = 2) -> bytes:
    tokens = np.arange(n_ctx * n_chunks, dtype=np.int32).reshape(n_chunks, n_ctx) % n_vocab
    with write_base(path, tokens, n_vocab) as write:
        write(np.random.default_rng(0).standard_normal((n_chunks * 2, n_vocab)).astype(F))
    return path.read_bytes()


def changed(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


@pytest.mark.parametrize(
    "at, value",
    [(0, b"_Logits_")] + [(at, struct.pack("<i", n)) for at in (8, 12, 16) for n in (-1, 0, 1, 5, 2**30, 2**31 - 1)],
)
def test_headers_that_do_not_fit_the_file(at: int, value: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(changed(small_file(tmp_path / "x"), at, value))
    with pytest.raises(FormatError, match=r"/x: (does not begin|has \d+ bytes|-?\d+ chunks of)"):
        BaseFile(tmp_path / "x")


def test_a_file_that_is_cut_or_has_more(tmp_path: Path) -> None:
    data = small_file(tmp_path / "x")
    for n in range(len(data)):
        (tmp_path / "x").write_bytes(data[:n])
        with pytest.raises(FormatError):
            BaseFile(tmp_path / "x")
    (tmp_path / "x").write_bytes(data + b"\0")
    with pytest.raises(FormatError, match="its header asks for"):
        BaseFile(tmp_path / "x")


def test_a_file_that_is_cut_while_in_use(tmp_path: Path) -> None:
    data = small_file(tmp_path / "x")
    with BaseFile(tmp_path / "x") as base:
        os.truncate(tmp_path / "x", len(data) - 5)
        with pytest.raises(FormatError, match="cut short while in use"):
            base.log_probs(1, range(2))


def test_a_file_of_too_many_tokens(tmp_path: Path) -> None:
    """A sparse file has the size that its header asks for, without taking the room."""
    n_ctx, n_chunks = 2**20, 257
    (tmp_path / "x").write_bytes(b"_logits_" + struct.pack("<3i", n_ctx, 1, n_chunks))
    os.truncate(tmp_path / "x", base_bytes(n_ctx, 1, n_chunks))
    with pytest.raises(FormatError, match="257 chunks of 1048576 tokens"):
        BaseFile(tmp_path / "x")


@pytest.mark.parametrize("token", [-1, 3, 2**31 - 1])
def test_tokens_that_are_none(token: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(changed(small_file(tmp_path / "x"), 24, struct.pack("<i", token)))
    with pytest.raises(FormatError, match=r"a token id is not in 0\.\.2"):
        BaseFile(tmp_path / "x")


@pytest.mark.parametrize("scale", [-1.0, 1.0, 1e38, float("inf"), float("nan")])
@pytest.mark.parametrize("place", [0, 4])
def test_rows_that_are_no_log_probabilities(scale: float, place: int, tmp_path: Path) -> None:
    if (scale, place) == (-1.0, 4):
        scale = float("-inf")
    start = 20 + 4 * 12
    (tmp_path / "x").write_bytes(changed(small_file(tmp_path / "x"), start + place, struct.pack("<f", scale)))
    with BaseFile(tmp_path / "x") as base, pytest.raises(FormatError, match="chunk 1: these are no log-probabilities"):
        base.log_probs(0, range(2))


@given(st.binary(max_size=200))
def test_no_bytes_do_harm(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        for head in (b"", b"_logits_", b"_logits_" + struct.pack("<3i", 4, 2, 1)):
            path.write_bytes(head + data)
            try:
                with BaseFile(path) as base:
                    assert base.log_probs(0, range(1)).max() <= 1e-3
            except FormatError as error:
                assert str(error).startswith(str(path))


def test_what_is_no_base_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("hello")
    for name in ("pipe", "text", "", "nothing", "a\0b"):
        assert not is_base_file(tmp_path / name)
    small_file(tmp_path / "x")
    assert is_base_file(tmp_path / "x")
    with pytest.raises(ModelNotFound):
        BaseFile(tmp_path / "nothing")
    with pytest.raises(FormatError, match="a pipe, not a regular file"):
        BaseFile(tmp_path / "pipe")


def test_a_file_of_another_model_or_text(pair: list[sb.Model], saved: Path, tmp_path: Path) -> None:
    small_file(tmp_path / "x")
    with BaseFile(tmp_path / "x") as base, pytest.raises(ValueError, match="vocabulary"):
        sb.compare(base, pair[1])
    with BaseFile(saved) as base:
        for change, message in (
            ({"text": TEXT}, "holds the tokens to compare on"),
            ({"n_ctx": 64}, "chunks of 33 tokens, not 64"),
            ({"chunks": 0}, "at least 1"),
            ({"layers": True}, "holds predictions only"),
            ({"save_base": tmp_path / "y"}, "holds predictions only"),
        ):
            with pytest.raises(ValueError, match=message):
                sb.compare(base, pair[1], **change)
    assert N_VOCAB <= pair[0].config.n_vocab <= N_VOCAB + 1
