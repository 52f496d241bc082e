"""What each policy spares a real fleet: the standard replay of the Bitbrains fastStorage trace.

Protocol: 24 hosts of 32 cores and 576 GiB, 3 to 5 September 2013, a plan every 15 minutes; the
forecaster is trained on 12 August to 2 September and reads nothing of the future. Writes the
report, and the table as text, to ``results/<date>-<commit>/``.

    python -m benchmarks.closed_loop --trace FILE [--seed 0] [--results FOLDER]

With ``--draws N`` the same for N clusters of ``--vms`` VMs drawn at random, on ``--hosts`` hosts,
with one forecaster for all, trained on every VM. At the end stands how much of what the true
future is worth each policy gets, (reactive - policy) / (reactive - oracle), over the draws together
with a 95 % interval: of the choice of VMs, the days being the same. A finished draw is not run
again.

    python -m benchmarks.closed_loop --trace FILE --draws 8 --vms 120 --hosts 3

Three hosts have 40 VMs each, where those of the whole fleet have 35. On four next to nothing is at
stake: most draws go short of a few host-seconds in a week whatever is done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.replay_options import replay_config, replay_parser
from forecast.online import OnlineForecaster
from service.replay.config import FORESEEING, ReplayConfig
from service.replay.report import machine, print_report
from service.replay.run import run_replay, trained_before_window
from service.replay.stage import set_stage

NUM_RESAMPLED: Final = 2000
FEWEST_DRAWS: Final = 5
"""Draws below which an interval says nothing."""
MEASURE: Final = "weighted_shortfall_host_s"


def worth(draws: Sequence[dict[str, Any]], policy: str) -> tuple[float, float, float]:
    """Return how much of what foresight can spare a policy spares, with its 95 % interval.

    Sums over the draws, which are drawn with replacement for the interval: a draw in which nothing
    goes short says nothing, and must not divide by zero.

    Parameters
    ----------
    draws
        Figures by policy; ``reactive`` and ``oracle`` among them.

    Returns
    -------
    tuple
        1 for as good as the oracle, 0 for as bad as the threshold balancer; NaN if the oracle
        spares nothing.
    """
    figures = np.array(
        [[one[name][MEASURE] for name in ("reactive", policy, "oracle")] for one in draws]
    )
    chosen = np.random.default_rng(0).integers(0, len(draws), (NUM_RESAMPLED, len(draws)))
    sums = np.concatenate([figures.sum(axis=0)[None], figures[chosen].sum(axis=1)])
    possible = sums[:, 0] - sums[:, 2]
    shares = np.where(
        possible > 0, (sums[:, 0] - sums[:, 1]) / np.where(possible, possible, 1), np.nan
    )
    told = shares[1:][~np.isnan(shares[1:])]
    if not len(told):
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(told, (0.025, 0.975))
    return float(shares[0]), float(low), float(high)


def print_draws(draws: Sequence[dict[str, Any]], console: Console) -> None:
    """Print sums over the draws and what each policy is worth."""
    table = Table(title=f"{len(draws)} draws, sums")
    table.add_column("policy")
    columns = ("weighted, host-s", "shared alike, host-s", "migrations", "GiB", "worth", "95 %")
    for name in columns:
        table.add_column(name, justify="right")
    for policy in draws[0]:
        share, low, high = worth(draws, policy)
        sums = {
            key: sum(one[policy][key] for one in draws)
            for key in (MEASURE, "proportional_shortfall_host_s", "migrations", "gib_moved")
        }
        table.add_row(
            policy,
            *(f"{value:,.0f}" for value in sums.values()),
            f"{share:.2f}",
            f"{low:.2f} to {high:.2f}" if len(draws) >= FEWEST_DRAWS else "",
        )
    console.print(table)


def _run(
    config: ReplayConfig, path: Path, console: Console, trained: OnlineForecaster | None
) -> dict[str, Any]:
    """Return the figures by policy of one replay, from its report if it is finished."""
    if not path.exists():
        run_replay(config, json_path=path, state_path=None, console=console, trained=trained)
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    figures: dict[str, Any] = document["policies"]
    return figures


def main() -> None:
    """Run the standard replay, or draws, and keep the figures."""
    parser = replay_parser(__doc__, from_="2013-09-03", until="2013-09-06")
    parser.add_argument("--policies", default="none,reactive,predictive,oracle")
    parser.add_argument("--draws", type=int, default=None, help="clusters, one for each seed")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    config = replay_config(arguments, tuple(arguments.policies.split(",")))
    folder = arguments.results / f"{datetime.now(UTC):%Y-%m-%d}-{machine()['commit'] or 'unknown'}"
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    if arguments.draws is not None:
        if not {"reactive", "oracle"} <= set(config.policies):
            parser.error("--draws compares with reactive and oracle: name both in --policies")
        trained = None
        if set(FORESEEING) & set(config.policies):
            with console.status("training on what precedes the window"):
                trained = trained_before_window(set_stage(config))
        draws = []
        for seed in range(arguments.seed, arguments.seed + arguments.draws):
            drawn = replace(config, seed=seed)
            # Named by all that decides the figures: those of other settings are not taken.
            path = folder / f"closed-loop-draw{seed}-{drawn.fingerprint()}.json"
            draws.append(_run(drawn, path, console, trained))
            print_draws(draws, Console())
        with (folder / "closed-loop-draws.txt").open("w", encoding="utf-8") as file:
            print_draws(draws, Console(file=file, width=120))
        return
    name = f"closed-loop-seed{arguments.seed}"
    report = run_replay(config, json_path=folder / f"{name}.json", state_path=None, console=console)
    with (folder / f"{name}.txt").open("w", encoding="utf-8") as file:
        print_report(report, Console(file=file, width=120))
        print_report(report, Console())


if __name__ == "__main__":
    main()
