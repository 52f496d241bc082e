"""What benchmarks of the closed loop have in common: hosts like those of the standard replay."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.options import instant
from service.replay.config import ReplayConfig


def replay_parser(doc: str | None, *, from_: str, until: str) -> ArgumentParser:
    """Return a parser of the options that say what is replayed.

    Parameters
    ----------
    doc
        Docstring of the benchmark, whose first line is shown.
    from_, until
        The window unless another one is asked for.
    """
    parser = ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--trace", type=Path, required=True, help="tidy Parquet of the trace")
    parser.add_argument("--from", dest="from_", default=from_)
    parser.add_argument("--until", default=until)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hosts", type=int, default=24)
    parser.add_argument("--vms", type=int, default=None, help="VMs drawn; all unless given")
    parser.add_argument("--scenarios", type=int, default=None, help="futures planned on")
    parser.add_argument("--interval", type=int, default=15, help="minutes between plans")
    return parser


def replay_config(arguments: Namespace, policies: tuple[str, ...]) -> ReplayConfig:
    """Return the replay that was asked for."""
    return ReplayConfig(
        trace=arguments.trace,
        num_hosts=arguments.hosts,
        host_cores=32,
        host_memory_gib=576,
        from_at=instant(arguments.from_, "--from"),
        until_at=instant(arguments.until, "--until"),
        interval_minutes=arguments.interval,
        policies=policies,
        num_vms=arguments.vms,
        num_scenarios=arguments.scenarios,
        seed=arguments.seed,
    )
