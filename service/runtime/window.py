"""The latest weeks of telemetry of one cluster, kept at hand and brought up to date bin by bin.

Reading weeks of every VM from the store every five minutes would be most of the work of a cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.history import STEP_SECONDS, BinState, Floats, History
from service.store.base import Telemetry
from solver.domain.cluster import Cluster
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, HostId, VmId

SPAN: Final = timedelta(days=8)
"""The week that a forecast looks back to, and a day more; warming up makes do with what is left."""
LATE: Final = timedelta(hours=1)
"""What was read is read again for so long: minutes come in late, and are rolled up later."""
BIN: Final = timedelta(seconds=STEP_SECONDS)


class Window:
    """Telemetry of the latest days; ``history`` is ``None`` as long as there is none.

    Parameters
    ----------
    telemetry
        Of the store.
    """

    def __init__(self, telemetry: Telemetry, cluster_id: str, *, span: timedelta = SPAN) -> None:
        self._telemetry = telemetry
        self._cluster_id = cluster_id
        self._span = span
        self._last_seen: dict[HostId, datetime] = {}
        self._behind: dict[HostId, datetime] = {}
        self._again_from: datetime | None = None
        self.history: History | None = None

    def read_until(
        self, end_at: datetime, *, last_seen: Mapping[HostId, datetime] | None = None
    ) -> None:
        """Take in what came up to an instant on the grid, and let go what is too old.

        Parameters
        ----------
        last_seen
            Start of the latest minute that each host delivered: one that was cut off for a day
            delivers the day when it is back, and once it has, all of it is taken in.
        """
        known = self.history
        start_at = end_at - self._span
        begin_at = start_at
        again = self._caught_up(last_seen or {}, start_at, end_at)
        if known is not None:
            begin_at = max(start_at, min(known.end_at, end_at, *again) - LATE)
        try:
            newer = self._telemetry.history(self._cluster_id, begin_at, end_at)
        except NotEnoughHistoryError:
            newer = None
        if newer is not None:
            known = _begun(newer) if known is None else joined(known, newer)
        if known is not None and known.start_at < start_at < known.end_at:
            known = known.window(known.bin_at(start_at), known.num_bins)
        self.history = known

    def _caught_up(
        self, last_seen: Mapping[HostId, datetime], start_at: datetime, end_at: datetime
    ) -> list[datetime]:
        """Return from when on to read again: hosts that were behind have caught up since then.

        Told at this look and the next: what has just come is rolled up a minute or so later. A host
        that stays behind, as one whose clock is, would have days read anew at every look.
        """
        first = self.history is None
        for host_id, at in last_seen.items():
            before = self._last_seen.get(host_id)
            if before is None and not first:
                self._behind[host_id] = start_at
            elif before is not None and at > before and end_at - before > LATE:
                self._behind.setdefault(host_id, on_grid(before))
        caught_up = [h for h in self._behind if end_at - last_seen.get(h, start_at) <= LATE]
        now_from = min((self._behind.pop(host_id) for host_id in caught_up), default=None)
        before_from, self._again_from = self._again_from, now_from
        self._last_seen = dict(last_seen)
        return [at for at in (before_from, now_from) if at is not None]


def _begun(history: History) -> History:
    """Return a history from its first reading on: a day of 10,000 VMs takes 60 MB, read or not."""
    later = history.window(first_read_bin(history), history.num_bins)
    # Copies, so that nothing holds what came before.
    return replace(
        later,
        readings=later.readings.copy(),
        state=later.state.copy(),
        granted_mib=later.granted_mib.copy(),
    )


def first_read_bin(history: History) -> int:
    """Return the first bin in which some VM is known."""
    return int((history.state != BinState.ABSENT).any(axis=0).argmax())


def on_grid(at: datetime) -> datetime:
    """Return the latest end of a bin that is not after an instant."""
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    return epoch + (at - epoch) // BIN * BIN


def joined(older: History, newer: History) -> History:
    """Return both as one; where both tell of a bin, the newer counts.

    Sizes and types of VMs are those the newer knows, if it knows any.
    """
    start_at, end_at = older.start_at, max(older.end_at, newer.end_at)
    vm_ids = tuple(dict.fromkeys((*older.vm_ids, *newer.vm_ids)))
    num_bins = (end_at - start_at) // BIN
    readings, state, granted = _nothing(len(vm_ids), num_bins)
    vcpus = np.zeros(len(vm_ids), dtype=np.int64)
    memory = np.zeros(len(vm_ids), dtype=np.int64)
    app_types: list[str | None] = [None] * len(vm_ids)
    where = {vm_id: v for v, vm_id in enumerate(vm_ids)}
    for part in (older, newer):
        rows = np.array([where[vm_id] for vm_id in part.vm_ids], dtype=np.intp)
        first = max(0, (part.start_at - start_at) // BIN)
        skipped = max(0, (start_at - part.start_at) // BIN)
        end = first + part.num_bins - skipped
        readings[:, rows, first:end] = part.readings[:, :, skipped:]
        state[rows, first:end] = part.state[:, skipped:]
        granted[rows, first:end] = part.granted_mib[:, skipped:]
        vcpus[rows] = np.where(part.vcpus > 0, part.vcpus, vcpus[rows])
        memory[rows] = np.where(part.memory_size_mib > 0, part.memory_size_mib, memory[rows])
        for v, app_type in zip(rows.tolist(), part.app_types, strict=True):
            app_types[v] = app_type or app_types[v]
    return History(
        vm_ids=vm_ids,
        start_at=start_at,
        readings=readings,
        state=state,
        granted_mib=granted,
        vcpus=vcpus,
        memory_size_mib=memory,
        app_types=tuple(app_types),
    )


def with_cluster(history: History | None, cluster: Cluster, end_at: datetime) -> History:
    """Return a history that knows every VM of the cluster, and reaches to ``end_at``.

    What nobody read is missing, not zero: a VM that was never heard of is forecast from its size.
    """
    if history is None:
        return _unread(cluster, tuple(vm.id for vm in cluster.vms), end_at - BIN, 1)
    history = with_types(history, cluster)
    known = set(history.vm_ids)
    strangers = tuple(vm.id for vm in cluster.vms if vm.id not in known)
    if strangers:
        history = joined(history, _unread(cluster, strangers, history.start_at, history.num_bins))
    missing = (end_at - history.end_at) // BIN
    if missing > 0:
        history = joined(history, _unread(cluster, history.vm_ids, history.end_at, missing))
    return history


def with_types(history: History, cluster: Cluster) -> History:
    """Return a history that knows of what type its VMs are: telemetry does not tell."""
    type_of = {vm.id: vm.app_type for vm in cluster.vms}
    types = (
        type_of.get(vm_id) or known
        for vm_id, known in zip(history.vm_ids, history.app_types, strict=True)
    )
    return replace(history, app_types=tuple(types))


def _unread(
    cluster: Cluster, vm_ids: tuple[VmId, ...], start_at: datetime, num_bins: int
) -> History:
    """Return bins in which nobody read the VMs."""
    readings, state, granted = _nothing(len(vm_ids), num_bins)
    vms = {vm.id: vm for vm in cluster.vms}
    sizes = [vms[vm_id].allocation if vm_id in vms else None for vm_id in vm_ids]
    types = [vms[vm_id].app_type or None if vm_id in vms else None for vm_id in vm_ids]
    return History(
        vm_ids=vm_ids,
        start_at=start_at,
        readings=readings,
        state=state,
        granted_mib=granted,
        vcpus=np.array([0 if s is None else max(1, s.cpu_millicores // 1000) for s in sizes]),
        memory_size_mib=np.array([0 if s is None else s.memory_mib for s in sizes]),
        app_types=tuple(types),
    )


def _nothing(num_vms: int, num_bins: int) -> tuple[Floats, npt.NDArray[np.uint8], Floats]:
    """Return readings, states and grants of bins in which no VM exists."""
    return (
        np.full((NUM_RESOURCES, num_vms, num_bins), np.nan, dtype=np.float32),
        np.full((num_vms, num_bins), BinState.ABSENT, dtype=np.uint8),
        np.full((num_vms, num_bins), np.nan, dtype=np.float32),
    )
