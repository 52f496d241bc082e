"""From 8 to 10,000 hosts: greedy, the portfolio and the proven bound, with seconds and memory.

Each row is one synthetic cluster (16 scenarios, 4 steps, four resources; rules on none of the VMs,
or on a fifth) in a process of its own, so that peaks of memory are its own. Seconds count from the
finished cluster: generating it is left out. Rows that the file already has are not run again.

Up to 2,000 VMs the scenarios are kept of 256 paths as a forecast's are, beyond that drawn as they
are. Up to 10,000 the placements of greedy and the portfolio are judged once more, on 256 fresh
paths drawn from the same process of demand and seen by no engine: by how much the portfolio is
cheaper, path by path, with the interval that holds the mean in 95 of 100 such draws. An interval
above zero says that its gain is more than luck with the scenarios it was made for.

With ``--margin`` engines see all demand raised by so many percent, and totals and bounds are of
that; on fresh paths demand is what it is. Plans made for few futures fit these too well.

With ``--reference-seconds`` the portfolio solves each cluster once more, from the start and with
that limit; ``excess`` is what the shorter run costs beyond the better of the two, in percent.

    python -m benchmarks.scale --json FILE [--sizes 8/80,100/2000] [--seconds 30] [--whole]
        [--scenarios 16] [--seed 0] [--margin 5] [--reference-seconds 600]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.instances.synthetic import Synthetic, synthetic
from forecast.reduction import reduce_paths
from forecast.scenarios import NUM_PATHS
from service.files import write_text
from service.replay.report import machine
from solver.compiler.compile import compile_problem
from solver.contention import DEFAULT_STOP_HOST_S
from solver.domain.check import check_placement
from solver.domain.cluster import Cluster, Placement
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.score import score_placement
from solver.domain.weights import Weights, to_host_s, to_units
from solver.limit import Allowance
from solver.params import Engine, SolveParams
from solver.portfolio import Answer, load, run
from solver.problem import NOWHERE, IntArray, Problem
from solver.search.warm import warm_up
from solver.solve import solve

SIZES = "8/80,32/500,64/1200,100/2000,100/10000,1000/10000,10000/100000"
RULED = (0.0, 0.2)
MIB_PER_GIB = 1024

FRESH_PATHS: Final = 256
MOST_REDUCED: Final = 2_000
"""Most VMs whose scenarios are kept of many paths."""
MOST_FRESH: Final = 10_000
"""Most VMs whose plans are judged on fresh paths: half a minute, and some GiB."""
FRESH_DRAW: Final = 1
"""Draw 0 is the solver's."""

RESAMPLES: Final = 4_000
"""Means drawn for an interval: its ends then vary by less than its width does with the paths."""


class Made(NamedTuple):
    """What was solved, and what two engines made of it."""

    problem: Problem
    quick: Answer
    best: Answer


def measure(
    num_hosts: int,
    num_vms: int,
    ruled: float,
    *,
    num_scenarios: int,
    limit_s: float,
    seed: int,
    whole: bool,
    margin_percent: float = 0.0,
    reference_s: float | None = None,
) -> dict[str, Any]:
    """Return the figures of one cluster.

    Parameters
    ----------
    ruled
        Share of the VMs that stand under rules.
    num_scenarios
        How many futures the engines see.
    limit_s
        Wall seconds for compiling and the portfolio together, greedy's included.
    whole
        Whether to measure ``solve`` too, which also orders, judges and explains.
    margin_percent
        By how much engines see future demand raised.
    reference_s
        Wall seconds of the run that the portfolio is compared with; ``None`` for no such run.
    """
    instance = synthetic(num_hosts=num_hosts, num_vms=num_vms, ruled_fraction=ruled, seed=seed)
    scenarios = raised(seen_by_engines(instance, num_scenarios, seed), margin_percent)
    warm_up()
    load(Engine.PORTFOLIO, num_hosts)
    made, figures = _engines(instance, scenarios, limit_s, seed)
    row = {
        "hosts": num_hosts,
        "vms": num_vms,
        "ruled": ruled,
        "scenarios": num_scenarios,
        "margin_percent": margin_percent,
        "seed": seed,
        "limit_s": limit_s,
        **figures,
    }
    if whole:
        begun_s = time.monotonic()
        result = solve(instance.cluster, scenarios, SolveParams(limit_s=limit_s, seed=seed))
        row["whole"] = {
            "seconds": time.monotonic() - begun_s,
            "total_host_s": to_host_s(result.after.total),
            "moves": result.after.moves,
            "status": result.status.value,
        }
    row["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB_PER_GIB
    if num_vms <= MOST_FRESH:
        row |= _on_fresh_paths(instance, made, seed)
    if reference_s is not None:
        row |= _reference(made, reference_s, seed)
    return {**row, "machine": machine()}


def seen_by_engines(instance: Synthetic, num_scenarios: int, seed: int) -> ScenarioSet:
    """Return the futures that engines see, kept of many where so many can be drawn."""
    if len(instance.cluster.vms) > MOST_REDUCED:
        return instance.futures(num_scenarios)
    many = instance.futures(NUM_PATHS)
    chosen, probability_ppm = reduce_paths(
        np.moveaxis(many.demand[..., 1:], 1, 2).astype(np.float32),
        num_scenarios=num_scenarios,
        rng=np.random.default_rng(seed),
    )
    return replace(many, demand=many.demand[chosen], probability_ppm=probability_ppm)


def raised(scenarios: ScenarioSet, margin_percent: float) -> ScenarioSet:
    """Return futures with all demand but the present one raised."""
    demand = scenarios.demand.copy()
    demand[..., 1:] = np.rint(demand[..., 1:] * (1.0 + margin_percent / 100.0))
    return replace(scenarios, demand=demand)


def _engines(
    instance: Synthetic, scenarios: ScenarioSet, limit_s: float, seed: int
) -> tuple[Made, dict[str, Any]]:
    """Return what greedy and the portfolio make of a cluster, and how long each takes."""
    allowance = Allowance(limit_s)
    problem = compile_problem(instance.cluster, scenarios, Weights())
    compile_s = allowance.elapsed_s
    threshold = to_units(DEFAULT_STOP_HOST_S)
    begun_s = time.monotonic()
    quick = run(problem, Engine.GREEDY, Allowance(limit_s), threshold=threshold, seed=seed)
    greedy_s = time.monotonic() - begun_s
    # Greedy alone was extra: the portfolio runs it again.
    allowance = Allowance(limit_s - compile_s)
    first: list[tuple[float, Answer]] = []
    best = run(
        problem,
        Engine.PORTFOLIO,
        allowance,
        threshold=threshold,
        seed=seed,
        on_progress=lambda answer: first.append((compile_s + allowance.elapsed_s, answer)),
    )
    footprint_mib = np.array([vm.memory_footprint_mib for vm in instance.cluster.vms])

    def figures(hosts: IntArray) -> dict[str, Any]:
        moved = (problem.start != NOWHERE) & (hosts != problem.start)
        return {"moves": int(moved.sum()), "gib": int(footprint_mib[moved].sum()) / MIB_PER_GIB}

    before = first[0][1].total
    return Made(problem, quick, best), {
        "compile_s": compile_s,
        "greedy_s": greedy_s,
        "first_feasible_s": first[min(1, len(first) - 1)][0],
        "total_s": compile_s + allowance.elapsed_s,
        "before_host_s": to_host_s(before),
        "greedy_host_s": to_host_s(quick.total),
        "portfolio_host_s": to_host_s(best.total),
        "bound_host_s": to_host_s(best.bound),
        "gap": (best.total - best.bound) / best.total if best.total else 0.0,
        "engine": best.engine,
        "failures": list(best.failures),
        "greedy": figures(quick.hosts),
        "portfolio": figures(best.hosts),
    }


def _reference(made: Made, limit_s: float, seed: int) -> dict[str, Any]:
    """Return what the portfolio reaches in another time, and how near it came to that before."""
    threshold = to_units(DEFAULT_STOP_HOST_S)
    allowance = Allowance(limit_s)
    answer = run(made.problem, Engine.PORTFOLIO, allowance, threshold=threshold, seed=seed)
    return {
        "reference_s": limit_s,
        "reference_host_s": to_host_s(answer.total),
        "reference_bound_host_s": to_host_s(answer.bound),
        "excess": excess_percent(made.best.total, answer.total),
    }


def excess_percent(total: int, other: int) -> float | None:
    """Return by how much a total is above the lesser of two, in percent of it.

    ``None`` where that is nothing, of which there are no percents.
    """
    best = min(total, other)
    if total == best:
        return 0.0
    return 100 * (total - best) / best if best else None


def _on_fresh_paths(instance: Synthetic, made: Made, seed: int) -> dict[str, Any]:
    """Return what both placements cost on paths that no engine has seen, and the difference."""
    fresh = instance.futures(FRESH_PATHS, draw=FRESH_DRAW)
    greedy, portfolio = (
        path_totals(instance.cluster, fresh, made.problem.placement(answer.hosts))
        for answer in (made.quick, made.best)
    )
    low, high = mean_interval(greedy - portfolio, seed=seed)
    return {
        "greedy_fresh_host_s": to_host_s(round(greedy.mean())),
        "portfolio_fresh_host_s": to_host_s(round(portfolio.mean())),
        "fresh_gain": {
            "paths": FRESH_PATHS,
            "mean_host_s": to_host_s(round((greedy - portfolio).mean())),
            "low_host_s": to_host_s(round(low)),
            "high_host_s": to_host_s(round(high)),
            "cheaper": int((portfolio < greedy).sum()),
            "dearer": int((portfolio > greedy).sum()),
        },
    }


def path_totals(cluster: Cluster, scenarios: ScenarioSet, placement: Placement) -> IntArray:
    """Return what the scorer says of a placement if one path were the whole future, path by path.

    Returns
    -------
    numpy.ndarray
        Totals in cost units, shape ``(num_scenarios,)``.
    """
    violations = check_placement(cluster, placement)
    totals = []
    for k in range(scenarios.num_scenarios):
        alone = replace(
            scenarios, demand=scenarios.demand[k : k + 1], probability_ppm=(PROBABILITY_PPM,)
        )
        score = score_placement(cluster, alone, Weights(), placement, violations=violations)
        totals.append(score.total)
    return np.array(totals, dtype=np.int64)


def mean_interval(
    differences: npt.NDArray[np.int64], *, seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap's percentile interval of a mean of independent differences.

    Few paths carry most of the difference, so no shape of their distribution is taken for granted.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(differences), size=(RESAMPLES, len(differences)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences[chosen].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def print_table(rows: list[dict[str, Any]], console: Console) -> None:
    """Print one line for each cluster."""
    table = Table(title="Totals in host-seconds")
    names = (
        "hosts/VMs", "rules", "paths", "margin", "before", "greedy", "portfolio", "bound", "gap",
        "moves", "GiB", "compile s", "greedy s", "first s", "total s", "MiB", "fresh greedy",
        "fresh portfolio", "gain (95 %)", "reference", "excess",
    )  # fmt: skip
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['hosts']}/{row['vms']}",
            f"{row['ruled']:.0%}",
            str(row["scenarios"]),
            f"{row.get('margin_percent', 0.0):g}%",
            *(f"{row[f'{key}_host_s']:,.1f}" for key in ("before", "greedy", "portfolio", "bound")),
            f"{row['gap']:.1%}",
            f"{row['portfolio']['moves']:,}",
            f"{row['portfolio']['gib']:,.0f}",
            *(f"{row[f'{key}_s']:.2f}" for key in ("compile", "greedy", "first_feasible", "total")),
            f"{row['peak_mib']:,.0f}",
            *_fresh_cells(row),
            *_reference_cells(row),
        )
    console.print(table)


def _fresh_cells(row: dict[str, Any]) -> tuple[str, str, str]:
    gain = row.get("fresh_gain")
    if gain is None:
        return "–", "–", "–"
    return (
        f"{row['greedy_fresh_host_s']:,.1f}",
        f"{row['portfolio_fresh_host_s']:,.1f}",
        f"{gain['low_host_s']:,.2f} to {gain['high_host_s']:,.2f}",
    )


def _reference_cells(row: dict[str, Any]) -> tuple[str, str]:
    if "reference_s" not in row:
        return "–", "–"
    excess = "–" if row["excess"] is None else f"{row['excess']:.1f}%"
    return f"{row['reference_host_s']:,.1f}", excess


def _in_own_process(size: str, ruled: float, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [
        sys.executable, "-m", "benchmarks.scale", "--row", f"{size}/{ruled}",
        "--seconds", str(arguments.seconds), "--seed", str(arguments.seed),
        "--scenarios", str(arguments.scenarios), "--margin", str(arguments.margin),
        *(["--whole"] if arguments.whole else []),
    ]  # fmt: skip
    if arguments.reference_seconds is not None:
        command += ["--reference-seconds", str(arguments.reference_seconds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def main() -> None:
    """Measure every size that is not in the file yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="rows are added to this file")
    parser.add_argument("--sizes", default=SIZES, help="hosts/VMs, with commas between")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--scenarios", type=int, default=16, help="futures that engines see")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--margin", type=float, default=0.0, help="percent that demand is raised")
    parser.add_argument("--whole", action="store_true", help="measure solve() as well")
    parser.add_argument("--reference-seconds", type=float, help="compare with a run this long")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row is not None:
        hosts, vms, ruled = arguments.row.split("/")
        row = measure(
            int(hosts), int(vms), float(ruled), num_scenarios=arguments.scenarios,
            limit_s=arguments.seconds, seed=arguments.seed, whole=arguments.whole,
            margin_percent=arguments.margin, reference_s=arguments.reference_seconds,
        )  # fmt: skip
        print(json.dumps(row))
        return
    if arguments.json is None:
        parser.error("--json: expected a file to keep the rows in")
    rows: list[dict[str, Any]] = []
    if arguments.json.exists():
        rows = json.loads(arguments.json.read_text(encoding="utf-8"))
        if not all("scenarios" in row for row in rows):
            parser.error(
                f"--json: {arguments.json} holds rows of an earlier form, made with other futures; "
                f"expected a file of this form, or none"
            )
    known = {
        (
            row["hosts"], row["vms"], row["ruled"], row["scenarios"], row["seed"], row["limit_s"],
            "whole" in row, row.get("margin_percent", 0.0), row.get("reference_s"),
        )
        for row in rows
    }  # fmt: skip
    for size in arguments.sizes.split(","):
        hosts, vms = (int(number) for number in size.split("/"))
        for ruled in RULED:
            key = (
                hosts, vms, ruled, arguments.scenarios, arguments.seed, arguments.seconds,
                arguments.whole, arguments.margin, arguments.reference_seconds,
            )  # fmt: skip
            if key in known:
                continue
            rows.append(_in_own_process(size, ruled, arguments))
            write_text(arguments.json, json.dumps(rows, indent=1) + "\n")
            print(f"{size}, {ruled:.0%} of VMs ruled: done", file=sys.stderr)
    print_table(rows, Console(width=220))


if __name__ == "__main__":
    main()
