"""Peak memory of perplexity, beside the file, the KV cache, and what the logits of a chunk would take.

    python benchmarks/memory.py MODEL -c 8192
    python benchmarks/memory.py --synthetic qwen3-14b:Q4_K:2 -c 32768

One chunk of a text without meaning, measured in a process of its own (Linux's VmHWM). "Beside" is what is left of the
peak without the cache and the pages of the mapped file that were read; of the embeddings that may be few.
"""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from subbyte.runtime.store.resolve import resolve
from subbyte.runtime.synthetic.write import parse, temporary

FIGURES = ("peak", "mapped", "file", "cache", "logits")
CHILD = """
import json, re, sys
from pathlib import Path
import subbyte as sb
path, n_ctx, words = sys.argv[1], int(sys.argv[2]), "to be or not to be, that is the question; "
with sb.load(path) as model:
    text = words * (2 * n_ctx // (len(model.tokenize(words * 8)) // 8 - 1) + 1)
    result = sb.perplexity(model, text, n_ctx=n_ctx, chunks=1)
    status, maps = Path("/proc/self/status").read_text(), Path("/proc/self/smaps").read_text()
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]
    mapped = re.findall(rf" {re.escape(str(model.path))}\\n(?:.*\\n)*?Rss:\\s+(\\d+) kB", maps)
    facts = {"peak": 1024 * int(peak), "mapped": 1024 * sum(map(int, mapped)), "file": model.gguf.size,
             "cache": model.plan.cache_bytes(n_ctx, "f16"), "logits": 4 * n_ctx * model.config.n_vocab,
             "n_scored": result.n_scored, "seconds": result.seconds}
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Memory:
    """In bytes: of the process at its peak, of the file's pages that were read, of the whole file, of the KV cache, of
    logits for a whole chunk as float32.
    """

    peak: int
    mapped: int
    file: int
    cache: int
    logits: int
    n_scored: int
    seconds: float

    @property
    def beside(self) -> int:
        """What the peak has beside the cache and what was read of the file."""
        return self.peak - self.mapped - self.cache


def measure(path: Path, n_ctx: int) -> Memory:
    """Runs perplexity over one chunk of n_ctx tokens. Raises CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path), str(n_ctx)], check=True, stdout=subprocess.PIPE, text=True
    )
    return Memory(**json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("model", nargs="?")
    which.add_argument("--synthetic")
    parser.add_argument("-c", "--ctx-size", dest="n_ctx", type=int, default=8192)
    a = parser.parse_args()
    with ExitStack() as stack:
        path = stack.enter_context(temporary(parse(a.synthetic))) if a.synthetic else resolve(a.model)
        found = measure(path, a.n_ctx)
    mb = {name: f"{getattr(found, name) / 1e6:.0f} MB" for name in (*FIGURES, "beside")}
    print(f"{a.synthetic or a.model}, n_ctx {a.n_ctx}, {found.n_scored} tokens scored in {found.seconds:.1f} s")
    file = f"{mb['mapped']} of the file's {mb['file']}"
    print(f"peak {mb['peak']} = {file} + KV cache {mb['cache']} + {mb['beside']} beside")
    print(f"logits of all tokens of a chunk would take {mb['logits']}")


if __name__ == "__main__":
    main()
