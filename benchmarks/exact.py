"""CP-SAT alone, cold: which synthetic clusters it proves optimal, how near it comes on others.

    python -m benchmarks.exact --json OUT [--sizes 8/80,32/500,100/2000] [--seeds 20]
        [--limits 5,60,60] [--fill 0.7] [--workers 1] [--clock processor] [--naive | --ablation]

K = 16 scenarios of 4 steps, four resources, five priority bands. Each row starts from the cluster
alone: greedy and a descent from what prices say are part of what is timed, compiling is not.
Limits are processor seconds of the whole process, so that other work on the machine does not
count: with one worker what one idle core does in that time; more workers share the same seconds.
With ``--clock wall`` they are seconds of the wall, for machines that do nothing else.
Rows that OUT holds already are not made again, so that a run may be interrupted. ``--ablation``
leaves out one part of the engine at a time, on the first seeds. ``--naive`` solves the same
clusters with what anyone would write first, one joint model of CPU alone without bands: it says
how hard the clusters are.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.instances.synthetic import synthetic
from service.replay.report import machine
from solver.compiler.compile import compile_problem
from solver.cpsat.exact import Proof, Prover
from solver.cpsat.joint import optimise_jointly
from solver.cpsat.variables import Scope
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.units import Resource
from solver.domain.weights import Weights, to_host_s
from solver.problem import IntArray, Problem
from solver.search.greedy import greedy
from solver.search.warm import warm_up


class WithoutRounding(Prover):
    """No placement from rounded shares, and so no descent from it."""

    def round(self) -> None:
        """Leave it out."""


class WithoutAssembly(Prover):
    """Patterns are not put together to placements."""

    def assemble(self) -> None:
        """Leave it out."""


class WithoutGuess(Prover):
    """No joint model of the places that the prices' patterns use."""

    def guess(self) -> None:
        """Leave it out."""


class WithoutReduction(Prover):
    """Nothing is ruled out by bounds; the joint model at the end is the whole one."""

    def narrow(self) -> int:
        """Leave it out."""
        return int((self.parts.allowed.sum(axis=1) - 1)[self.parts.movable].sum())


PROVERS: Final = {
    "all parts": Prover,
    "no rounding": WithoutRounding,
    "no assembly": WithoutAssembly,
    "no guess": WithoutGuess,
    "no reduction": WithoutReduction,
}
NO_WALL_LIMIT_S: Final = 3_600.0

NO_HOST_BOUNDS: Final = "no host bounds"
NO_HOST_BOUNDS_ALL_COLUMNS: Final = "no host bounds, all columns"
NO_HOST_BOUNDS_NO_HINT: Final = "no host bounds, no hint"
NAIVE: Final = "naive: CPU alone, one band"

CLOCKS: Final = {"processor": time.process_time, "wall": time.monotonic}
ABLATION: Final = (*PROVERS, NO_HOST_BOUNDS, NO_HOST_BOUNDS_ALL_COLUMNS, NO_HOST_BOUNDS_NO_HINT)


def run(problem: Problem, variant: str, *, limit_s: float, workers: int, clock: str) -> Proof:
    """Return what a variant of the engine proves, starting from the cluster alone."""
    now_s = CLOCKS[clock]
    begun_s = now_s()

    def over() -> bool:
        return now_s() - begun_s > limit_s

    cold = variant in (NO_HOST_BOUNDS_NO_HINT, NAIVE)
    first = problem.start if cold else greedy(problem, problem.start)
    if variant in PROVERS:
        prover = PROVERS[variant](
            problem,
            first,
            limit_s=NO_WALL_LIMIT_S,
            polish=lambda hosts, work_limit: (greedy(problem, hosts), 0.0),
            cancel=over,
        )
        return prover.run(workers)
    lazily = variant not in (NO_HOST_BOUNDS_ALL_COLUMNS, NAIVE)
    return _jointly(problem, first, over, lazily=lazily)


def _jointly(problem: Problem, first: IntArray, over: Callable[[], bool], *, lazily: bool) -> Proof:
    """Return what the joint model of everything proves by itself."""
    scope = Scope.everything(problem, first)
    none = np.zeros(problem.future.prices.shape, dtype=np.bool_)
    answer = optimise_jointly(
        problem,
        scope,
        none if lazily else problem.future.prices > 0,
        limit_s=NO_WALL_LIMIT_S,
        work_limit=math.inf,
        seed=0,
        cancel=over,
    )
    bound = 0 if answer.bound is None else answer.bound
    return Proof(hosts=answer.hosts, total=answer.total, bound=bound, work=answer.work)


def _cpu_alone(cluster: Cluster, scenarios: ScenarioSet) -> tuple[Cluster, ScenarioSet]:
    """Return a cluster whose VMs are of one priority, and scenarios in which they need CPU only."""
    demand = np.zeros_like(scenarios.demand)
    demand[:, :, Resource.CPU] = scenarios.demand[:, :, Resource.CPU]
    vms = tuple(replace(vm, priority=cluster.vms[0].priority) for vm in cluster.vms)
    return replace(cluster, vms=vms), replace(scenarios, demand=demand)


def measure(
    size: tuple[int, int],
    seed: int,
    variant: str,
    *,
    fill: float,
    limit_s: float,
    workers: int,
    clock: str,
) -> dict[str, Any]:
    """Return one row."""
    instance = synthetic(num_hosts=size[0], num_vms=size[1], fill=fill, seed=seed)
    cluster, scenarios = instance.cluster, instance.futures()
    if variant == NAIVE:
        cluster, scenarios = _cpu_alone(cluster, scenarios)
    problem = compile_problem(cluster, scenarios, Weights())
    warm_up()
    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    proof = run(problem, variant, limit_s=limit_s, workers=workers, clock=clock)
    return {
        "hosts": size[0],
        "vms": size[1],
        "fill": fill,
        "seed": seed,
        "variant": variant,
        "limit_s": limit_s,
        "workers": workers,
        "clock": clock,
        "total_host_s": to_host_s(proof.total),
        "bound_host_s": to_host_s(proof.bound),
        "gap_percent": round(100 * (proof.total - proof.bound) / max(1, proof.total), 3),
        "proven": proof.bound == proof.total,
        "wall_s": round(time.monotonic() - begun_s, 2),
        "cpu_s": round(time.process_time() - begun_cpu_s, 2),
        "work": round(proof.work, 2),
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """Return a table of what was proven, one line for each size, setting and variant."""
    lines = [
        "size        fill  limit  cores clock      variant"
        "                       seeds proven  gap % (median, worst)"
    ]

    def kind(row: dict[str, Any]) -> tuple[Any, ...]:
        names = ("hosts", "vms", "fill", "limit_s", "workers", "clock", "variant")
        return tuple(row.get(name, "processor") for name in names)

    for key in dict.fromkeys(kind(row) for row in rows):
        hosts, vms, fill, limit_s, workers, clock, variant = key
        mine = [row for row in rows if kind(row) == key]
        gaps = [row["gap_percent"] for row in mine]
        lines.append(
            f"{hosts:>4}/{vms:<6} {fill:<5} {limit_s:<6g} {workers:<5} {clock:<10} {variant:<29}"
            f"{len(mine):>6} {sum(r['proven'] for r in mine):>6}"
            f"  {statistics.median(gaps):.2f} {max(gaps):.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the rows that are missing, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sizes", default="8/80,32/500,100/2000")
    parser.add_argument("--limits", default="5,60,60", help="processor seconds for each size")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--fill", type=float, default=0.7)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="processor")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--ablation", action="store_true", help="leave out one part at a time")
    what.add_argument("--naive", action="store_true", help="one joint model of CPU alone")
    arguments = parser.parse_args()
    path: Path = arguments.json
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    variants = ABLATION if arguments.ablation else (NAIVE,) if arguments.naive else ("all parts",)
    where = machine()
    limits = [float(text) for text in arguments.limits.split(",")]
    for text, limit_s in zip(arguments.sizes.split(","), limits, strict=True):
        hosts, vms = (int(number) for number in text.split("/"))
        for seed in range(arguments.seeds):
            for variant in variants:
                wanted = {
                    "hosts": hosts,
                    "vms": vms,
                    "fill": arguments.fill,
                    "seed": seed,
                    "variant": variant,
                    "limit_s": limit_s,
                    # One joint model of everything runs on one core.
                    "workers": arguments.workers if variant in PROVERS else 1,
                    "clock": arguments.clock,
                }
                if any(wanted.items() <= row.items() for row in rows):
                    continue
                row = measure(
                    (hosts, vms),
                    seed,
                    variant,
                    fill=arguments.fill,
                    limit_s=limit_s,
                    workers=arguments.workers,
                    clock=arguments.clock,
                )
                rows.append({**row, **where})
                path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
                print(
                    f"{text} seed {seed} {variant}: {row['total_host_s']:.3f},"
                    f" gap {row['gap_percent']} % in {row['wall_s']} s,"
                    f" {row['cpu_s']} of the processor",
                    flush=True,
                )
    print(summary(rows))


if __name__ == "__main__":
    main()
