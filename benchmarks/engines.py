"""What the engines save, and how fast: greedy and the portfolio on synthetic clusters.

Each line is one cluster: the total of doing nothing, of greedy, and of the portfolio at each work
limit, in host-seconds; with the whole solve's processor seconds. Same seeds and limits, same
totals, on any machine.

    python -m benchmarks engines [--hosts 24] [--vms 850] [--fills 0.6,0.7,0.8] [--seeds 3]
        [--work 0.5,5] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.instances.synthetic import synthetic
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.weights import to_host_s
from solver.params import SolveParams
from solver.solve import solve

NO_WALL_LIMIT_S = 3_600.0


def measure(cluster: Cluster, scenarios: ScenarioSet, params: SolveParams) -> dict[str, Any]:
    """Return total, moves and processor seconds of one solve."""
    begin_s = time.process_time()
    result = solve(cluster, scenarios, params)
    return {
        "engine": params.engine,
        "work_limit": params.work_limit,
        "before_host_s": to_host_s(result.before.total),
        "total_host_s": to_host_s(result.after.total),
        "bound_host_s": None if result.bound is None else to_host_s(result.bound),
        "moves": result.after.moves,
        "status": result.status.value,
        "cpu_s": time.process_time() - begin_s,
    }


def main() -> None:
    """Solve every cluster with every engine; print a table and keep the figures if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, default=24)
    parser.add_argument("--vms", type=int, default=850)
    parser.add_argument("--fills", default="0.6,0.7,0.8")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", default="0.5,5")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    limits = [float(text) for text in arguments.work.split(",")]
    rows = []
    for seed in range(arguments.seeds):
        for fill in (float(text) for text in arguments.fills.split(",")):
            instance = synthetic(
                num_hosts=arguments.hosts, num_vms=arguments.vms, fill=fill, seed=seed
            )
            cluster, scenarios = instance.cluster, instance.futures()
            settings = [("greedy", None), *(("portfolio", limit) for limit in limits)]
            texts = []
            for engine, limit in settings:
                params = SolveParams(
                    engine=engine, work_limit=limit, limit_s=NO_WALL_LIMIT_S, seed=seed
                )
                row = measure(cluster, scenarios, params)
                rows.append({"seed": seed, "fill": fill, **row})
                label = engine if limit is None else f"{engine} {limit:g}"
                effort = f"{row['moves']} moves, {row['cpu_s']:.2f} s"
                texts.append(f"{label} {row['total_host_s']:.2f} ({effort})")
            print(
                f"seed {seed} fill {fill:.2f}: nothing {rows[-1]['before_host_s']:.2f}; "
                + "; ".join(texts),
                flush=True,
            )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
