"""Improves one public machine reassignment instance with the search engine, on two cores.

    python -m benchmarks.machine_reassignment --model FILE --initial FILE --out FILE
        [--seconds 300] [--seed 0] [--json FILE]

Seconds count from the start of the interpreter, reading included. Interrupted (Ctrl-C), it writes
the best assignment found so far.

Each of two threads anneals in a manner of its own. Where there is time for more than that, both
threads then anneal anew in the manner that did better, and after that again and again from the best
that is known, less hot.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.instances.machine_reassignment import read_problem, write_assignment
from solver.problem import IntArray, Problem
from solver.search.annealing import improve

HOTTEST: Final = 1.0
"""Initial assignments are bad: what is kept of them is only in the way."""

AGAIN: Final = 0.12
"""First temperature from a good assignment: some of it is to be found again."""


class Manner(NamedTuple):
    """How one thread anneals, see ``improve``."""

    homesick: float
    freezing: float


MANNERS: Final = (Manner(homesick=4.0, freezing=0.4), Manner(homesick=0.0, freezing=0.8))
"""One of each thread: some instances need room for a few large processes and then as few moves as
can be, others many moves, and these well chosen."""

ANNEALING_S_PER_VM: Final = 0.06
"""Seconds for each VM after which annealing again brings more than to anneal more slowly: few large
VMs end in different places each time."""

SEEDS_APART: Final = 1_000_003
"""Between the seeds of one thread's annealings."""

WRITING_S: Final = 0.2
"""Kept for writing the answer and ending."""

GRACE_S: Final = 0.4
"""How long after their limit threads may still be waited for."""


class Best:
    """The best assignment that any thread has found, and what each manner came to."""

    def __init__(self, hosts: IntArray) -> None:
        self.hosts = hosts
        self.total: int | None = None
        self._by_manner: dict[Manner, int] = {}
        self._lock = threading.Lock()

    def offer(self, manner: Manner, hosts: IntArray, total: int) -> None:
        """Keep an assignment if it is better."""
        with self._lock:
            self._by_manner[manner] = min(total, self._by_manner.get(manner, total))
            if self.total is None or total < self.total:
                self.hosts, self.total = hosts.copy(), total

    def manner(self) -> Manner:
        """Return the manner in which the best was found, the first one before anything was."""
        with self._lock:
            return min(self._by_manner, key=self._by_manner.__getitem__, default=MANNERS[0])


def search(problem: Problem, *, limit_s: float, seed: int, cancel: threading.Event) -> Best:
    """Return what threads with seeds of their own find within so many seconds.

    Threads that are late, because Numba still compiles for them, are not waited for.
    """
    deadline_s = time.monotonic() + limit_s
    best = Best(problem.start)
    tried = threading.Barrier(len(MANNERS))

    def run(thread: int) -> None:
        for number, share in enumerate(shares(problem.num_vms, limit_s)):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0.0 or cancel.is_set():
                return
            if number == 1:
                # A thread that is late has little to tell of its manner; the other goes on.
                with suppress(threading.BrokenBarrierError):
                    tried.wait(timeout=GRACE_S)
            manner = best.manner() if number else MANNERS[thread]
            improve(
                problem,
                problem.start if number < 2 else best.hosts,
                limit_s=share * left_s,
                seed=len(MANNERS) * seed + thread + number * SEEDS_APART,
                hottest=HOTTEST if number < 2 else AGAIN,
                homesick=manner.homesick,
                freezing=manner.freezing,
                cancel=cancel.is_set,
                on_better=partial(best.offer, manner),
            )

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(len(MANNERS))]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        left_s = deadline_s + GRACE_S - time.monotonic()
        if left_s <= 0.0 or (cancel.is_set() and best.total is None):
            break
        threads[0].join(timeout=min(left_s, 0.05))
        if not threads[0].is_alive():
            threads[-1].join(timeout=min(left_s, 0.05))
    return best


def shares(num_vms: int, limit_s: float) -> list[float]:
    """Return what each annealing of a thread has of the time that is left when it begins."""
    often = max(1, int(limit_s / (ANNEALING_S_PER_VM * num_vms)))
    return [1.0 / left for left in range(often, 0, -1)]


def since_start_s() -> float:
    """Return the seconds since this process was started, by the system's own account."""
    started_ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Read an instance, search, and write the best assignment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--initial", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    cancel = threading.Event()
    signal.signal(signal.SIGINT, lambda _number, _frame: cancel.set())
    problem = read_problem(arguments.model, arguments.initial)
    read_s = since_start_s()
    best = search(
        problem,
        limit_s=arguments.seconds - read_s - WRITING_S,
        seed=arguments.seed,
        cancel=cancel,
    )
    write_assignment(arguments.out, best.hosts)
    report = {
        "model": arguments.model.name,
        "seed": arguments.seed,
        "seconds": arguments.seconds,
        "total": best.total,
        "moved": int((best.hosts != problem.start).sum()),
        "seconds_reading": round(read_s, 2),
        "seconds_total": round(since_start_s(), 2),
    }
    print(json.dumps(report))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(report) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
    # Not by the interpreter's own end, which waits for threads that still compile.
    sys.stdout.flush()
    os._exit(0)
