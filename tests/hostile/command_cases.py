"""Command lines that make no sense: one line that says so and the exit code of its kind, whatever is asked for.

MODEL, TEXT and the other words in capitals are files of a folder; what each holds is in `FILES`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tiny_models import write_model

USAGE, REFUSED, RESOURCE, RUNTIME, DONE = 2, 3, 4, 5, 0

FILES: Mapping[str, Callable[[Path], object]] = {
    "MODEL": write_model,
    "TEXT": lambda path: path.write_text("the thing and another one on the lane " * 50),
    "SHORT": lambda path: path.write_text("the"),
    "EMPTY": lambda path: path.write_bytes(b""),
    "NOISE": lambda path: path.write_bytes(np.random.default_rng(0).bytes(4000)),
    "FOLDER": Path.mkdir,
    "recipe.toml": lambda path: path.write_text('name = "r"\ntype = "Q8_0"\n'),
    "bad.toml": lambda path: path.write_text('type = "Q99"\n'),
    "LATIN": lambda path: path.write_bytes(b"caf\xe9 " * 500),
}
ZERO, FULL = "/dev/zero", "/dev/full"


@dataclass(frozen=True)
class CommandCase:
    number: str
    line: str
    code: int
    says: str = ""
    stdin: str = ""


SAMPLING = (
    ("--temp", "temperature", "nan -1 inf -inf"),
    ("--top-p", "top_p", "5 nan -0.1"),
    ("--top-k", "top_k", "-3"),
    ("--min-p", "min_p", "2 nan"),
    ("--repeat-penalty", "repeat_penalty", "0 nan 1e9"),
    ("--repeat-last-n", "repeat_last_n", "-2"),
    ("--seed", "seed", "-1"),
)
LINES: list[tuple[str, int, str] | tuple[str, int, str, str]] = [
    ("", USAGE, ""),
    ("nonsense", USAGE, "No such command"),
    ("--nonsense", USAGE, "No such option"),
    *[(f"generate MODEL -p x {option}", USAGE, option.split()[0])
      for option in ("-n -5", "-n 0", "-n 1.5", "-n x", "-c 0", "-c -1", "-t 0", "-t -1", "-t 1e9", "--cache-type f8",
                     "--activations int4", "-o yaml", "--top-k 1.5", "--temp hot", "--seed 0x10")],
    *[(f"generate MODEL -p x {option} {value}", USAGE, f"{name} is ")
      for option, name, values in SAMPLING for value in values.split()],
    ("generate MODEL -p x -c 99999999999999", RESOURCE, "context"),
    ("generate MODEL -p x -t 100000", USAGE, "allowed are 1 to 256"),
    ("generate MODEL -p x -n 2 --seed 99999999999999999999", DONE, ""),
    ("generate MODEL -p x --preset nonsense", USAGE, "nonsense"),
    ("generate", USAGE, "MODEL"),
    ("generate MISSING -p x", RESOURCE, "MISSING"),
    ("generate FOLDER -p x", RESOURCE, "FOLDER"),
    ("generate EMPTY -p x", REFUSED, "empty"),
    ("generate NOISE -p x", REFUSED, "not GGUF"),
    (f"generate {ZERO} -p x", REFUSED, "device"),
    ("generate MODEL -f MISSING", RESOURCE, "MISSING"),
    ("generate MODEL -f FOLDER", RESOURCE, "FOLDER"),
    ("generate MODEL -p x -f TEXT", USAGE, ""),
    ("generate MODEL MODEL -p x", USAGE, ""),
    ("generate hf:nobody -p x", RESOURCE, ""),
    ("generate hf:../../etc/passwd -p x", RESOURCE, ""),
    ("perplexity MODEL", USAGE, "-f"),
    ("perplexity MODEL -f MISSING", RESOURCE, "MISSING"),
    ("perplexity MODEL -f FOLDER", RESOURCE, "FOLDER"),
    ("perplexity MODEL -f EMPTY", USAGE, ""),
    ("perplexity MODEL -f SHORT", USAGE, ""),
    ("perplexity MODEL -f NOISE -c 64 --chunks 2", DONE, "PPL"),
    ("perplexity MODEL -f LATIN -c 64 --chunks 2", DONE, "PPL"),
    ("perplexity -f TEXT", USAGE, "MODEL"),
    ("perplexity MODEL -f TEXT -c 1", USAGE, ""),
    ("perplexity MODEL -f TEXT -c -4", USAGE, "-c"),
    ("perplexity MODEL -f TEXT -c 64 --chunks 0", USAGE, "--chunks"),
    ("perplexity MODEL -f TEXT -c 64 --ppl-stride 0", USAGE, ""),
    ("perplexity MODEL -f TEXT -c 64 --ppl-stride 65", USAGE, ""),
    ("perplexity MODEL -f TEXT -c 64 --compat vllm", USAGE, "--compat"),
    ("perplexity MODEL NOISE -f TEXT -c 64", REFUSED, "NOISE"),
    ("perplexity MODEL -f - -c 64", USAGE, ""),
    ("compare MODEL", USAGE, ""),
    ("compare MODEL NOISE -f TEXT", REFUSED, "NOISE"),
    ("compare MODEL MODEL -f EMPTY", USAGE, ""),
    ("compare MODEL MODEL -f TEXT -c 64 --blame nonsense", USAGE, "--blame"),
    ("compare MODEL MODEL -f TEXT -c 64 --save-base FOLDER", USAGE, "FOLDER"),
    ("bench", USAGE, ""),
    ("bench MODEL --synthetic 1b:Q4_K", USAGE, ""),
    ("bench --synthetic nonsense", USAGE, "nonsense"),
    ("bench --synthetic llama-3.2-1b:Q99", USAGE, "Q99"),
    ("bench MODEL -p 0 -n 0", USAGE, ""),
    ("bench MODEL -p -3", USAGE, "tokens of a prompt"),
    ("bench MODEL -r 0", USAGE, "-r"),
    ("inspect", USAGE, ""),
    ("inspect MISSING", RESOURCE, "MISSING"),
    ("inspect MODEL --heatmap --svg FOLDER", USAGE, "FOLDER"),
    ("inspect MODEL --by colour --heatmap", USAGE, "--by"),
    ("diff MODEL", USAGE, ""),
    ("diff MODEL NOISE", REFUSED, "NOISE"),
    ("diff MODEL MODEL", DONE, ""),
    ("quantize MODEL", USAGE, ""),
    ("quantize MODEL out.gguf Q99", USAGE, "Q99"),
    ("quantize MODEL out.gguf bad.toml", REFUSED, "Q99"),
    ("quantize MODEL out.gguf recipe.toml --dry-run", DONE, ""),
    ("quantize MODEL MODEL Q8_0", RESOURCE, "the model itself"),
    ("quantize MODEL FOLDER --target-size 1GB", RESOURCE, "FOLDER"),
    ("quantize NOISE out.gguf Q8_0", REFUSED, "NOISE"),
    ("quantize MODEL out.gguf --target-size nonsense", USAGE, "--target-size"),
    ("quantize MODEL out.gguf Q8_0 --tensor-type nonsense", USAGE, ""),
    ("quantize MODEL out.gguf Q8_0 --imatrix NOISE", REFUSED, "NOISE"),
    ("quantize MODEL out.gguf Q8_0 --imatrix MODEL", REFUSED, "MODEL"),
    ("imatrix MODEL out.gguf", USAGE, "-f"),
    ("imatrix MODEL FOLDER -f TEXT -c 64 --chunks 2", RESOURCE, "FOLDER"),
    ("imatrix MODEL out.gguf -f EMPTY", USAGE, ""),
    ("recipe show nonsense", USAGE, "nonsense"),
    ("recipe show bad.toml", REFUSED, "Q99"),
    ("recipe extract NOISE", REFUSED, "NOISE"),
    ("recipe check MODEL bad.toml", REFUSED, "Q99"),
    ("report MODEL", USAGE, "-f"),
    ("report MODEL -f EMPTY", USAGE, ""),
    ("pull nonsense", RESOURCE, "nonsense"),
    ("pull", USAGE, ""),
    ("chat NOISE", REFUSED, "NOISE", "hello\n"),
    ("chat MODEL --reasoning-budget -1", USAGE, "--reasoning-budget", "hello\n"),
    ("chat MODEL -o csv", USAGE, "-o", "hello\n"),
    ("chat MODEL -c 1", RUNTIME, "context", "hello\n"),
    ("imatrix MODEL ./out.gguf -f TEXT -c 64 --chunks 2 --resume out.gguf", USAGE, "a file of their own"),
    ("imatrix MODEL out.gguf --chat NOISE", USAGE, "line 1: not JSON"),
    ("imatrix MODEL out.gguf -f TEXT -c 64 --chunks 2 --weights 1,nan", USAGE, "weights"),
    ("imatrix-merge NOISE MODEL out.gguf", REFUSED, "NOISE"),
    ("imatrix-stats MODEL", REFUSED, "MODEL"),
    ("split MODEL out", USAGE, "--max-size"),
    ("split NOISE out --max-tensors 3", REFUSED, "NOISE"),
    ("split MODEL MISSING/out --max-tensors 3", RESOURCE, "MISSING"),
    ("merge NOISE out.gguf", REFUSED, "NOISE"),
    ("merge MODEL out.gguf", REFUSED, "is one file already"),
    ("set-metadata MODEL a=u8:256 --out out.gguf", USAGE, "range of u8"),
    ("set-metadata NOISE a=int:1 --in-place", REFUSED, "NOISE"),
    ("set-metadata MODEL a=int:1 --out MODEL --overwrite", RESOURCE, "the model itself"),
    ("recipe import NOISE Q8_0", REFUSED, "NOISE"),
    ("quantize MODEL out.gguf Q8_0 --tensor-type /(a/=Q8_0", USAGE, "no regular expression"),
    ("perplexity MODEL --chat TEXT", USAGE, "line 1"),
    ("perplexity MODEL --chat MISSING", RESOURCE, "MISSING"),
    ("perplexity MODEL --chat EMPTY", USAGE, "no conversation"),
    ("choices MODEL -f TEXT", USAGE, "line 1"),
    ("choices MODEL -f EMPTY", USAGE, "there are none"),
    ("choices NOISE -f TEXT", REFUSED, "NOISE"),
]  # fmt: skip

CASES = [CommandCase(f"X{i:02}", *case) for i, case in enumerate(LINES, 1)]
