"""Whether telemetry is good enough to act on; if not, why, in words an operator can use.

A plan made of stale or impossible readings moves VMs for nothing. A gate that is closed holds back
what goes on by itself; hosts are still emptied for maintenance, which needs no forecast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from forecast.history import CPU_CLIP, History
from service.plans.schedule import Quality
from solver.domain.cluster import Cluster, HostState
from solver.domain.units import HostId, Resource

AHEAD: Final = timedelta(minutes=10)
"""Readings further in the future come from a wrong clock."""
JUDGED_BINS: Final = 12
"""Readings of the latest hour are looked at for impossible ones."""
IMPOSSIBLE_FACTOR: Final = 1.5
"""A reading so many times beyond the size of its VM is no rounding and no turbo."""


def objections(
    quality: Quality,
    cluster: Cluster,
    history: History | None,
    *,
    now: datetime,
    last_seen: Mapping[HostId, datetime],
) -> tuple[str, ...]:
    """Return why nothing should be done on this telemetry; nothing if all is well.

    Parameters
    ----------
    history
        The latest readings; ``None`` if there are none at all.
    last_seen
        Latest minute of each host whose monitor ever delivered.
    """
    if history is None:
        return ("there is no telemetry yet",)
    found = (
        _out_of_time(quality, history, now),
        _silent_hosts(quality, cluster, now, last_seen),
        _without_data(quality, cluster, history, now),
        _impossible(quality, history),
    )
    return tuple(reason for reason in found if reason)


def _out_of_time(quality: Quality, history: History, now: datetime) -> str:
    newest = _newest_end(history)
    if newest is None:
        return "there is no telemetry yet"
    if newest > now + AHEAD:
        return f"telemetry is dated {newest - now} in the future: a clock is wrong"
    if now - newest > quality.stale_after:
        return (
            f"telemetry is stale: its newest reading ended {_minutes(now - newest)} minutes ago, "
            f"at most {_minutes(quality.stale_after)} allowed"
        )
    return ""


def _silent_hosts(
    quality: Quality, cluster: Cluster, now: datetime, last_seen: Mapping[HostId, datetime]
) -> str:
    silent = [
        host.id
        for host in cluster.hosts
        if host.state is HostState.UNREACHABLE
        or now - last_seen.get(host.id, now) > quality.stale_after
    ]
    return _too_many(
        "hosts are silent or out of reach",
        silent,
        len(cluster.hosts),
        quality.silent_hosts_fraction,
    )


def _without_data(quality: Quality, cluster: Cluster, history: History, now: datetime) -> str:
    position = {vm_id: v for v, vm_id in enumerate(history.vm_ids)}
    last_bins = history.last_read_bin(history.num_bins - 1)
    missing = []
    for vm in cluster.vms:
        v = position.get(vm.id)
        last_bin = -1 if v is None else int(last_bins[v])
        if last_bin < 0 or now - history.time_of(last_bin + 1) > quality.stale_after:
            missing.append(vm.id)
    return _too_many(
        "VMs have no recent reading", missing, len(cluster.vms), quality.vms_without_data_fraction
    )


def _impossible(quality: Quality, history: History) -> str:
    recent = history.readings[:, :, -JUDGED_BINS:]
    limits = history.limits() * IMPOSSIBLE_FACTOR
    limits[Resource.CPU] /= CPU_CLIP
    with np.errstate(invalid="ignore"):
        beyond = (recent > limits[:, :, None]).any(axis=(0, 2))
    wrong = [history.vm_ids[v] for v in np.flatnonzero(beyond)]
    return _too_many(
        "VMs have impossible readings, far beyond their size",
        wrong,
        history.num_vms,
        quality.implausible_fraction,
    )


def _too_many(what: str, which: Sequence[str], of: int, allowed: float) -> str:
    if not of or len(which) / of <= allowed:
        return ""
    return (
        f"{len(which)} of {of} {what} ({which[0]!r} among them), "
        f"at most {100 * allowed:g} % allowed"
    )


def _newest_end(history: History) -> datetime | None:
    last_bin = int(history.last_read_bin(history.num_bins - 1).max(initial=-1))
    return None if last_bin < 0 else history.time_of(last_bin + 1)


def _minutes(span: timedelta) -> int:
    return round(span / timedelta(minutes=1))
