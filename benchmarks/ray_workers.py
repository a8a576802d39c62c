"""Workers of Ray that are killed while they measure, and what actors share of the model's file.

    python benchmarks/ray_workers.py smollm2 -f docs/library.md --chunks 32 --kills 5

First the perplexity of one process, then that of workers of one CPU each, one of which is killed (SIGKILL) every few
seconds: figures and interval must be the same. Then one actor and two embed the text: of the bytes that are resident of
the mapped file (RSS), how many an actor accounts for when shared pages are divided among those who have them (PSS).
"""

import argparse
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import subbyte as sb
from subbyte.runtime.store.resolve import resolve

SECONDS = (1.0, 4.0)  # between two kills
WORKERS = ("ray::_compute", "ray::IDLE")  # as processes are named while they compute, and while they wait


def worker_pids(names_of_tasks: tuple[str, ...]) -> list[int]:
    """The processes of Ray that this program started and whose task has such a name."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (folder / "stat").read_text(), (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(stat.rpartition(") ")[2].split()[1])
        names[int(folder.name)] = line.decode("utf-8", "replace")

    def is_ours(pid: int) -> bool:
        return pid == os.getpid() or (pid in parents and is_ours(parents[pid]))

    return [pid for pid, own in names.items() if own.startswith(names_of_tasks) and is_ours(pid)]


def kill_one(choose: random.Random, names_of_tasks: tuple[str, ...] = WORKERS) -> bool:
    """Kills one of these processes; False if there is none."""
    pids = worker_pids(names_of_tasks)
    if not pids:
        return False
    try:
        os.kill(choose.choice(pids), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def kills(n: int, seed: int) -> Iterator[list[float]]:
    """Within, workers that compute are killed, n in all; gives the times at which it was done."""
    done: list[float] = []
    end, choose = threading.Event(), random.Random(seed)

    def run() -> None:
        while len(done) < n and not end.wait(choose.uniform(*SECONDS)):
            if kill_one(choose, WORKERS[:1]):
                done.append(time.time())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        end.set()
        thread.join()


def mapped(pid: int, path: Path) -> tuple[int, int]:
    """Bytes of a mapped file that are resident in a process, and its share of them."""
    maps = Path(f"/proc/{pid}/smaps").read_text()
    found = re.findall(rf" {re.escape(str(path))}\n(?:\w+:.*\n)*?Rss:\s+(\d+) kB\nPss:\s+(\d+) kB", maps)
    return sum(1024 * int(rss) for rss, _ in found), sum(1024 * int(pss) for _, pss in found)


def shares(path: Path, texts: Sequence[str], n_actors: int) -> list[tuple[int, int]]:
    """Of each of so many actors, all of which have embedded the texts: bytes as `mapped` gives them."""
    import ray

    class Actor:
        def __init__(self) -> None:
            self.embed = sb.EmbedRows(path)

        def run(self) -> int:
            self.embed({"text": list(texts)})
            return os.getpid()

    actors: list[Any] = [ray.remote(num_cpus=1)(Actor).remote() for _ in range(n_actors)]
    pids = ray.get([actor.run.remote() for actor in actors])
    return [mapped(pid, path) for pid in pids]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-f", "--file", type=Path, required=True)
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    path, text = resolve(a.model).absolute(), a.file.read_bytes()
    alone = sb.perplexity(path, text, chunks=a.chunks)
    print(f"one process: {alone.ppl!r} ± {alone.error!r}, {alone.interval}, {alone.seconds:.1f} s")
    with sb.RayWorkers(threads=1) as workers:
        with kills(a.kills, a.seed) as killed:
            apart = sb.perplexity(path, text, chunks=a.chunks, workers=workers)
        print(f"{workers.n_workers} workers, {len(killed)} killed: {apart.ppl!r} ± {apart.error!r}, {apart.interval},"
              f" {apart.seconds:.1f} s")  # fmt: skip
        same = (alone.ppl, alone.error, alone.interval, alone.running) == (
            apart.ppl, apart.error, apart.interval, apart.running
        )  # fmt: skip
        print("the same digits" if same else "OTHER DIGITS")
    words = text.decode("utf-8", "replace")[:2000].split("\n\n")
    with sb.RayWorkers(threads=1):  # anew: the workers have mapped the file, too
        for n in (1, 2):
            found = shares(path, words, n)
            each = "; ".join(f"{pss / 1e6:.1f} of {rss / 1e6:.1f} MB" for rss, pss in found)
            print(f"{n} actors: share of the mapped file {each}; together {sum(pss for _, pss in found) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
