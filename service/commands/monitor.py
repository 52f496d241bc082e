"""``foreswap monitor``: the daemon on each host."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def monitor(
    url: Annotated[
        str | None, typer.Option(help="Where to deliver records; none: deliver none.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token of this host.", metavar="FILE")
    ] = None,
    outbox: Annotated[
        Path | None, typer.Option(help="Folder for records that wait.", metavar="DIR")
    ] = None,
    interval: Annotated[
        int | None, typer.Option(help="Seconds between samples; divides a minute (10).")
    ] = None,
    host_id: Annotated[
        str | None, typer.Option(help="The host's name in the cluster (its host name).")
    ] = None,
    libvirt_uri: Annotated[
        str | None, typer.Option(help="Where VMs are read (qemu:///system); '' for nowhere.")
    ] = None,
    metrics_file: Annotated[
        Path | None,
        typer.Option(help="Write Prometheus text here, for a textfile collector.", metavar="FILE"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings; options here come first.", metavar="TOML")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one reading as Prometheus text and end.")
    ] = False,
) -> None:
    """Watch this host and its VMs, and deliver a record a minute to the service."""
    from executor.monitor.config import MonitorConfig

    given = MonitorConfig() if config is None else MonitorConfig.from_toml(config)
    settings = given.overridden(
        {
            "url": url,
            "token_file": token_file,
            "outbox": outbox,
            "interval_s": interval,
            "host_id": host_id,
            "libvirt_uri": libvirt_uri,
            "metrics_file": metrics_file,
        }
    )
    if once:
        _print_reading(settings.libvirt_uri)
        return
    settings.require_destination()
    # The process becomes the monitor's own: the libraries of the command line would stay for good.
    program = [sys.executable, "-P", "-m", "executor.monitor", settings.to_json()]
    os.execv(sys.executable, program)


def _print_reading(libvirt_uri: str) -> None:
    from executor.monitor.host import PsutilHost
    from executor.monitor.metrics import Health, exposition
    from executor.monitor.sampler import Sampler
    from executor.monitor.setup import vm_source
    from executor.monitor.timekeeper import SystemTimekeeper
    from service.commands import console

    reading = Sampler(PsutilHost(), vm_source(libvirt_uri), SystemTimekeeper()).read()
    console.note(reading.reason and f"VMs cannot be read: {reading.reason}")
    typer.echo(exposition(reading, Health()), nl=False)
