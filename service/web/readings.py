"""What the store holds of one VM or host over time, read for its page.

A host's past is the sum of the VMs that were on it, as far as it was foreswap that moved them; what
others moved is not known of the past.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from forecast.history import STEP_SECONDS, BinState, History
from service.api.services import Services
from service.inventory.effective import Inventory
from service.runtime.kept import CONTENTION, FORECAST, QUALITY, RUNTIME, fan_from_bytes
from service.runtime.past_fans import PastFan, past_fans
from service.runtime.window import on_grid
from service.store.base import Transaction
from service.web.course import Course, Hindsight, courses, hindsight, sum_of
from service.web.migrations import Migration
from solver.domain.cluster import VM, Host
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource, VmId

HOUR_SECONDS: Final = 3600
SPANS: Final = {"24": "24 hours", "72": "3 days", "168": "7 days", "720": "30 days"}
"""Hours → how far back a page may look."""
COARSE_HOURS: Final = 168
"""Beyond it hourly means are shown."""
DAY: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a page shows of one VM or host.

    Parameters
    ----------
    fan
        The latest forecast; ``None`` before the first.
    fared
        By resource, how the forecasts of the past day fared; of a host, of hours in which no VM
        came or went.
    """

    courses: Sequence[Course]
    fan: Mapping[str, Any] | None
    fared: Mapping[Resource, Hindsight]


def hours_of(text: str | None) -> int:
    """Return a span that may be chosen; the shortest for anything else."""
    return int(text) if text in SPANS else 24


def contention_of(tx: Transaction, cluster_id: str) -> dict[str, Mapping[str, Any]]:
    """Return the row of each host; none before the first forecast."""
    kept = tx.blobs.get(cluster_id, CONTENTION)
    return {} if kept is None else {row["host_id"]: row for row in json.loads(kept[1])["hosts"]}


def quality_of(tx: Transaction, cluster_id: str) -> Mapping[str, Any]:
    """Return how good forecasts of the cluster have been of late; empty where it is not known."""
    kept = tx.blobs.get(cluster_id, QUALITY)
    found: dict[str, Any] = {} if kept is None else json.loads(kept[1])
    return found


def reading_mark(services: Services, inventory: Inventory) -> str:
    """Return what is another as soon as there is more to show: a bin that is over, a forecast."""
    with services.store.begin(read_only=True) as tx:
        kept = tx.blobs.get(inventory.cluster_id, RUNTIME)
    forecast_at = "" if kept is None else json.loads(kept[1]).get("forecast_at")
    return f"{on_grid(max(services.now(), inventory.cluster.observed_at))} {forecast_at}"


def look_at_vm(services: Services, inventory: Inventory, vm: VM, hours: int) -> Outlook:
    """Return what is shown of a VM."""
    fan, earlier, end_at = _forecasts(services, inventory, vm_id=vm.id)

    def read(span: timedelta, step_seconds: int) -> History | None:
        return _history(services, inventory.cluster_id, [vm.id], end_at, span, step_seconds)

    fine = read(DAY, STEP_SECONDS)
    shown = fine if hours == 24 else read(timedelta(hours=hours), _step_seconds(hours))
    sizes = (vm.allocation.cpu_millicores, vm.allocation.memory_mib, None, None)
    lines = {} if shown is None else {"observed": shown}
    return _outlook(lines, fine, earlier, fan, {"size": sizes}, end_at, judged=earlier)


def look_at_host(
    services: Services,
    inventory: Inventory,
    host: Host,
    moves: Sequence[Migration],
    hours: int,
) -> Outlook:
    """Return what is shown of a host.

    Parameters
    ----------
    moves
        In and out of it.
    """
    cluster_id = inventory.cluster_id
    fan, earlier, end_at = _forecasts(services, inventory, host_id=host.id)
    present = {vm.id for vm in inventory.cluster.vms if vm.host_id == host.id}
    vm_ids = sorted(present | {VmId(each.vm_id) for each in moves if each.done})

    def read(span: timedelta, step_seconds: int) -> History | None:
        found = _history(services, cluster_id, vm_ids, end_at, span, step_seconds)
        if found is None:
            return None
        return sum_of(found, were_there(found, present, host.id, moves))

    fine = read(DAY, STEP_SECONDS)
    step_seconds = _step_seconds(hours)
    shown = fine if hours == 24 else read(timedelta(hours=hours), step_seconds)
    lines = {} if shown is None else {"sum of its VMs": shown}
    start_at, grid_end = _window(end_at, timedelta(hours=hours), step_seconds)
    own = services.store.telemetry.host_history(
        cluster_id, start_at, grid_end, step_seconds=step_seconds
    )
    if host.id in own:
        lines["the host itself"] = own[host.id]
    limits = {"usable": host.usable()}
    judged = undisturbed(earlier, moves)
    return _outlook(lines, fine, earlier, fan, limits, end_at, judged=judged)


def undisturbed(earlier: Sequence[PastFan], moves: Sequence[Migration]) -> list[PastFan]:
    """Return the forecasts of hours in which no VM came or went: they took all of them to stay."""
    instants = [_ended_at(move) for move in moves if move.done and move.ended_at is not None]
    hour = timedelta(seconds=HOUR_SECONDS)
    return [fan for fan in earlier if not any(fan.at < at <= fan.at + hour for at in instants)]


def were_there(
    history: History, present: set[VmId], host_id: str, moves: Sequence[Migration]
) -> npt.NDArray[np.bool_]:
    """Return in which bins each VM was on a host, shape ``(num_vms, num_bins)``.

    Parameters
    ----------
    present
        VMs that are on it now.
    moves
        In and out of it; a VM that never moved has been where it is, since it was first read.
    """
    there = np.zeros((len(history.vm_ids), history.num_bins), dtype=np.bool_)
    done = sorted((m for m in moves if m.done and m.ended_at is not None), key=_ended_at)
    for v, vm_id in enumerate(history.vm_ids):
        mine = [each for each in done if each.vm_id == vm_id]
        there[v] = mine[0].source_id == host_id if mine else vm_id in present
        for each in mine:
            passed = (_ended_at(each) - history.start_at).total_seconds() / history.step_seconds
            there[v, max(0, int(np.ceil(passed))) :] = each.destination_id == host_id
    begun: npt.NDArray[np.bool_] = np.maximum.accumulate(history.state != BinState.ABSENT, axis=1)
    return there & begun


def _ended_at(move: Migration) -> datetime:
    assert move.ended_at is not None
    return move.ended_at


def _forecasts(
    services: Services, inventory: Inventory, *, vm_id: str = "", host_id: str = ""
) -> tuple[dict[str, Any] | None, list[PastFan], datetime]:
    """Return the latest fan, those of the day before, and the cluster's present."""
    cluster_id = inventory.cluster_id
    with services.store.begin(read_only=True) as tx:
        kept = tx.blobs.get(cluster_id, FORECAST)
        fan = None if kept is None else fan_from_bytes(kept[1], vm_id=vm_id, host_id=host_id)
        instants = [services.now(), inventory.cluster.observed_at]
        # A cluster whose own clock is ahead has readings from after this service's present.
        instants += [] if kept is None else [kept[0]]
        earlier = past_fans(tx, cluster_id, max(instants), vm_id=vm_id, host_id=host_id)
    return fan, earlier, on_grid(max(instants))


def _outlook(
    lines: Mapping[str, History],
    fine: History | None,
    earlier: Sequence[PastFan],
    fan: Mapping[str, Any] | None,
    limits: Mapping[str, Sequence[int | None]],
    end_at: datetime,
    *,
    judged: Sequence[PastFan],
) -> Outlook:
    """Return what is shown; forecasts are judged by a day of fine readings."""
    ((limit_name, amounts),) = limits.items()
    since = end_at - DAY - timedelta(hours=1)
    shown = courses(lines, earlier, fan, amounts, limit_name=limit_name, since=since)
    fared = {
        resource: found
        for resource in Resource
        if fine is not None and (found := hindsight(judged, fine, resource)) is not None
    }
    return Outlook(courses=shown, fan=fan, fared=fared)


def _history(
    services: Services,
    cluster_id: str,
    vm_ids: Sequence[VmId],
    end_at: datetime,
    span: timedelta,
    step_seconds: int,
) -> History | None:
    """Return the readings of a span up to an instant; ``None`` where there is none."""
    start_at, grid_end = _window(end_at, span, step_seconds)
    try:
        return services.store.telemetry.history(
            cluster_id, start_at, grid_end, vm_ids=vm_ids, step_seconds=step_seconds
        )
    except NotEnoughHistoryError:
        return None


def _window(end_at: datetime, span: timedelta, step_seconds: int) -> tuple[datetime, datetime]:
    step = timedelta(seconds=step_seconds)
    end = end_at - timedelta(seconds=end_at.timestamp() % step_seconds)
    return end - span // step * step, end


def _step_seconds(hours: int) -> int:
    return HOUR_SECONDS if hours > COARSE_HOURS else STEP_SECONDS
