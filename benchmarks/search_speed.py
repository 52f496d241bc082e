"""Microseconds that the local search takes for a proposal, by hosts, VMs and scenarios.

Each row is one synthetic cluster, from greedy's placement on: processor time of relief, of
annealing among all VMs (medians of five runs of so many proposals, what they prepare included) and
of exchanges in eight looks at the costliest host, and what each is charged as work. Kernels are
compiled before.

    python -m benchmarks.search_speed [--proposals 200000] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.instances.synthetic import synthetic
from service.replay.report import machine
from solver.compiler.compile import compile_problem
from solver.contention import DEFAULT_STOP_HOST_S
from solver.domain.weights import Weights, to_units
from solver.problem import IntArray, Problem
from solver.search import annealing, exchange, relief
from solver.search.effort import Effort
from solver.search.greedy import descend, greedy
from solver.search.state import State
from solver.search.warm import warm_up

SHAPES: Final = ((8, 100, 256), (24, 831, 16), (24, 831, 128), (100, 2000, 16), (100, 2000, 64))
"""Hosts, VMs and scenarios."""

REPEATS: Final = 5
LOOKS: Final = 8
NO_WALL_LIMIT_S: Final = 3600.0
MICROSECONDS: Final = 1e6


def measure(num_hosts: int, num_vms: int, num_scenarios: int, proposals: int) -> dict[str, Any]:
    """Return the figures of one cluster."""
    made = synthetic(num_hosts=num_hosts, num_vms=num_vms)
    problem = compile_problem(made.cluster, made.futures(num_scenarios), Weights())
    hosts = greedy(problem, problem.start, threshold=to_units(DEFAULT_STOP_HOST_S))

    def annealed(search: Callable[..., IntArray], effort: Effort) -> float:
        work_limit = proposals * effort.of(problem)
        seconds = []
        for seed in range(REPEATS):
            begun_s = time.process_time()
            search(problem, hosts, limit_s=NO_WALL_LIMIT_S, work_limit=work_limit, seed=seed)
            seconds.append(time.process_time() - begun_s)
        return MICROSECONDS * statistics.median(seconds) / proposals

    return {
        "hosts": num_hosts,
        "vms": num_vms,
        "scenarios": num_scenarios,
        "columns": problem.future.demand.shape[1],
        "relief_us": annealed(relief.relieve, relief.EFFORT),
        "relief_charged_us": MICROSECONDS * relief.EFFORT.of(problem),
        "annealing_us": annealed(annealing.improve, annealing.EFFORT),
        "annealing_charged_us": MICROSECONDS * annealing.EFFORT.of(problem),
        "exchange_us": _exchanges(problem, hosts),
        "exchange_charged_us": MICROSECONDS * exchange.EFFORT.of(problem),
    }


def _exchanges(problem: Problem, hosts: IntArray) -> float:
    """Return microseconds for an exchange looked at."""
    return statistics.median(_looks(problem, hosts) for _ in range(REPEATS))


def _looks(problem: Problem, hosts: IntArray) -> float:
    """Return the same of some looks at the costliest host."""
    state, work = State(problem, hosts), list[float]()
    descend(state)
    begun_s = time.process_time()
    exchange.improve_by_exchange(state, out_of_time=lambda: len(work) >= LOOKS, spend=work.append)
    seconds = time.process_time() - begun_s
    return MICROSECONDS * seconds / max(1.0, sum(work) / exchange.EFFORT.of(problem))


def main() -> None:
    """Measure all shapes, print a table, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--proposals", type=int, default=200_000)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    warm_up()
    rows = [measure(*shape, arguments.proposals) for shape in SHAPES]
    table = Table(
        "hosts", "VMs", "scenarios", "relief", "annealing", "exchange", title="µs (charged)"
    )
    for row in rows:
        table.add_row(
            *(str(row[key]) for key in ("hosts", "vms", "scenarios")),
            *(
                f"{row[f'{name}_us']:.2f} ({row[f'{name}_charged_us']:.2f})"
                for name in ("relief", "annealing", "exchange")
            ),
        )
    Console().print(table)
    if arguments.json is not None:
        document = {"machine": machine(), "proposals": arguments.proposals, "rows": rows}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
