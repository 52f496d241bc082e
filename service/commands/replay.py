"""``foreswap replay``: the closed loop on a recorded trace, policy against policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.options import Seed, instant, positive_minutes, require_writable


def replay(
    trace: Annotated[Path, typer.Option(help="Telemetry: tidy Parquet or CSV.")],
    hosts: Annotated[int, typer.Option(help="Number of identical hosts.", min=1)],
    host_cores: Annotated[int, typer.Option(help="Cores of each host.", min=1)],
    host_memory_gib: Annotated[int, typer.Option(help="Memory of each host, in GiB.", min=1)],
    from_: Annotated[str, typer.Option("--from", help="First instant (UTC), e.g. 2013-09-03.")],
    until: Annotated[str, typer.Option(help="End (UTC), exclusive; a date means 00:00.")],
    policy: Annotated[
        str,
        typer.Option(
            help="Comma-separated: none, reactive, reactive-greedy, recent-max, reference, "
            "point, independent, predictive, oracle."
        ),
    ] = "none,reactive,predictive,oracle",
    interval: Annotated[str, typer.Option(help="Time between plans.")] = "15m",
    vms: Annotated[
        int | None, typer.Option(help="VMs drawn at random by the seed; all unless given.", min=1)
    ] = None,
    seed: Seed = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
    host_disk_mib_per_s: Annotated[
        int | None, typer.Option(help="Disk throughput of each host; unlimited unless given.")
    ] = None,
    host_net_mib_per_s: Annotated[
        int | None, typer.Option(help="Network throughput of each host; unlimited unless given.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Folder for finished parts, to resume from; default: next to --json."),
    ] = None,
) -> None:
    """Let each policy run a simulated cluster on a recorded trace, and compare."""
    from service.replay.config import ReplayConfig
    from service.replay.report import print_report
    from service.replay.run import run_replay

    require_writable(json, "--json")
    config = ReplayConfig(
        trace=trace,
        num_hosts=hosts,
        host_cores=host_cores,
        host_memory_gib=host_memory_gib,
        host_disk_mib_per_s=host_disk_mib_per_s,
        host_net_mib_per_s=host_net_mib_per_s,
        from_at=instant(from_, "--from"),
        until_at=instant(until, "--until"),
        interval_minutes=positive_minutes(interval, "--interval"),
        num_vms=vms,
        policies=tuple(name.strip() for name in policy.split(",")),
        seed=seed,
    )
    report = run_replay(config, json_path=json, state_path=state, console=console.err())
    print_report(report, console.out())
