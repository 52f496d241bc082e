"""Which records of a monitor are taken, and why others never will be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from executor.monitor.sample import Figure, MinuteRecord
from solver.domain.units import HostId

FUTURE: Final = timedelta(minutes=5)
"""Whatever is later is of a clock that is wrong."""
PAST: Final = timedelta(days=60)
"""Longer than any outbox lasts."""
LARGEST: Final = 1e15
"""No figure of any host is as large."""


def objection(record: MinuteRecord, host_id: HostId, now: datetime) -> str:
    """Return why a record will never be taken, empty if it is."""
    return next(_objections(record, host_id, now), "")


def _objections(record: MinuteRecord, host_id: HostId, now: datetime) -> Iterator[str]:
    at = record.minute_at
    if record.host_id != host_id:
        yield f"host_id: expected {host_id!r}, got {record.host_id!r}"
    if at.tzinfo is None or at.timestamp() % 60:
        yield f"minute_at: expected the start of a minute with its zone, got {at.isoformat()}"
    elif at > now + FUTURE:
        yield f"minute_at: {at.isoformat()} is of the future: it is {now.isoformat()} here"
    elif at < now - PAST:
        yield f"minute_at: {at.isoformat()} is more than {PAST.days} days ago"
    if not 0 < record.span_s <= 120:
        yield f"span_s: expected more than 0 and at most 120, got {record.span_s}"
    yield from _wrong_figures(record)
    seen = set()
    for vm in record.vms:
        if vm.vm_id in seen:
            yield f"vms: {vm.vm_id!r} comes twice"
        seen.add(vm.vm_id)


def _wrong_figures(record: MinuteRecord) -> Iterator[str]:
    if not 0 <= record.host.memory_total_mib <= LARGEST:
        yield f"host.memory_total_mib: got {record.host.memory_total_mib}"
    for name, figure in record.host.figures.items():
        if not _is_plausible(figure):
            yield _wrong(f"host.{name}", figure)
    for vm in record.vms:
        for name, figure in vm.figures.items():
            if not _is_plausible(figure):
                yield _wrong(f"vms.{vm.vm_id}.{name}", figure)


def _is_plausible(figure: Figure) -> bool:
    """Whether mean, p95 and maximum are numbers that a host can have; NaN is not."""
    return 0 <= figure.mean <= LARGEST and 0 <= figure.p95 <= LARGEST and 0 <= figure.max <= LARGEST


def _wrong(path: str, figure: Figure) -> str:
    told = [figure.mean, figure.p95, figure.max]
    return f"{path}: expected numbers of 0 to {LARGEST:g}, got {told}"
