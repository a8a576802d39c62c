"""What int8 activations cost: the Kullback-Leibler divergence from float activations, for every block type.

    python benchmarks/divergence.py MODEL [--types Q4_0,Q4_K,...] [-f FILE] [--positions 512] [--passages 1]
        [--peer-python PYTHON]

MODEL's matrices are decoded and encoded again in each type by libgguf (types that need importances get its default, the
squares of the weights summed by column). A matrix whose rows the type's blocks do not fill takes llama-quantize's next
best; embeddings are Q8_0. `--types as-is` measures the file itself. Then, over the first positions of a text, cut into
passages that each begin anew:

    int8, int8x2   KL(p || q) in nats, p with float activations, q with int8 ones, both subbyte's on that file
    llama.cpp      KL(p || q), p of the same weights stored as F32, q of the file itself, both llama.cpp's

with keys and values in F32 everywhere, as mean and 99th percentile; the ratio of the means has the standard error of
the difference at each position, which knows nothing of what the positions of a passage share. `floats apart` is the
mean KL of the two engines' float roads: how much of a figure may be anything else than activations. Needs libgguf;
llama.cpp's columns need an interpreter (--peer-python) that imports llama_cpp.
"""

import argparse
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from rewritten import rewrite

import subbyte as sb
from subbyte.runtime.types import Activations

Floats = NDArray[np.float32]
Tokens = NDArray[np.int32]
TEXT = Path(__file__).with_name("alice.txt")
TYPES = (
    "F16 BF16 Q8_0 Q6_K Q5_1 Q5_0 Q5_K Q4_1 Q4_0 Q4_K IQ4_NL IQ4_XS MXFP4 Q3_K IQ3_S IQ3_XXS "
    "Q2_K IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S TQ2_0 TQ1_0"
)
# What rows that are no multiple of 256 take instead, as llama-quantize has it.
NEXT_BEST = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "TQ1_0": "Q4_0", "TQ2_0": "Q4_0"}

PEER = """
import sys
import numpy as np
from llama_cpp import Llama
path, tokens, out, threads = *sys.argv[1:4], int(sys.argv[4])
passages = np.load(tokens)
n, f32 = passages.shape[1], 0
m = Llama(path, n_ctx=n, n_batch=512, n_threads=threads, n_threads_batch=threads, logits_all=True, type_k=f32,
          type_v=f32, verbose=False)
logits = []
for tokens in passages.tolist():
    m.reset()
    m.eval(tokens)
    logits.append(m.scores[:n].copy())
np.save(out, np.concatenate(logits))
"""


def type_for(wanted: str, name: str, shape: list[int]) -> str:
    """The type that a matrix of that name and shape (row length first, as in GGUF) takes."""
    if name in ("token_embd.weight", "output.weight") and wanted not in ("F16", "BF16"):
        wanted = "Q8_0"
    block = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[wanted]][0]
    return NEXT_BEST.get(wanted, "IQ4_NL") if shape[0] % block else wanted


def encode(source: Path, target: Path, wanted: str) -> None:
    """Writes source with its matrices in another type: `wanted` where it fits, or F32 for all of them."""
    from libgguf import quantize_rows

    def change(name: str, shape: list[int], rows: Floats) -> tuple[NDArray[np.generic], gguf.GGMLQuantizationType]:
        kind = "F32" if len(shape) < 2 or wanted == "F32" else type_for(wanted, name, shape)
        to = gguf.GGMLQuantizationType[kind]
        return (rows if kind == "F32" else np.ascontiguousarray(quantize_rows(rows, to)).view(np.uint8)), to

    rewrite(source, target, change, {})


def ours(path: Path, passages: Tokens, activations: Activations, threads: int) -> Floats:
    """Logits [n_passages * length, n_vocab] of passages [n_passages, length] over an F32 cache."""
    logits = []
    with sb.load(path, threads=threads) as model, model.session(passages.shape[1], "f32", activations) as session:
        for tokens in passages:
            session.rewind(0)
            logits.append(session.eval(tokens, "all"))
    return np.concatenate(logits)


def theirs(python: str, path: Path, passages: Tokens, threads: int, folder: Path) -> Floats:
    """The same by llama.cpp, in a process of the given interpreter."""
    np.save(folder / "tokens.npy", passages)
    args = [str(path), str(folder / "tokens.npy"), str(folder / "logits.npy"), str(threads)]
    subprocess.run([python, "-c", PEER, *args], check=True, stdout=subprocess.DEVNULL)
    logits: Floats = np.load(folder / "logits.npy")
    return logits


def divergence(p: Floats, q: Floats) -> NDArray[np.float64]:
    """KL(p || q) in nats of each row of logits."""

    def log_softmax(x: Floats) -> NDArray[np.float64]:
        wide = x.astype(np.float64) - x.max()
        shifted: NDArray[np.float64] = wide - np.log(np.exp(wide).sum())
        return shifted

    rows = ((log_softmax(a), log_softmax(b)) for a, b in zip(p, q, strict=True))
    return np.array([(np.exp(a) * (a - b)).sum() for a, b in rows])


def figures(kl: NDArray[np.float64]) -> str:
    return f"{kl.mean():.2e} | {np.quantile(kl, 0.99):.2e}"


def measure(path: Path, passages: Tokens, threads: int, peer: str | None, folder: Path) -> str:
    """The cells of one row of the table."""
    exact = ours(path, passages, "float32", threads)
    cells = [divergence(exact, ours(path, passages, a, threads)) for a in ("int8", "int8x2")]
    row = " | ".join(figures(kl) for kl in cells)
    if peer is None:
        return row
    twin = folder / "twin.gguf"
    encode(path, twin, "F32")
    their_exact = theirs(peer, twin, passages, threads, folder)
    kl = divergence(their_exact, theirs(peer, path, passages, threads, folder))
    chance = (cells[0] - kl).std() / len(kl) ** 0.5 / kl.mean()
    apart = divergence(their_exact, exact).mean()
    return f"{row} | {figures(kl)} | {cells[0].mean() / kl.mean():.2f} ± {chance:.2f} | {apart:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--types", default=TYPES.replace(" ", ","))
    parser.add_argument("-f", "--file", type=Path, default=TEXT)
    parser.add_argument("--positions", type=int, default=512)
    parser.add_argument("--passages", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peer-python")
    a = parser.parse_args()
    text = a.file.read_bytes()
    with sb.load(a.model) as model:
        tokens = model.tokenize(text[: 16 * a.positions].decode(errors="ignore"))[: a.positions]
    passages = np.array(tokens[: len(tokens) // a.passages * a.passages], np.int32).reshape(a.passages, -1)
    size, digest = "{} x {}".format(*passages.shape), hashlib.sha256(text).hexdigest()[:16]
    print(f"{a.model.name}, {size} tokens of {a.file.name} (sha256 {digest})\n")
    peer_heads = ["llama.cpp", "99 %", "int8 / llama.cpp", "floats apart"] if a.peer_python else []
    heads = ["type", "int8", "99 %", "int8x2", "99 %", *peer_heads]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    for kind in a.types.split(","):
        with tempfile.TemporaryDirectory() as folder:
            path = a.model
            if kind != "as-is":
                path = Path(folder) / f"{kind}.gguf"
                encode(a.model, path, kind)
            print(f"| {kind} | {measure(path, passages, a.threads, a.peer_python, Path(folder))} |", flush=True)


if __name__ == "__main__":
    main()
