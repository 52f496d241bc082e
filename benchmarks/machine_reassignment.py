"""Improves one public machine reassignment instance with the search engine, on two cores.

    python -m benchmarks.machine_reassignment --model FILE --initial FILE --out FILE
        [--seconds 300] [--seed 0] [--json FILE]

Seconds count from the start of the interpreter, reading included. Interrupted (Ctrl-C), it writes
the best assignment found so far.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.instances.machine_reassignment import read_problem, write_assignment
from solver.problem import IntArray, Problem
from solver.search.annealing import improve

HOTTEST: Final = 1.0
"""Initial assignments are bad: what is kept of them is only in the way."""


class Manner(NamedTuple):
    """How one thread anneals, see ``improve``."""

    homesick: float
    freezing: float


MANNERS: Final = (Manner(homesick=4.0, freezing=0.4), Manner(homesick=0.0, freezing=0.8))
"""One of each thread: some instances need room for a few large processes and then as few moves as
can be, others many moves, and these well chosen."""

WRITING_S: Final = 0.2
"""Kept for writing the answer and ending."""

GRACE_S: Final = 0.4
"""How long after their limit threads may still be waited for."""


class Best:
    """The best assignment that any thread has found."""

    def __init__(self, hosts: IntArray) -> None:
        self.hosts = hosts
        self.total: int | None = None
        self._lock = threading.Lock()

    def offer(self, hosts: IntArray, total: int) -> None:
        """Keep an assignment if it is better."""
        with self._lock:
            if self.total is None or total < self.total:
                self.hosts, self.total = hosts.copy(), total


def search(problem: Problem, *, limit_s: float, seed: int, cancel: threading.Event) -> Best:
    """Return what threads with seeds of their own find within so many seconds.

    Threads that are late, because Numba still compiles for them, are not waited for.
    """
    deadline_s = time.monotonic() + limit_s
    best = Best(problem.start)

    def run(thread: int, manner: Manner) -> None:
        improve(
            problem,
            problem.start,
            limit_s=deadline_s - time.monotonic(),
            seed=len(MANNERS) * seed + thread,
            hottest=HOTTEST,
            homesick=manner.homesick,
            freezing=manner.freezing,
            cancel=cancel.is_set,
            on_better=best.offer,
        )

    threads = [
        threading.Thread(target=run, args=(i, manner), daemon=True)
        for i, manner in enumerate(MANNERS)
    ]
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
