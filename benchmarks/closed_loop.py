"""What each policy spares a real fleet: the standard replay of the Bitbrains fastStorage trace.

Protocol: 24 hosts of 32 cores and 576 GiB, 3 to 5 September 2013, a plan every 15 minutes; the
forecaster is trained on 12 August to 2 September and reads nothing of the future. Writes the
report, and the table as text, to ``results/<date>-<commit>/``.

    python -m benchmarks.closed_loop --trace FILE [--seed 0] [--results FOLDER]
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from service.replay.config import ReplayConfig
from service.replay.report import machine, print_report
from service.replay.run import run_replay


def main() -> None:
    """Run the standard replay and keep its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trace", type=Path, required=True, help="tidy Parquet of the trace")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    config = ReplayConfig(
        trace=arguments.trace,
        num_hosts=24,
        host_cores=32,
        host_memory_gib=576,
        from_at=datetime(2013, 9, 3, tzinfo=UTC),
        until_at=datetime(2013, 9, 6, tzinfo=UTC),
        seed=arguments.seed,
    )
    folder = arguments.results / f"{datetime.now(UTC):%Y-%m-%d}-{machine()['commit'] or 'unknown'}"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"closed-loop-seed{arguments.seed}"
    report = run_replay(
        config,
        json_path=folder / f"{name}.json",
        state_path=None,
        console=Console(stderr=True),
    )
    with (folder / f"{name}.txt").open("w", encoding="utf-8") as file:
        print_report(report, Console(file=file, width=120))
        print_report(report, Console())


if __name__ == "__main__":
    main()
