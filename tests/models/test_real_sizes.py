"""Models with the real ones' vocabularies and widths: loaded in time, and run within file, KV cache and 150 MB."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from paths import ROOT

import subbyte as sb
from subbyte.runtime.synthetic import write as synthetic
from subbyte.runtime.synthetic.shapes import LayerShape
from subbyte.runtime.synthetic.spec import cut
from subbyte.runtime.synthetic.write import SHAPES, Synthetic, write

pytestmark = pytest.mark.slow

BENCHMARKS = ROOT / "benchmarks"

# A generation, a chat and a perplexity, each with a context of 256; prints what the process took in memory.
RUN = """
import json, sys
from pathlib import Path
import subbyte as sb
from engines.sizes_engine import peak_memory, resident
path = Path(sys.argv[1])
model = sb.load(path, threads=2)
with model.session(256) as session:
    session.eval(range(255))
    logits = session.eval([255])
with model.chat(n_ctx=256, max_tokens=4) as chat:
    n_answer = chat.send("abcd " * 20).usage.completion
ppl = sb.perplexity(model, "abcd efgh " * 200, n_ctx=256, chunks=1).ppl
print(json.dumps({"spread": float(logits.std()), "answer": n_answer, "ppl": ppl, "peak": peak_memory(),
                  "mapped": resident(path), "file": path.stat().st_size, "cache": model.plan.cache_bytes(256, "f16")}))
"""


@pytest.mark.parametrize(
    "name, mix, n_layer",
    [("exaone-7.8b", "card-q4_k", 2), ("llama-3-8b", "card-iq3_m", 2), ("qwen3-14b", "card-iq3_xs", 2),
     ("nemotron-49b", "IQ1_S-mix", 3), ("qwen3-30b-a3b", "Q4_K_M", 2), ("gpt-oss-20b", "MXFP4_MOE", 1)],
)  # fmt: skip
def test_a_few_real_layers_run_within_file_and_cache_and_150_mb(
    name: str, mix: str, n_layer: int, tmp_path: Path
) -> None:
    """A third of Nemotron's layers here have no attention. Fewer tokens than the real ones', to spare the disk."""
    whole = SHAPES[name]
    shape = replace(cut(whole, n_layer), vocabulary=whole.vocabulary._replace(n_tokens=8192, n_merges=8192))
    path = tmp_path / "m.gguf"
    write(Synthetic(shape, mix), path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(path)], env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
            check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    finally:
        path.unlink()
    found = json.loads(done.stdout)
    assert 0.5 < found["spread"] < 2 and found["answer"] == 4 and found["ppl"] > 1
    assert found["peak"] <= found["file"] + found["cache"] + 150e6
    assert found["peak"] - found["mapped"] <= found["cache"] + 150e6, "however little of the file was read"
    assert found["mapped"] > 0.8 * (found["file"] - 2 * 8192 * shape.n_embd)


@pytest.mark.parametrize("name", [
    "exaone-7.8b", "llama-3-8b", "qwen3-14b", "nemotron-49b", "qwen3-30b-a3b", "gpt-oss-20b",
])  # fmt: skip
def test_as_many_tokens_merges_and_layers_as_the_real_one_load_in_seconds(name: str, tmp_path: Path) -> None:
    whole = SHAPES[name]
    layers = tuple(
        LayerShape(4, 1, 0, layer.experts._replace(n_ff=32)) if layer.experts
        else LayerShape(4, 1, 256) if layer.n_head else LayerShape(0, 0, 256)
        for layer in whole.layers
    )  # fmt: skip
    write(Synthetic(replace(whole, layers=layers, n_embd=256, head_dim=64), "Q4_0"), tmp_path / "m.gguf")
    begin = time.process_time()
    with sb.load(tmp_path / "m.gguf") as model, model.session(4096) as session:
        assert time.process_time() - begin < 5  # 0.5 to 1.5 s on an idle machine
        assert session.eval(model.tokenize("abcd efgh")).shape == (whole.vocabulary.n_tokens,)


# Load, a prompt and a few tokens with a context of 4096; prints what that took.
RUN_WHOLE = """
import json, sys, time
from pathlib import Path
import subbyte as sb
from engines.sizes_engine import peak_memory, resident
path = Path(sys.argv[1])
begin = time.process_time()
with sb.load(path, threads=2) as model, model.session(4096) as session:
    load = time.process_time() - begin
    for size in (64, 1, 1):
        session.eval(range(size))
    print(json.dumps({"load": load, "peak": peak_memory(), "mapped": resident(path), "file": path.stat().st_size,
                      "cache": model.plan.cache_bytes(4096, "f16")}))
"""


def leave_hole(file: BinaryIO, pool: memoryview, n_bytes: int, start: int) -> None:
    """Zeros that take no room on the disk."""
    file.flush()
    file.truncate(file.tell() + n_bytes)
    file.seek(0, os.SEEK_END)


@pytest.mark.parametrize("name, mix", [("qwen3-30b-a3b", "Q4_K"), ("gpt-oss-20b", "MXFP4_MOE")])
def test_a_whole_mixture_loads_in_time_and_runs_within_file_and_cache_and_150_mb(
    name: str, mix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All weights are zero, so that all tokens go to the same experts: no more of the file is read."""
    monkeypatch.setattr(synthetic, "_check_space", lambda model, path: None)
    monkeypatch.setattr(synthetic, "_write_cycled", leave_hole)
    path = tmp_path / "m.gguf"
    write(Synthetic(SHAPES[name], mix), path)
    assert path.stat().st_size > 10e9 > 100 * 512 * path.stat().st_blocks
    done = subprocess.run(
        [sys.executable, "-c", RUN_WHOLE, str(path)], env={**os.environ, "PYTHONPATH": str(BENCHMARKS)},
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["load"] < 2
    assert found["peak"] <= found["file"] + found["cache"] + 150e6
    assert found["peak"] - found["mapped"] <= found["cache"] + 150e6, "however little of the file was read"
