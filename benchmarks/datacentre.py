"""Repairs public 5,000-server instances: rules and capacities broken by load or failures.

    python -m benchmarks.datacentre --instance FILE.json.gz [--seconds 25] [--json OUT]

Prints one JSON object. ``violations_before`` and ``violations_after`` count broken hard rules and
capacities; ``violations_during`` those that are new or worse than at the start at some instant of
the schedule. ``sum_end_s`` is the sum over steps of when they end. Seconds count from the start of
the program, reading included; the first feasible plan is greedy's, sequenced and checked.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

from benchmarks.instances.datacentre import MIGRATION, read_datacentre
from service.replay.report import machine
from solver.domain.check import check_placement, check_plan
from solver.domain.cluster import Cluster, Placement
from solver.domain.plan import StepKind
from solver.domain.result import Result
from solver.solve import SolveParams, solve


def main() -> None:
    """Repair one instance and print what it took."""
    begun_s = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instance", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=25.0, help="for all, reading included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    cluster, scenarios = read_datacentre(arguments.instance)
    read_s = time.monotonic() - begun_s
    first = solve(
        cluster, scenarios, SolveParams(engine="greedy", limit_s=10.0, migration=MIGRATION)
    )
    first_s = time.monotonic() - begun_s
    left_s = max(1.0, arguments.seconds - first_s)
    best = solve(
        cluster,
        scenarios,
        SolveParams(limit_s=left_s, seed=arguments.seed, migration=MIGRATION),
    )
    report = {
        "instance": arguments.instance.name,
        "violations_before": _violations(cluster, cluster.placement),
        **_figures(cluster, best),
        "first": _figures(cluster, first),
        "seconds_reading": round(read_s, 2),
        "seconds_first_feasible": round(first_s, 2),
        "seconds_total": round(time.monotonic() - begun_s, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seed": arguments.seed,
        "machine": machine(),
    }
    text = json.dumps(report, indent=1)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


def _figures(cluster: Cluster, result: Result) -> dict[str, Any]:
    plan = result.plan
    during = check_plan(cluster, plan)
    return {
        "violations_after": _violations(cluster, plan.placement_after(cluster.placement)),
        "violations_during": len(during),
        "moves": sum(step.kind is StepKind.MIGRATE for step in plan.steps),
        "starts": sum(step.kind is StepKind.START for step in plan.steps),
        "makespan_s": plan.makespan_ms / 1000,
        "sum_end_s": sum(step.end_ms for step in plan.steps) / 1000,
        "solve_s": round(result.runtime_s, 2),
        "engine": result.engine,
        "total_host_s": result.after.total / 1e9,
    }


def _violations(cluster: Cluster, placement: Placement) -> int:
    return sum(violation.hard for violation in check_placement(cluster, placement))


if __name__ == "__main__":
    main()
