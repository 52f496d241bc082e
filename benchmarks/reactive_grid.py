"""Settings of the reactive opponent, compared on 2 and 3 September 2013 unless told otherwise.

python -m benchmarks.reactive_grid --trace FILE [--from 2013-09-02] [--until 2013-09-04]
"""

from __future__ import annotations

import itertools
from functools import partial

from benchmarks.replay_options import replay_config, replay_parser
from service.cooldown import CooldownParams
from service.replay.loop import LoopParams, run_policy
from service.replay.policies import PresentPolicy
from service.replay.reactive import ReactiveParams, rebalance
from service.replay.run import PHYSICS
from service.replay.stage import set_stage
from solver.domain.weights import Weights

THRESHOLDS = (0.8, 0.9, 0.95, 1.0)
TARGETS = (0.7, 0.8, 0.9, 1.0)
RELIEFS = (0.05, 0.1)


def main() -> None:
    """Print one line per setting: shortfall, weighted and plain, migrations and memory moved."""
    arguments = replay_parser(__doc__, from_="2013-09-02", until="2013-09-04").parse_args()
    config = replay_config(arguments, ("reactive",))
    stage = set_stage(config)
    workload = stage.workload(stage.first_bin)
    seen = stage.workload(stage.first_bin - 1)
    print("threshold target relief  weighted    plain  migrations      GiB")
    for threshold, target, relief in itertools.product(THRESHOLDS, TARGETS, RELIEFS):
        if target > threshold:
            continue
        params = ReactiveParams(
            threshold_fraction=threshold, target_fraction=target, least_relief_fraction=relief
        )
        figures = run_policy(
            PresentPolicy(seen, partial(rebalance, params=params)),
            config=config,
            start=stage.start,
            workload=workload,
            params=LoopParams(weights=Weights(), cooldown=CooldownParams(), physics=PHYSICS),
        )
        print(
            f"{threshold:9.2f} {target:6.2f} {relief:6.2f} "
            f"{figures.weighted_shortfall_host_s:9.0f} {figures.shortfall_host_s:8.0f} "
            f"{figures.migrations:11d} {figures.gib_moved:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
