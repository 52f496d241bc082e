"""Repairs public 5,000-server instances: rules and capacities broken by load or failures.

    python -m benchmarks.datacentre --instance FILE.json.gz [--seconds 20] [--json OUT]
    python -m benchmarks.datacentre --instance FOLDER [--seconds 20] [--json OUT]

One instance gives one JSON object. A folder gives one line of JSON an instance in OUT and a shorter
one on the screen, each solved by a process of its own; instances that OUT holds already are not
solved again.

``violations_before`` and ``violations_after`` count broken hard rules and capacities;
``violations_during`` those that are new or worse than at the start at some instant of the schedule,
all by the independent checker. ``reread`` holds the same three counts by a second judge, which
reads the file by itself and replays the steps in plain Python. ``sum_end_s`` is the sum over steps
of when they end. Seconds count from the start of the program, reading and checking included, the
kernels being compiled already; the first feasible plan is greedy's, judged, sequenced and explained
(the counts of this report are made afterwards).
``cpu_seconds`` are what of it the processors were busy with this program, on a machine that may
have had other things to do.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from solver.domain.cluster import Cluster, Placement
    from solver.domain.plan import Plan
    from solver.domain.result import Result

WARM_UP = "from solver.search.warm import warm_up; warm_up()"
"""Has the kernels compiled and kept, once a version and machine, by a process of its own."""

LEAST_S = 10.0
"""Wall limit that the first plan has in any case; it ends of itself."""


def main() -> None:
    """Repair one instance, or each of a folder, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instance", type=Path, required=True, help="a file, or a folder of them")
    parser.add_argument("--seconds", type=float, default=20.0, help="for all, reading included")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.instance.is_dir():
        _repair_all(arguments.instance, arguments.seconds, arguments.seed, arguments.json)
        return
    subprocess.run([sys.executable, "-c", WARM_UP], check=True)
    report = repair(arguments.instance, arguments.seconds, arguments.seed, begun_s=time.monotonic())
    text = json.dumps(report)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


def repair(path: Path, seconds: float, seed: int, *, begun_s: float) -> dict[str, Any]:
    """Return what it took to repair an instance.

    Parameters
    ----------
    begun_s
        Monotonic clock when the program started: loading the solver counts.
    """
    # A million objects that stay: to walk them again and again took a third of the time.
    gc.disable()
    from benchmarks.instances.datacentre import MIGRATION, read_datacentre
    from service.replay.report import machine
    from solver.params import Engine, SolveParams
    from solver.portfolio import load
    from solver.solve import solve

    cluster, scenarios = read_datacentre(path)
    gc.freeze()
    gc.enable()
    read_s = time.monotonic() - begun_s
    limit_s = max(LEAST_S, seconds - read_s)
    params = SolveParams(limit_s=limit_s, seed=seed, migration=MIGRATION)
    first = solve(cluster, scenarios, replace(params, engine="greedy"))
    first_s, first_cpu_s = time.monotonic() - begun_s, time.process_time()
    first_figures = _figures(cluster, first)
    final, figures = first, first_figures
    load(Engine.PORTFOLIO, len(cluster.hosts))
    left_s = seconds - (time.monotonic() - begun_s)
    if left_s > first.runtime_s:  # Less would not even find the first plan again.
        improved = solve(cluster, scenarios, replace(params, limit_s=left_s))
        if improved.after.total < first.after.total:
            final, figures = improved, _figures(cluster, improved)
    total_s, total_cpu_s = time.monotonic() - begun_s, time.process_time()
    return {
        "instance": path.name,
        "violations_before": _violations(cluster, cluster.placement),
        **figures,
        "first": first_figures,
        "reread": _reread(path, final.plan),
        "seconds_reading": round(read_s, 2),
        "seconds_first_feasible": round(first_s, 2),
        "seconds_total": round(total_s, 2),
        "cpu_seconds_first_feasible": round(first_cpu_s, 2),
        "cpu_seconds_total": round(total_cpu_s, 2),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "seconds": seconds,
        "seed": seed,
        "machine": machine(),
    }


def _repair_all(folder: Path, seconds: float, seed: int, out: Path | None) -> None:
    """Repair every instance of a folder that the report does not hold yet."""
    done: set[str] = set()
    if out is not None and out.exists():
        done = {json.loads(line)["instance"] for line in out.read_text("utf-8").splitlines()}
    for path in sorted(folder.glob("*.json.gz")):
        if path.name in done:
            continue
        command = [sys.executable, "-m", "benchmarks.datacentre", "--instance", str(path)]
        command += ["--seconds", str(seconds), "--seed", str(seed)]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(_told(json.loads(line)), flush=True)
        if out is not None:
            with out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def _told(report: dict[str, Any]) -> str:
    """Return the report as one line."""
    return (
        f"{report['instance']:<20} violations {report['violations_before']:>5} before, "
        f"{report['violations_after']} after, {report['violations_during']} during; "
        f"moves {report['moves']:>4}, starts {report['starts']:>4}, makespan "
        f"{report['makespan_s']:>4} s, sum of ends {report['sum_end_s']:>7} s; first plan after "
        f"{report['seconds_first_feasible']:>5} s (CPU {report['cpu_seconds_first_feasible']:>5} "
        f"s), all after {report['seconds_total']:>5} s (CPU {report['cpu_seconds_total']:>5} s); "
        f"{report['peak_memory_mib']} MiB"
    )


def _figures(cluster: Cluster, result: Result) -> dict[str, Any]:
    from solver.domain.check import check_plan
    from solver.domain.plan import StepKind
    from solver.domain.weights import to_host_s

    plan = result.plan
    return {
        "violations_after": _violations(cluster, plan.placement_after(cluster.placement)),
        "violations_during": len(check_plan(cluster, plan)),
        "moves": sum(step.kind is StepKind.MIGRATE for step in plan.steps),
        "starts": sum(step.kind is StepKind.START for step in plan.steps),
        "makespan_s": plan.makespan_ms / 1000,
        "sum_end_s": sum(step.end_ms for step in plan.steps) / 1000,
        "solve_s": round(result.runtime_s, 2),
        "engine": result.engine,
        "failures": list(result.failures),
        "total_host_s": to_host_s(result.after.total),
    }


def _violations(cluster: Cluster, placement: Placement) -> int:
    from solver.domain.check import check_placement

    return sum(violation.hard for violation in check_placement(cluster, placement))


def _reread(path: Path, plan: Plan) -> dict[str, int]:
    """Return the counts of the second judge."""
    from benchmarks.instances.datacentre_judge import Judge, TimedStep

    def number(name: str) -> int:
        return int(name.lstrip("vmnode"))

    verdict = Judge(path).judge(
        [
            TimedStep(
                vm=number(step.vm_id),
                source=None if step.source_id is None else number(step.source_id),
                destination=number(step.destination_id),
                start_ms=step.start_ms,
                end_ms=step.end_ms,
            )
            for step in plan.steps
        ]
    )
    return {
        "violations_before": verdict.before,
        "violations_after": verdict.after,
        "violations_during": len(verdict.during),
    }


if __name__ == "__main__":
    main()
