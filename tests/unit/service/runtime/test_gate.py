"""Telemetry that is too poor to act on is told from telemetry that will do, with the reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from forecast.history import BinState, History
from service.plans.schedule import Quality
from service.runtime.gate import objections
from solver.domain.cluster import Cluster, HostState
from solver.domain.units import HostId
from tests.builders import make_cluster, make_host, make_vm
from tests.histories import make_history


def _good() -> tuple[Cluster, History, datetime]:
    history = make_history(num_vms=10, num_bins=24)
    vms = [make_vm(vm_id, "h1") for vm_id in history.vm_ids]
    return make_cluster([make_host("h1"), make_host("h2")], vms), history, history.end_at


def _reasons(cluster: Cluster, history: History | None, now: datetime, **seen: datetime) -> str:
    last_seen = {HostId(name): at for name, at in seen.items()}
    return "; ".join(objections(Quality(), cluster, history, now=now, last_seen=last_seen))


def _without(history: History, num_vms: int) -> History:
    state, readings = history.state.copy(), history.readings.copy()
    state[:num_vms] = BinState.MISSING
    readings[:, :num_vms] = np.nan
    return replace(history, state=state, readings=readings)


def test_good_telemetry_passes() -> None:
    """Fresh readings of every VM are no reason to hold back."""
    assert not _reasons(*_good())


def test_no_telemetry() -> None:
    """Without any reading nothing is done."""
    cluster, _, now = _good()
    assert "no telemetry" in _reasons(cluster, None, now)


def test_stale_telemetry() -> None:
    """Readings that ended half an hour ago are too old, and the reason says how old."""
    cluster, history, now = _good()
    assert "30 minutes ago, at most 20" in _reasons(cluster, history, now + timedelta(minutes=30))


def test_future_telemetry() -> None:
    """Readings from tomorrow come from a wrong clock."""
    cluster, history, now = _good()
    assert "clock is wrong" in _reasons(cluster, history, now - timedelta(days=1))


def test_silent_host() -> None:
    """A monitor that fell silent counts, as does a host out of reach."""
    cluster, history, now = _good()
    reasons = _reasons(cluster, history, now, h1=now, h2=now - timedelta(hours=1))
    assert "1 of 2 hosts" in reasons
    assert "'h2'" in reasons
    gone = replace(cluster.hosts[1], state=HostState.UNREACHABLE)
    assert "1 of 2 hosts" in _reasons(
        replace(cluster, hosts=(cluster.hosts[0], gone)), history, now
    )


def test_vms_without_data() -> None:
    """Two of ten may lack readings, three may not."""
    cluster, history, now = _good()
    assert not _reasons(cluster, _without(history, 2), now)
    assert "3 of 10 VMs have no recent reading" in _reasons(cluster, _without(history, 3), now)


def test_vms_never_heard_of_count_as_without_data() -> None:
    """VMs of the snapshot that no history knows have no data."""
    cluster, history, now = _good()
    strangers = tuple(make_vm(f"new{i}", "h1") for i in range(5))
    assert "5 of 15" in _reasons(replace(cluster, vms=cluster.vms + strangers), history, now)


def test_impossible_readings() -> None:
    """Readings far beyond the size of their VMs are no demand."""
    cluster, history, now = _good()
    readings = history.readings.copy()
    readings[0, :4, -1] = 1e7
    assert "4 of 10 VMs have impossible" in _reasons(
        cluster, replace(history, readings=readings), now
    )
