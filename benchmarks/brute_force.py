"""Ten thousand small clusters: every engine against all placements, every plan at every instant.

    python -m benchmarks.brute_force --json FILE [--clusters 10000] [--processes 2]
    python -m benchmarks.brute_force --cluster 4711

Each cluster (``benchmarks.instances.small``) is solved by every engine, with a limit of work, so
that its number is enough to see the same again. What is looked at:

equal        The portfolio's total is that of the best of all placements, tried one by one by
             checker and scorer, where there are at most 1,024; of a proven optimum elsewhere.
bounds       No bound is above the best total, and no engine below it.
scorer       What an engine says its placement costs is what the scorer says, to the last unit.
engines      None ends in an error.
plans        The sequenced plan of the whole ``solve`` breaks nothing and makes nothing worse at
             any instant, by the checker; nor do the placements of the engines.

A row stands for a hundred clusters. Rows that FILE has already are not made again, so that a run
may be interrupted. Ends with exit code 1 if anything is not as it must be.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from joblib import Parallel, delayed

from benchmarks.instances.small import Small, small
from benchmarks.instances.small_judge import allowed_by_the_judge, best_total
from service.files import write_text
from service.replay.report import machine
from solver.compiler.compile import compile_problem
from solver.cpsat.exact import prove
from solver.cpsat.neighbourhoods import improve_by_neighbourhoods
from solver.domain.check import check_plan
from solver.domain.score import score_placement
from solver.limit import Allowance
from solver.params import Engine, SolveParams
from solver.partition import improve_by_parts
from solver.portfolio import run
from solver.problem import IntArray, Problem
from solver.search.annealing import improve
from solver.search.exchange import improve_by_exchange
from solver.search.relief import relieve
from solver.search.state import State
from solver.solve import solve

MOST_PLACEMENTS: Final = 1_024
CLUSTERS_PER_ROW: Final = 100
NO_WALL_LIMIT_S: Final = 3_600.0

WORK: Final = 5.0
"""Deterministic seconds of portfolio and proof; they end when proven, mostly in a hundredth."""

LITTLE_WORK: Final = 0.01
SOME_WORK: Final = 0.1
"""Of engines that never know that they are done, and of one that takes more to begin."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Claim:
    """What an engine says: a placement, its total, and, where it has one, a bound."""

    hosts: IntArray
    total: int
    bound: int | None = None
    failures: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Finding:
    """What was seen of one cluster."""

    number: int
    best: int | None = None
    """Total of the best placement of all; ``None`` where they are too many to try."""

    compared: bool = False
    """Whether the portfolio was compared with the best total, tried or proven."""

    claims: int = 0
    steps: int = 0
    """Of the plan of the whole solve."""

    faults: dict[str, list[str]] = field(default_factory=dict)
    """By what was looked at, what is wrong."""

    def expect(self, holds: bool, about: str, otherwise: str) -> None:
        """Note a fault unless something holds."""
        if not holds:
            self.faults.setdefault(about, []).append(otherwise)


def by_run(engine: Engine) -> Callable[[Problem], Claim]:
    """Return the engine that users know by this name."""

    def claim(problem: Problem) -> Claim:
        allowance = Allowance(NO_WALL_LIMIT_S, WORK)
        answer = run(problem, engine, allowance, threshold=0, seed=0)
        return Claim(
            hosts=answer.hosts,
            total=answer.total,
            bound=answer.bound,
            failures=answer.failures,
        )

    return claim


def by_proof(problem: Problem) -> Claim:
    """Return what CP-SAT proves from the start, without help."""
    proof = prove(problem, problem.start, limit_s=NO_WALL_LIMIT_S, work_limit=WORK)
    return Claim(hosts=proof.hosts, total=proof.total, bound=proof.bound)


def by_exchange(problem: Problem) -> Claim:
    """Return where single moves and exchanges of two end."""
    state = State(problem, problem.start)
    improve_by_exchange(state, out_of_time=lambda: False, spend=lambda work: None)
    return Claim(hosts=state.hosts, total=state.total)


def by_annealing(annealing: Callable[..., IntArray]) -> Callable[[Problem], Claim]:
    """Return what calls a search by annealing: what it finds, with the total it told."""

    def claim(problem: Problem) -> Claim:
        told = [State(problem, problem.start).total]
        hosts = annealing(
            problem,
            problem.start,
            limit_s=NO_WALL_LIMIT_S,
            work_limit=LITTLE_WORK,
            on_better=lambda _hosts, total: told.append(total),
        )
        # Not everything better is told: what was told last may be dearer than the answer, not less.
        total = State(problem, hosts).total
        return Claim(hosts=hosts, total=min(total, told[-1]))

    return claim


def by_neighbourhoods(problem: Problem) -> Claim:
    """Return what CP-SAT makes of the start a few hosts at a time."""
    found = improve_by_neighbourhoods(
        problem, problem.start, limit_s=NO_WALL_LIMIT_S, work_limit=SOME_WORK
    )
    return Claim(hosts=found.hosts, total=found.total)


def by_parts(problem: Problem) -> Claim:
    """Return what searching two hosts at a time finds."""
    hosts = improve_by_parts(
        problem,
        problem.start,
        limit_s=NO_WALL_LIMIT_S,
        work_limit=LITTLE_WORK,
        hosts_per_part=2,
    )
    return Claim(hosts=hosts, total=State(problem, hosts).total)


ENGINES: Final[dict[str, Callable[[Problem], Claim]]] = {
    "greedy": by_run(Engine.GREEDY),
    "portfolio": by_run(Engine.PORTFOLIO),
    "proof": by_proof,
    "exchange": by_exchange,
    "annealing": by_annealing(improve),
    "relief": by_annealing(relieve),
    "neighbourhoods": by_neighbourhoods,
    "parts": by_parts,
}


def examine(number: int) -> Finding:
    """Return what is seen of the cluster of a number."""
    instance = small(number)
    problem = compile_problem(instance.cluster, instance.scenarios, instance.weights)
    finding = Finding(number=number)
    if instance.num_placements <= MOST_PLACEMENTS:
        finding.best = best_total(instance.cluster, instance.scenarios, instance.weights)
    judge(instance, problem, {name: engine(problem) for name, engine in ENGINES.items()}, finding)
    judge_plan(instance, finding)
    return finding


def judge(instance: Small, problem: Problem, claims: dict[str, Claim], finding: Finding) -> None:
    """Compare what engines say with the judges, with one another, and with the best of all."""
    best = finding.best
    # Where not all placements can be tried, a proof stands for them.
    proven = [claim.total for claim in claims.values() if claim.bound == claim.total]
    known = min(proven, default=None) if best is None else best
    finding.claims = len(claims)
    for name, claim in claims.items():
        finding.expect(not claim.failures, "engines", "; ".join(claim.failures))
        placement = problem.placement(claim.hosts)
        score = score_placement(instance.cluster, instance.scenarios, instance.weights, placement)
        finding.expect(
            score.total == claim.total,
            "scorer",
            f"{name} says {claim.total}, the scorer {score.total}",
        )
        finding.expect(
            allowed_by_the_judge(instance.cluster, placement),
            "plans",
            f"the placement of {name} is not allowed",
        )
        if known is not None:
            finding.expect(
                (claim.bound or 0) <= known <= claim.total,
                "bounds",
                f"{name} is at {claim.total} with bound {claim.bound}, the best is {known}",
            )
    finding.compared = known is not None
    if known is not None:
        reached = claims["portfolio"].total
        finding.expect(reached == known, "equal", f"the portfolio is at {reached}, not at {known}")


def judge_plan(instance: Small, finding: Finding) -> None:
    """Check the plan of the whole solve at every instant, and what its result says."""
    cluster, scenarios, weights = instance.cluster, instance.scenarios, instance.weights
    params = SolveParams(
        weights=weights,
        limit_s=NO_WALL_LIMIT_S,
        work_limit=WORK,
        act_threshold_host_s=0.0,
        stop_threshold_host_s=0.0,
    )
    result = solve(cluster, scenarios, params)
    finding.expect(not result.failures, "engines", "; ".join(result.failures))
    finding.steps = len(result.plan.steps)
    for violation in check_plan(cluster, result.plan):
        finding.expect(False, "plans", f"the plan: {violation.message}")
    finding.expect(
        result.placement == result.plan.placement_after(cluster.placement),
        "plans",
        "the plan does not lead to the placement",
    )
    total = score_placement(cluster, scenarios, weights, result.placement).total
    finding.expect(
        result.after.total == total, "scorer", f"solve says {result.after.total}, not {total}"
    )
    start = score_placement(cluster, scenarios, weights, cluster.placement).total
    finding.expect(total <= start, "bounds", f"the plan leads to {total} from {start}")
    if finding.best is not None:
        finding.expect(
            total >= finding.best, "bounds", f"the plan leads to {total} below {finding.best}"
        )


def summary(findings: list[Finding]) -> dict[str, Any]:
    """Return counts of what was seen, and for each kind of fault the numbers of the clusters."""
    about = ("equal", "bounds", "scorer", "engines", "plans")
    return {
        "clusters": len(findings),
        "brute_forced": sum(one.best is not None for one in findings),
        "compared": sum(one.compared for one in findings),
        "equal": sum(one.compared and "equal" not in one.faults for one in findings),
        "claims": sum(one.claims for one in findings),
        "plans": len(findings),
        "plans_with_moves": sum(one.steps > 0 for one in findings),
        "steps": sum(one.steps for one in findings),
        "faults": {kind: [one.number for one in findings if kind in one.faults] for kind in about},
    }


def measure(first: int) -> dict[str, Any]:
    """Return one row: a hundred clusters from this number on."""
    begun_s = time.monotonic()
    findings = [examine(number) for number in range(first, first + CLUSTERS_PER_ROW)]
    return {
        "first": first,
        **summary(findings),
        "messages": {str(one.number): one.faults for one in findings if one.faults},
        "seconds": round(time.monotonic() - begun_s, 1),
        **machine(),
    }


def report(rows: list[dict[str, Any]]) -> str:
    """Return the counts of all rows, a line each, and where the faults are."""
    lines = [
        f"{name.replace('_', ' '):<18} {sum(row[name] for row in rows):>9,}"
        for name in (
            "clusters", "brute_forced", "compared", "equal", "claims", "plans", "plans_with_moves",
            "steps",
        )
    ]  # fmt: skip
    for kind, meaning in (
        ("equal", "unequal"),
        ("bounds", "wrong bounds"),
        ("scorer", "wrong totals"),
        ("engines", "failed engines"),
        ("plans", "violations"),
    ):
        numbers = [number for row in rows for number in row["faults"][kind]]
        where = f": {', '.join(map(str, numbers))}" if numbers else ""
        lines.append(f"{meaning:<18} {len(numbers):>9,}{where}")
    return "\n".join(lines)


def main() -> int:
    """Make the rows that are missing, print the counts of all; or look at one cluster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="rows are added to this file")
    parser.add_argument("--clusters", type=int, default=10_000, help="rounded up to hundreds")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--cluster", type=int, help="look at the cluster of this number alone")
    arguments = parser.parse_args()
    if arguments.cluster is not None:
        finding = examine(arguments.cluster)
        print(finding)
        return int(bool(finding.faults))
    path: Path | None = arguments.json
    if path is None:
        parser.error("--json: expected a file to keep the rows in")
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    known = {row["first"] for row in rows}
    wanted = range(0, arguments.clusters, CLUSTERS_PER_ROW)
    missing = [first for first in wanted if first not in known]
    parallel = Parallel(n_jobs=arguments.processes, return_as="generator_unordered")
    for row in parallel(delayed(measure)(first) for first in missing):
        rows = sorted([*rows, row], key=lambda one: int(one["first"]))
        write_text(path, json.dumps(rows, indent=1) + "\n")
        print(f"from {row['first']}: {row['seconds']} s", file=sys.stderr, flush=True)
    chosen = [row for row in rows if row["first"] in wanted]
    print(report(chosen))
    return int(any(numbers for row in chosen for numbers in row["faults"].values()))


if __name__ == "__main__":
    sys.exit(main())
