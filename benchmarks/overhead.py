"""What a generated token costs outside the kernels, how long processes take to their first token, and peak memory.

    python benchmarks/overhead.py MODEL [--tokens 200] [--rounds 5]

Outside means everything between two tokens but the step in C: Python, sampling, text. Measured greedy and with the
default sampling.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

LOOP = """
import json, resource, sys, time
import subbyte as sb
model = sb.load(sys.argv[1])
shares = {}
for name, temperature in (("greedy", 0.0), ("default sampling", 0.8)):
    session = model.session(1024)
    from subbyte.runtime.generation.generation import complete
    from subbyte.runtime.generation.options import GenerationOptions
    options = GenerationOptions(sb.Sampling(temperature=temperature, seed=1), max_tokens=int(sys.argv[2]))
    answer = complete(session, model.tokenizer, "Once upon a time", options)
    for event in answer:
        if isinstance(event, sb.TextDelta):
            break
    start, before = time.perf_counter(), session.seconds_in_kernels
    answer.run()
    shares[name] = 1 - (session.seconds_in_kernels - before) / (time.perf_counter() - start)
print(json.dumps([shares, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    a = parser.parse_args()
    shares: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {"generate": [], "chat": []}
    peak = 0
    for _ in range(a.rounds):
        for command, times in seconds.items():
            first_token = ["-c", "from subbyte.cli.entry import main; main()", command, a.model, "-n", "1"]
            start = time.perf_counter()
            subprocess.run([sys.executable, *first_token], check=True, input=b"The", stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        loop = [sys.executable, "-c", LOOP, a.model, str(a.tokens)]
        measured, peak = json.loads(subprocess.run(loop, check=True, capture_output=True).stdout)
        for name, share in measured.items():
            shares.setdefault(name, []).append(share)
    for name, values in shares.items():
        spread = f"[{min(values):.1%} .. {max(values):.1%}]"
        print(f"outside the kernels, {name}: {statistics.median(values):.1%} {spread} of a token")
    for command, times in seconds.items():
        spread = f"[{min(times):.2f} .. {max(times):.2f}]"
        print(f"process start to one token, {command}: {statistics.median(times):.2f} s {spread}")
    print(f"peak memory: {peak / 1e6:.0f} MB, of which the file is {os.path.getsize(a.model) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
