"""What each part of the portfolio is worth: the same clusters with one part left out at a time.

Every variant has the same limit and starts from greedy. Its total is that on the same scenarios,
and its fresh total the mean over 256 paths that none has seen, with the interval (95 %) of what the
whole portfolio saves against it there, path by path. One more variant sees, in place of the
scenarios, a single one: their mean.

    python -m benchmarks.ablation --json FILE [--sizes 32/500,100/2000] [--seeds 3] [--seconds 10]
        [--ruled 0.2] [--scenarios 16]

Rows that FILE has already are not made again.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.instances.synthetic import Synthetic, synthetic
from benchmarks.scale import (
    FRESH_DRAW,
    FRESH_PATHS,
    mean_interval,
    path_totals,
    seen_by_engines,
)
from service.files import write_text
from service.replay.report import machine
from solver.compiler.compile import compile_problem
from solver.contention import DEFAULT_STOP_HOST_S
from solver.cpsat.judge import total_of
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.weights import Weights, to_host_s, to_units
from solver.limit import Allowance
from solver.params import Engine
from solver.portfolio import MOST_WHOLE, Found, Search, Share, load
from solver.problem import IntArray, Problem
from solver.search.warm import warm_up

WHOLE: Final = "portfolio"
GREEDY: Final = "greedy"
MEAN: Final = "mean of the scenarios"


class WithoutLocalSearch(Search):
    """CP-SAT has the time for itself."""

    def by_local_search(self, share: Share) -> Found:
        """Leave it out."""
        return Found(share.base)


class WithoutCpsat(Search):
    """The local search has the time for itself."""

    def by_cpsat(self, share: Share) -> Found:
        """Leave it out."""
        return Found(share.base)


class WithoutNeighbourhoods(Search):
    """CP-SAT looks for a proof in every round."""

    def by_neighbourhoods(self, share: Share) -> Found:
        """Look for a proof instead."""
        return self.by_proof(share)


class WithoutProof(Search):
    """CP-SAT decides about some hosts at a time from the first round on."""

    def by_proof(self, share: Share) -> Found:
        """Look at some hosts at a time instead."""
        return self.by_neighbourhoods(share)


VARIANTS: Final[dict[str, type[Search]]] = {
    WHOLE: Search,
    "no local search": WithoutLocalSearch,
    "no CP-SAT": WithoutCpsat,
    "no neighbourhoods": WithoutNeighbourhoods,
    "no proof": WithoutProof,
}


def mean_of(scenarios: ScenarioSet) -> ScenarioSet:
    """Return one scenario, the weighted mean of all."""
    weights = np.array(scenarios.probability_ppm) / PROBABILITY_PPM
    mean = np.rint(np.tensordot(weights, scenarios.demand, axes=1)).astype(np.int64)
    return replace(scenarios, demand=mean[None], probability_ppm=(PROBABILITY_PPM,))


def measure(
    size: tuple[int, int], ruled: float, seed: int, *, seconds: float, num_scenarios: int
) -> list[dict[str, Any]]:
    """Return the rows of one cluster."""
    made = synthetic(num_hosts=size[0], num_vms=size[1], ruled_fraction=ruled, seed=seed)
    scenarios = seen_by_engines(made, num_scenarios, seed)
    problem = compile_problem(made.cluster, scenarios, Weights())
    placements = {GREEDY: _solved(problem, Search, Engine.GREEDY, seconds, seed)}
    for name, search in VARIANTS.items():
        placements[name] = _solved(problem, search, Engine.PORTFOLIO, seconds, seed)
    on_mean = compile_problem(made.cluster, mean_of(scenarios), Weights())
    placements[MEAN] = _solved(on_mean, Search, Engine.PORTFOLIO, seconds, seed)
    fresh = _fresh_totals(made, problem, placements)
    rows = []
    for name, hosts in placements.items():
        low, high = mean_interval(fresh[name] - fresh[WHOLE], seed=seed)
        rows.append(
            {
                "hosts": size[0],
                "vms": size[1],
                "ruled": ruled,
                "seed": seed,
                "scenarios": num_scenarios,
                "limit_s": seconds,
                "variant": name,
                "total_host_s": to_host_s(total_of(problem, hosts)),
                "fresh_host_s": to_host_s(round(fresh[name].mean())),
                "saved_by_portfolio": [to_host_s(round(low)), to_host_s(round(high))],
                "moves": int((hosts != problem.start).sum()),
                "machine": machine(),
            }
        )
    return rows


def _solved(
    problem: Problem, search: type[Search], engine: Engine, seconds: float, seed: int
) -> IntArray:
    warm_up()
    load(Engine.PORTFOLIO, problem.num_hosts)
    answer = search(
        problem, engine, Allowance(seconds), seed, threading.Event(), lambda answer: None
    ).run(to_units(DEFAULT_STOP_HOST_S))
    return answer.hosts


def _fresh_totals(
    made: Synthetic, problem: Problem, placements: dict[str, IntArray]
) -> dict[str, IntArray]:
    fresh = made.futures(FRESH_PATHS, draw=FRESH_DRAW)
    return {
        name: path_totals(made.cluster, fresh, problem.placement(hosts))
        for name, hosts in placements.items()
    }


def print_table(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one line for each variant of each size: means over the seeds."""
    table = Table(title="Host-seconds, means over the seeds")
    for name in ("hosts/VMs", "rules", "paths", "limit s", "variant", "seeds", "total"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    table.add_column("fresh total", justify="right")
    table.add_column("moves", justify="right")
    for key in dict.fromkeys(_kind(row) for row in rows):
        hosts, vms, ruled, paths, limit_s, variant = key
        mine = [row for row in rows if _kind(row) == key]

        def mean(field: str, mine: list[dict[str, Any]] = mine) -> float:
            return float(np.mean([row[field] for row in mine]))

        table.add_row(
            f"{hosts}/{vms}",
            f"{ruled:.0%}",
            str(paths),
            f"{limit_s:g}",
            variant,
            str(len(mine)),
            f"{mean('total_host_s'):,.1f}",
            f"{mean('fresh_host_s'):,.1f}",
            f"{mean('moves'):,.0f}",
        )
    console.print(table)


def _kind(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("hosts", "vms", "ruled", "scenarios", "limit_s", "variant")
    return tuple(row[name] for name in names)


def main() -> None:
    """Measure every cluster that is not in the file yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True, help="rows are added to this file")
    parser.add_argument("--sizes", default="32/500,100/2000", help="hosts/VMs, with commas between")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--ruled", type=float, default=0.2)
    parser.add_argument("--scenarios", type=int, default=16)
    arguments = parser.parse_args()
    path: Path = arguments.json
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for text in arguments.sizes.split(","):
        hosts, vms = (int(number) for number in text.split("/"))
        if hosts > MOST_WHOLE:
            parser.error(
                f"--sizes: expected at most {MOST_WHOLE} hosts, beyond which clusters are "
                f"searched part by part and CP-SAT has no part in it, got {text}"
            )
        for seed in range(arguments.seeds):
            wanted = {
                "hosts": hosts, "vms": vms, "ruled": arguments.ruled, "seed": seed,
                "scenarios": arguments.scenarios, "limit_s": arguments.seconds,
            }  # fmt: skip
            if any(wanted.items() <= row.items() for row in rows):
                continue
            rows += measure(
                (hosts, vms), arguments.ruled, seed,
                seconds=arguments.seconds, num_scenarios=arguments.scenarios,
            )  # fmt: skip
            write_text(path, json.dumps(rows, indent=1) + "\n")
            print(f"{text} seed {seed}: done", file=sys.stderr)
    print_table(rows, Console(width=120))


if __name__ == "__main__":
    main()
