"""The same GGUF through subbyte and llama-cpp-python, in turns, and the ratio of their speeds.

    python benchmarks/peers.py MODEL [--prompt 512] [--generate 64] [--threads N] [--rounds 5]

Both run in processes of their own (A B A B …) on the same threads, so a slow minute of the machine hits both alike.
The peer is whatever `llama_cpp` the interpreter named by --peer-python imports; build it for this machine:

    CMAKE_ARGS=-DGGML_NATIVE=ON pip install llama-cpp-python
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

SUBBYTE = """
import json, sys, time
import subbyte as sb
path, prompt, generate, threads = sys.argv[1], *map(int, sys.argv[2:5])
model = sb.load(path, threads=threads)
tokens = [i % 1000 + 1000 for i in range(prompt)]
with model.session(prompt + generate + 1) as s:
    s.eval(tokens); s.rewind(0)
    start = time.perf_counter(); logits = s.eval(tokens); middle = time.perf_counter()
    for _ in range(generate):
        logits = s.eval([int(logits.argmax())])
    end = time.perf_counter()
print(json.dumps([prompt / (middle - start), generate / (end - middle)]))
"""

LLAMA_CPP = """
import json, sys, time
import numpy as np
from llama_cpp import Llama
path, prompt, generate, threads = sys.argv[1], *map(int, sys.argv[2:5])
m = Llama(path, n_ctx=prompt + generate + 1, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)
tokens = [i % 1000 + 1000 for i in range(prompt)]
m.eval(tokens); m.reset(); m._ctx.kv_cache_clear() if hasattr(m._ctx, "kv_cache_clear") else None
start = time.perf_counter(); m.eval(tokens); middle = time.perf_counter()
for _ in range(generate):
    m.eval([int(np.argmax(np.ctypeslib.as_array(m._ctx.get_logits(), shape=(m.n_vocab(),))))])
end = time.perf_counter()
print(json.dumps([prompt / (middle - start), generate / (end - middle)]))
"""


def run(python: str, code: str, args: list[str]) -> tuple[float, float]:
    """(prompt, generation) tokens/s of one process."""
    out = subprocess.run([python, "-c", code, *args], check=True, capture_output=True, text=True).stdout
    prompt, generation = json.loads(out.splitlines()[-1])
    return prompt, generation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable)
    a = parser.parse_args()
    args = [a.model, str(a.prompt), str(a.generate), str(a.threads)]
    ours, theirs = [], []
    for _ in range(a.rounds):
        ours.append(run(sys.executable, SUBBYTE, args))
        theirs.append(run(a.peer_python, LLAMA_CPP, args))
    sizes = f"prompt {a.prompt}, generation {a.generate}, {a.threads} threads, {a.rounds} rounds"
    print(f"{a.model}, {sizes}: median [min .. max]")
    for i, what in enumerate(("prompt", "generation")):
        ratios = [o[i] / t[i] for o, t in zip(ours, theirs, strict=True)]
        mine, peer = statistics.median(o[i] for o in ours), statistics.median(t[i] for t in theirs)
        print(f"{what:10s}  subbyte {mine:7.1f}  llama.cpp {peer:7.1f} tokens/s   "
              f"ratio {statistics.median(ratios):.2f} [{min(ratios):.2f} .. {max(ratios):.2f}]")  # fmt: skip


if __name__ == "__main__":
    main()
