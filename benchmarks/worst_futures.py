"""What it costs and what it saves to plan for the worst futures instead of for all of them.

The same synthetic clusters are solved with contention averaged over all scenarios, and over shares
of the worst (``Weights.tail_share``). Plans are judged on 256 fresh paths that no engine has seen,
by the mean of all and by the mean of the worst fifth. Clusters that FILE has already are not solved
again.

    python -m benchmarks.worst_futures --json FILE [--size 32/500] [--seeds 5] [--seconds 10]
        [--scenarios 128] [--shares 1,0.5,0.2]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.instances.synthetic import synthetic
from benchmarks.scale import FRESH_DRAW, FRESH_PATHS, path_totals, seen_by_engines
from service.files import write_text
from service.replay.report import machine
from solver.domain.weights import Weights, to_host_s
from solver.params import SolveParams
from solver.solve import prepare, solve

WORST: Final = 0.2
"""Share of the fresh paths, the dearest, that stands for bad days."""


def measure(
    num_hosts: int, num_vms: int, *, shares: list[float], scenarios: int, limit_s: float, seed: int
) -> list[dict[str, Any]]:
    """Return a row for each share of the futures that counts, for one cluster.

    Parameters
    ----------
    scenarios
        How many futures the engines see.
    limit_s
        Wall seconds of each solve.
    """
    instance = synthetic(num_hosts=num_hosts, num_vms=num_vms, ruled_fraction=0.0, seed=seed)
    seen = seen_by_engines(instance, scenarios, seed)
    fresh = instance.futures(FRESH_PATHS, draw=FRESH_DRAW)
    rows = []
    for share in shares:
        params = SolveParams(weights=Weights(tail_share=share), limit_s=limit_s, seed=seed)
        prepare(params, num_hosts=num_hosts)
        begun_s = time.monotonic()
        result = solve(instance.cluster, seen, params)
        seconds = time.monotonic() - begun_s
        totals = path_totals(instance.cluster, fresh, result.placement)
        worst = np.sort(totals)[-round(WORST * FRESH_PATHS) :]
        rows.append(
            {
                "hosts": num_hosts,
                "vms": num_vms,
                "scenarios": scenarios,
                "seed": seed,
                "limit_s": limit_s,
                "tail_share": share,
                "seconds": seconds,
                "total_host_s": to_host_s(result.after.total),
                "bound_host_s": None if result.bound is None else to_host_s(result.bound),
                "moves": result.after.moves,
                "fresh_mean_host_s": to_host_s(round(totals.mean())),
                "fresh_worst_host_s": to_host_s(round(worst.mean())),
                "machine": machine(),
            }
        )
    return rows


def print_table(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the means over the clusters, a line for each share."""
    table = Table(title="Means over clusters, in host-seconds")
    names = ("hosts/VMs", "clusters", "share", "planned", "fresh", "fresh, worst fifth", "moves")
    for name in names:
        table.add_column(name, justify="right")
    for share in dict.fromkeys(row["tail_share"] for row in rows):
        some = [row for row in rows if row["tail_share"] == share]
        means = [
            float(np.mean([row[name] for row in some]))
            for name in ("total_host_s", "fresh_mean_host_s", "fresh_worst_host_s", "moves")
        ]
        table.add_row(
            f"{some[0]['hosts']}/{some[0]['vms']}",
            str(len(some)),
            f"{share:g}",
            *(f"{mean:,.1f}" for mean in means),
        )
    console.print(table)


def main() -> None:
    """Solve what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--size", default="32/500", help="hosts/VMs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--scenarios", type=int, default=128)
    parser.add_argument("--shares", default="1,0.5,0.2")
    arguments = parser.parse_args()
    hosts, vms = (int(number) for number in arguments.size.split("/"))
    shares = [float(share) for share in arguments.shares.split(",")]
    rows: list[dict[str, Any]] = []
    if arguments.json.is_file():
        rows = json.loads(arguments.json.read_text(encoding="utf-8"))

    def alike(row: dict[str, Any]) -> bool:
        wanted = (hosts, vms, arguments.scenarios, arguments.seconds)
        return (row["hosts"], row["vms"], row["scenarios"], row["limit_s"]) == wanted

    for seed in range(arguments.seeds):
        done = {row["tail_share"] for row in rows if alike(row) and row["seed"] == seed}
        missing = [share for share in shares if share not in done]
        if missing:
            rows += measure(
                hosts,
                vms,
                shares=missing,
                scenarios=arguments.scenarios,
                limit_s=arguments.seconds,
                seed=seed,
            )
            write_text(arguments.json, json.dumps(rows, indent=1) + "\n")
            print(f"seed {seed}: done", file=sys.stderr, flush=True)
    print_table([row for row in rows if alike(row)], Console(width=110))


if __name__ == "__main__":
    main()
