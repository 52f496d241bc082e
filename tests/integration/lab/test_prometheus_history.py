"""History of real guests: exporters in front of real hosts, Prometheus, and a migration between."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import libvirt
import numpy as np
import pytest

from forecast.history import BinState
from forecast.import_prometheus import read_prometheus
from forecast.prometheus.client import Access
from forecast.prometheus.settings import preset
from solver.domain.units import Resource
from tests.integration.lab.hosts import Lab
from tests.integration.prometheus_programs import (
    RealPrometheus,
    exporter,
    prometheus,
    require_programs,
    wait_until,
)

LIVE = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
)
BIN_S = 5
COUNTER = "libvirt_domain_info_cpu_time_seconds_total"


def scrapes(server: RealPrometheus, name: str, host: str) -> float:
    """Return how often a guest was seen running on a host within the last minutes."""
    state = f'libvirt_domain_state_code{{domain="{name}", host="{host}"}} == 1'
    return server.value(f"count_over_time(({state})[5m:1s])") or 0.0


def wait_scrapes(server: RealPrometheus, name: str, host: str, count: int) -> None:
    """Wait until a guest was seen so often on a host."""
    wait_until(
        lambda: scrapes(server, name, host) >= count, f"{name} was seen {count} times on {host}"
    )


def gained_running(
    server: RealPrometheus, name: str, host: str, length_s: float, at: float
) -> float:
    """Return the CPU time that a guest used on a host while it was not paused there."""
    who = f'{{domain="{name}", host="{host}"}}'
    running = f"({COUNTER}{who} and libvirt_domain_state_code{who} == 1)[{length_s:.0f}s:1s]"
    gained = server.value(f"max_over_time({running}) - min_over_time({running})", at)
    return gained or 0.0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_real_migration_is_one_history(lab: Lab, tmp_path: Path) -> None:
    """A guest that migrates slowly between real hosts reads as one VM, without gap or spike.

    What it used in all is what the counters of both hosts gained while it ran there, but for what
    it used between the last scrape here and the first one there.
    """
    require_programs()
    source, destination, *_ = lab.hosts
    lab.start_guests({"vm1": source, "vm2": destination}, busy_percent=40)
    with (
        exporter(tmp_path, "prometheus-libvirt-exporter", f"--libvirt.uri={source.uri}") as one,
        exporter(
            tmp_path, "prometheus-libvirt-exporter", f"--libvirt.uri={destination.uri}"
        ) as two,
        prometheus(
            tmp_path, targets={"libvirt": [(one, source.name), (two, destination.name)]}
        ) as server,
    ):
        wait_scrapes(server, "vm1", source.name, 3 * BIN_S)
        source.slow_link(30.0)
        begun_s = time.monotonic()
        parameters = {libvirt.VIR_MIGRATE_PARAM_URI: destination.migration_uri}
        source.domain("vm1").migrate3(destination.connection, parameters, LIVE)
        took_s = time.monotonic() - begun_s
        wait_scrapes(server, "vm1", destination.name, 3 * BIN_S)
        until_at = datetime.now(UTC)
        from_at = datetime.fromtimestamp(until_at.timestamp() - took_s - 8 * BIN_S, tz=UTC)
        settings = replace(preset(), host_label="host", access=Access(url=server.url))
        found = read_prometheus(settings, from_at=from_at, until_at=until_at, step_seconds=BIN_S)
        history = found.history
        assert set(history.vm_ids) == {"vm1", "vm2"}
        assert found.report.last_host == {"vm1": destination.name, "vm2": destination.name}
        assert found.report.moves == 1
        row = history.positions(["vm1"])[0]
        first = int(np.argmax(history.state[row] == BinState.MEASURED))
        assert (history.state[row, first:] == BinState.MEASURED).all()
        cores = history.readings[Resource.CPU, row, first:] / 1000.0
        # One vCPU, and what QEMU's own threads take while they copy.
        assert cores.max() < 1.6
        assert (history.granted_mib[row, first:] == 80.0).all()
        at = history.end_at.timestamp()
        gained = sum(
            gained_running(server, "vm1", host.name, BIN_S * len(cores), at)
            for host in (source, destination)
        )
        assert cores.sum() * BIN_S == pytest.approx(gained, rel=0.15)
