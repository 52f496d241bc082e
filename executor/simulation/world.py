"""A simulated cluster that lives: time passes from event to event, exactly.

Events are the edges of bins, incidents, and the ends of phases of migrations. Between two of them
nothing changes, so nothing is sampled and no step has to be small. What is simulated: demand and
life from a ``Workload``; migrations by pre-copy that share links fairly, burn CPU at both ends and
hold memory at both ends; faults. What is not: storage, the guests' own network, CPU caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from executor.simulation.account import Account
from executor.simulation.bandwidth import Flow, max_min_rates
from executor.simulation.faults import (
    OF_HOSTS,
    Fate,
    FaultPlan,
    Incident,
    IncidentKind,
    ScriptedFaults,
)
from executor.simulation.inventory import NOWHERE, Inventory
from executor.simulation.precopy import PAUSED, SENDING, SWITCHED, Phase, Precopy
from executor.simulation.workload import FloatArray, Life, Workload
from executor.under_way import added_violations
from solver.domain.cluster import Cluster, HostState
from solver.domain.errors import (
    InvalidInputError,
    PermanentError,
    StaleClusterError,
    TemporaryError,
)
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.plan import Step, StepKind
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from solver.domain.weights import NUM_PRIORITIES, Weights

BUSY_DELAY_S = 10.0
"""Pause suggested with a refusal that may pass."""


@dataclass(slots=True, kw_only=True, eq=False)
class Transfer:
    """One migration, under way or over."""

    id: str
    vm_idx: int
    source_idx: int
    destination_idx: int
    granted_mib_per_s: int
    cap_mib_per_s: float
    course: Precopy
    fate: Fate
    started_s: float
    due_s: float = math.inf
    stalled_until_s: float | None = None
    ended_s: float | None = None
    failure: str = ""
    temporary: bool = False

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.ended_s is not None

    @property
    def runs_at_idx(self) -> int:
        """The host at which the guest runs, or stands still to be handed over."""
        switched = self.course.phase is Phase.POSTCOPY
        return self.destination_idx if switched else self.source_idx


class World:
    """The simulated cluster.

    Parameters
    ----------
    cluster
        Hosts, network, rules, budget, and every VM of the workload; ``host_id`` is where a VM
        stands at the start, and where it goes first when it appears later. A VM without one, or
        without room there, goes to the emptiest host where no rule breaks.
    workload
        Demand and life; VMs of the cluster that it does not know run without demand.
    physics
        How migrations really behave here; estimators do not know it.
    weights
        Weights of the account.
    """

    def __init__(
        self,
        cluster: Cluster,
        workload: Workload,
        *,
        faults: FaultPlan | None = None,
        physics: MigrationParameters = DEFAULT_MIGRATION,
        weights: Weights | None = None,
    ) -> None:
        known = {vm.id for vm in cluster.vms}
        strangers = [vm_id for vm_id in workload.vm_ids if vm_id not in known]
        if strangers:
            raise InvalidInputError(
                f"the workload names VM {strangers[0]!r}, which the cluster lacks "
                f"({len(strangers)} in all)",
                path="workload.vm_ids",
            )
        self.inventory = Inventory(cluster)
        self.account = Account(cluster, weights or Weights(), workload.bin_seconds)
        self.now_s = 0.0
        self.transfers: dict[str, Transfer] = {}
        self._active: list[Transfer] = []
        self._workload = workload
        self._rows = np.array([self.inventory.vm_idx[i] for i in workload.vm_ids], dtype=np.int64)
        self._physics = physics
        self._faults: FaultPlan = faults or ScriptedFaults()
        self._incidents = [(self.seconds(i.at), i) for i in self._faults.incidents()]
        self._reachable_again: dict[int, float] = {}
        # Share of its bandwidth that a slowed link has left, and until when.
        self._slowed: dict[int, tuple[float, float]] = {}
        self._overruled: dict[int, Life] = {}
        self._unplaced: set[int] = set()
        self._bands = np.array([vm.priority - 1 for vm in cluster.vms], dtype=np.int64)
        self._demand: FloatArray = np.zeros((len(cluster.vms), NUM_RESOURCES))
        self._bin_idx = 0
        self._load_stale = True
        self._settle_at_start()

    # Time -----------------------------------------------------------------------------------

    def seconds(self, instant: datetime) -> float:
        """Return an instant as seconds from the start of the workload."""
        return (instant - self._workload.start_at).total_seconds()

    def instant(self) -> datetime:
        """Return the present as aware UTC."""
        return self._workload.start_at + timedelta(seconds=self.now_s)

    def advance(self, to_s: float) -> None:
        """Let everything happen up to and including ``to_s``; the past is left alone."""
        while (due_s := self._next_event_s()) <= to_s:
            self._pass_time(due_s)
            self._happen()
        self._pass_time(to_s)

    def refresh(self) -> None:
        """Bring the account's view of the load up to date after a change at this instant."""
        if self._load_stale:
            self._tell_load()
            self._load_stale = False

    def _next_event_s(self) -> float:
        return min(
            (self._bin_idx + 1) * self._workload.bin_seconds,
            self._incidents[0][0] if self._incidents else math.inf,
            min(self._reachable_again.values(), default=math.inf),
            min((until_s for _, until_s in self._slowed.values()), default=math.inf),
            min((transfer.due_s for transfer in self._active), default=math.inf),
        )

    def _pass_time(self, to_s: float) -> None:
        seconds = to_s - self.now_s
        if seconds <= 0:
            return
        self.refresh()
        self.account.integrate(seconds)
        for transfer in self._active:
            transfer.course.progress(seconds)
        self.now_s = to_s

    def _happen(self) -> None:
        """Let happen what is due now: moves first, so that a bin sees where VMs ended up."""
        for transfer in [transfer for transfer in self._active if transfer.due_s <= self.now_s]:
            if not transfer.over:
                self._continue(transfer)
        for h in [h for h, until_s in self._reachable_again.items() if until_s <= self.now_s]:
            del self._reachable_again[h]
            self.inventory.unreachable.discard(h)
        for h in [h for h, (_, until_s) in self._slowed.items() if until_s <= self.now_s]:
            del self._slowed[h]
            self._share_links()
        while self._incidents and self._incidents[0][0] <= self.now_s:
            self._strike(self._incidents.pop(0)[1])
        if (self._bin_idx + 1) * self._workload.bin_seconds <= self.now_s:
            self.account.close_bin()
            self._bin_idx += 1
            self._enter_bin()

    # Demand and life ------------------------------------------------------------------------

    def _settle_at_start(self) -> None:
        """Put every VM of the first bin where the cluster says, whatever that breaks."""
        inventory = self.inventory
        for v in range(len(inventory.vms)):
            inventory.set_life(v, Life.RUNNING)
        for row, life in zip(self._rows, self._workload.life_at(0), strict=True):
            inventory.set_life(int(row), Life(int(life)))
        for v, vm in enumerate(inventory.vms):
            if vm.host_id is not None and inventory.life[v] != Life.ABSENT:
                inventory.place(v, inventory.host_idx[vm.host_id])
        self._enter_bin()

    def _enter_bin(self) -> None:
        lives = self._workload.life_at(self._bin_idx)
        for i in np.flatnonzero(lives != self.inventory.life[self._rows]):
            v = int(self._rows[i])
            self._set_life(v, self._overruled.get(v, Life(int(lives[i]))))
        footprint = self._workload.footprint_at(self._bin_idx)
        if footprint is not None:
            every = np.full(len(self.inventory.vms), -1, dtype=np.int64)
            every[self._rows] = footprint
            self.inventory.set_footprints(every)
        self._demand[self._rows] = self._workload.demand_at(self._bin_idx)
        self._place_arrivals()
        self._load_stale = True

    def _set_life(self, v: int, life: Life) -> None:
        if life == self.inventory.life[v]:
            return
        transfer = self.under_way(v)
        if transfer is not None and life is not Life.RUNNING:
            self._end(transfer, failure=f"the VM was {_ENDS[life]} under way", temporary=False)
        self.inventory.set_life(v, life)
        self._load_stale = True

    def _place_arrivals(self) -> None:
        """Give every VM that should run and has no host one, if there is room."""
        inventory = self.inventory
        homeless = np.flatnonzero(
            (inventory.life == Life.RUNNING) & (inventory.host_of == NOWHERE)
        ).tolist()
        self._unplaced &= set(homeless)
        for v in homeless:
            h = self._host_for(v)
            if h is not None:
                inventory.place(v, h)
                self._unplaced.discard(v)
            elif v not in self._unplaced:
                self._unplaced.add(v)
                self.account.count_unplaced_arrival()

    def _host_for(self, v: int) -> int | None:
        """Return the VM's own host if it fits there, else the emptiest where nothing breaks."""
        inventory = self.inventory
        left = {
            h: inventory.memory_left_mib(h, self._incoming(h))
            for h, host in enumerate(inventory.hosts)
            if host.state is HostState.UP
            and h not in inventory.unreachable
            and inventory.has_room(v, h, self._incoming(h))
        }
        home = inventory.vms[v].host_id
        order = sorted(left, key=lambda h: (-math.inf if left[h] is None else -(left[h] or 0), h))
        if home is not None and inventory.host_idx[home] in left:
            order.insert(0, inventory.host_idx[home])
        cluster = inventory.snapshot(self.instant())
        for h in order:
            step = _start_step(inventory.vms[v].id, inventory.hosts[h].id)
            if not added_violations(cluster, self.steps_under_way(), step):
                return h
        return None

    def _tell_load(self) -> None:
        inventory = self.inventory
        num_hosts = len(inventory.hosts)
        wanted = np.flatnonzero(inventory.life == Life.RUNNING)
        # Those without a host stand in a row of their own, behind the last host.
        runs_at = inventory.host_of.copy()
        for transfer in self._active:
            runs_at[transfer.vm_idx] = transfer.runs_at_idx
        row = np.where(runs_at == NOWHERE, num_hosts, runs_at)[wanted]
        slot = row * NUM_PRIORITIES + self._bands[wanted]
        num_slots = (num_hosts + 1) * NUM_PRIORITIES
        by_slot = [
            np.bincount(slot, weights=self._demand[wanted, r], minlength=num_slots)
            for r in range(NUM_RESOURCES)
        ]
        every = np.stack(by_slot, axis=-1).astype(np.float64)
        every = every.reshape(num_hosts + 1, NUM_PRIORITIES, NUM_RESOURCES)
        by_band, nowhere = every[:num_hosts], every[num_hosts]
        burned = np.zeros(num_hosts)
        for transfer in self._active:
            if transfer.course.phase is Phase.SETUP:
                continue
            v, h = transfer.vm_idx, transfer.destination_idx
            other = transfer.source_idx if runs_at[v] == h else h
            by_band[other, self._bands[v], Resource.MEMORY] += self._demand[v, Resource.MEMORY]
            if transfer.course.phase in SENDING:
                burned[transfer.source_idx] += self._physics.source_millicores
                burned[h] += self._physics.destination_millicores
        self.account.set_load(by_band, burned)
        self.account.set_unplaced(nowhere, int((row == num_hosts).sum()))

    # Migrations -----------------------------------------------------------------------------

    def under_way(self, v: int) -> Transfer | None:
        """Return the migration of a VM that is under way, if there is one."""
        return next((t for t in self._active if t.vm_idx == v), None)

    def paused(self) -> tuple[VmId, ...]:
        """Return the VMs that stand still at this instant, being handed over."""
        return tuple(
            self.inventory.vms[t.vm_idx].id for t in self._active if t.course.phase in PAUSED
        )

    def wire_rates(self) -> dict[HostId, float]:
        """Return the MiB/s that migrations send and receive on each host's link now."""
        rates = dict.fromkeys((host.id for host in self.inventory.hosts), 0.0)
        for transfer in self._active:
            for h in (transfer.source_idx, transfer.destination_idx):
                rates[self.inventory.hosts[h].id] += transfer.course.wire_mib_per_s
        return rates

    def steps_under_way(self) -> tuple[Step, ...]:
        """Return the migrations under way as steps."""
        return tuple(
            Step(
                kind=StepKind.MIGRATE,
                vm_id=self.inventory.vms[t.vm_idx].id,
                source_id=self.inventory.hosts[t.source_idx].id,
                destination_id=self.inventory.hosts[t.destination_idx].id,
                start_ms=0,
                end_ms=1,
                bandwidth_mib_per_s=t.granted_mib_per_s,
            )
            for t in self._active
        )

    def migrate(self, vm_id: VmId, destination_id: HostId, bandwidth_mib_per_s: int) -> Transfer:
        """Begin a migration.

        Raises
        ------
        InvalidInputError, TemporaryError, PermanentError, StaleClusterError
            As :meth:`executor.drivers.base.Driver.start_migration` promises.
        """
        v, h = self._require_startable(vm_id, destination_id, bandwidth_mib_per_s)
        inventory = self.inventory
        source = int(inventory.host_of[v])
        fate = self._faults.fate(vm_id)
        if fate.refused:
            raise TemporaryError(
                f"host {destination_id!r} is busy and refuses VM {vm_id!r}",
                delay_s=BUSY_DELAY_S,
                vm_id=vm_id,
                host_id=destination_id,
            )
        link = inventory.cluster.network.link(inventory.hosts[source], inventory.hosts[h])
        step = Step(
            kind=StepKind.MIGRATE,
            vm_id=vm_id,
            source_id=inventory.hosts[source].id,
            destination_id=destination_id,
            start_ms=0,
            end_ms=1,
            bandwidth_mib_per_s=min(bandwidth_mib_per_s, link.bandwidth_mib_per_s),
        )
        self._judge(step)
        footprint = inventory.footprint_mib(v)
        mark = _mark(fate)
        transfer = Transfer(
            id=f"{vm_id}/{len(self.transfers)}",
            vm_idx=v,
            source_idx=source,
            destination_idx=h,
            granted_mib_per_s=step.bandwidth_mib_per_s,
            cap_mib_per_s=float(step.bandwidth_mib_per_s),
            course=Precopy(
                footprint_mib=footprint,
                dirty_mib_per_s=inventory.vms[v].dirty_mib_per_s,
                round_trip_s=link.latency_us * 1e-6,
                parameters=self._physics,
                mark_mib=math.inf if mark is None else mark * footprint,
            ),
            fate=fate,
            started_s=self.now_s,
        )
        self.transfers[transfer.id] = transfer
        self._active.append(transfer)
        self._share_links()
        self._load_stale = True
        return transfer

    def cancel(self, transfer: Transfer) -> None:
        """Stop a migration unless the guest is already being handed over, or it is over.

        Raises
        ------
        PermanentError
            If it was switched to post-copy.
        """
        if not transfer.over and transfer.course.phase in SWITCHED:
            vm_id = self.inventory.vms[transfer.vm_idx].id
            raise PermanentError(
                f"VM {vm_id!r} is in post-copy: its migration cannot be cancelled", vm_id=vm_id
            )
        if not transfer.over and transfer.course.phase not in PAUSED:
            self._end(transfer, failure="cancelled", temporary=True)

    def switch_to_post_copy(self, transfer: Transfer) -> None:
        """Hand the guest over now and send the rest of its memory after it.

        Raises
        ------
        TemporaryError
            If nothing has been sent yet.
        """
        if transfer.over:
            return
        if transfer.course.phase is Phase.SETUP:
            vm_id = self.inventory.vms[transfer.vm_idx].id
            raise TemporaryError(
                f"nothing of VM {vm_id!r} has been sent yet", delay_s=BUSY_DELAY_S, vm_id=vm_id
            )
        transfer.course.switch()
        self._share_links()
        self._load_stale = True

    def start_vm(self, vm_id: VmId, host_id: HostId) -> None:
        """Start a VM that has no host.

        Raises
        ------
        TemporaryError, StaleClusterError
            As :meth:`executor.drivers.base.Driver.start_vm` promises.
        """
        v, h = self._require_known(vm_id, host_id)
        if self.inventory.host_of[v] != NOWHERE:
            there = self.inventory.hosts[int(self.inventory.host_of[v])].id
            raise StaleClusterError(
                f"VM {vm_id!r} is to be started on {host_id!r} but is on {there!r}",
                vm_id=vm_id,
                host_id=host_id,
            )
        self._require_reachable(vm_id, h)
        self._require_room(v, h)
        self._judge(_start_step(vm_id, host_id))
        self.inventory.set_life(v, Life.RUNNING)
        self.inventory.place(v, h)
        self._unplaced.discard(v)
        self._load_stale = True

    def _judge(self, step: Step) -> None:
        cluster = self.inventory.snapshot(self.instant())
        self.account.count_violations(added_violations(cluster, self.steps_under_way(), step))

    def _continue(self, transfer: Transfer) -> None:
        """Take a migration past the event whose time has come."""
        course = transfer.course
        if transfer.stalled_until_s is not None:
            transfer.stalled_until_s = None
            self._share_links()
        elif course.at_mark():
            course.mark_mib = math.inf
            if transfer.fate.fails_at_fraction is not None:
                self._end(
                    transfer,
                    failure="the connection between both ends was lost"
                    if not transfer.fate.failure_is_permanent
                    else "the destination cannot run this VM",
                    temporary=not transfer.fate.failure_is_permanent,
                )
            else:
                transfer.stalled_until_s = self.now_s + transfer.fate.stall_s
                self._share_links()
        elif course.end_phase():
            self._load_stale = True
            if course.phase is Phase.OVER:
                self._end(transfer)
            else:
                self._share_links()
        else:
            transfer.due_s = self.now_s + course.seconds_to_event()

    def _end(self, transfer: Transfer, *, failure: str = "", temporary: bool = False) -> None:
        transfer.ended_s = self.now_s
        transfer.due_s = math.inf
        transfer.failure = failure
        transfer.temporary = temporary
        transfer.course.set_rate(0.0)
        self._active.remove(transfer)
        if not failure:
            self.inventory.place(transfer.vm_idx, transfer.destination_idx)
        self.account.count_migration(
            completed=not failure,
            sent_mib=transfer.course.sent_mib,
            downtime_s=transfer.course.downtime_s,
        )
        self._share_links()
        self._load_stale = True

    def _share_links(self) -> None:
        """Share the links anew among the migrations that send."""
        sending = [t for t in self._active if t.course.phase in SENDING]
        rates = max_min_rates(
            [
                Flow(
                    source_idx=t.source_idx,
                    destination_idx=t.destination_idx,
                    cap_mib_per_s=0.0 if t.stalled_until_s is not None else t.cap_mib_per_s,
                )
                for t in sending
            ],
            [
                host.migration_bandwidth_mib_per_s * self._slowed.get(h, (1.0, 0.0))[0]
                for h, host in enumerate(self.inventory.hosts)
            ],
        )
        for transfer, rate in zip(sending, rates, strict=True):
            transfer.course.set_rate(rate)
            transfer.course.begin_sending()
        for transfer in self._active:
            until_s = self.now_s + transfer.course.seconds_to_event()
            if transfer.stalled_until_s is not None:
                until_s = min(until_s, transfer.stalled_until_s)
            transfer.due_s = until_s

    # Incidents and refusals -----------------------------------------------------------------

    def _strike(self, incident: Incident) -> None:
        inventory = self.inventory
        if incident.kind in OF_HOSTS:
            self._strike_host(incident)
            return
        assert incident.vm_id is not None
        v = inventory.vm_idx[incident.vm_id]
        if inventory.life[v] == Life.ABSENT:
            return
        if incident.kind is IncidentKind.VM_MOVED:
            assert incident.host_id is not None
            self._move_by_others(v, inventory.host_idx[incident.host_id])
        else:
            gone = incident.kind is IncidentKind.VM_VANISHES
            self._overruled[v] = Life.ABSENT if gone else Life.STOPPED
            self._set_life(v, self._overruled[v])

    def _strike_host(self, incident: Incident) -> None:
        assert incident.host_id is not None
        h = self.inventory.host_idx[incident.host_id]
        until_s = self.now_s + incident.duration_s
        if incident.kind is IncidentKind.LINK_SLOWED:
            self._slowed[h] = incident.fraction, until_s
            self._share_links()
            return
        self.inventory.unreachable.add(h)
        self._reachable_again[h] = max(until_s, self._reachable_again.get(h, 0.0))
        if incident.kind is IncidentKind.HOST_DAEMON_DIES:
            for transfer in list(self._active):
                taken_back = transfer.course.phase not in PAUSED | SWITCHED
                if taken_back and h in (transfer.source_idx, transfer.destination_idx):
                    failure = f"the daemon of host {incident.host_id!r} died"
                    self._end(transfer, failure=failure, temporary=True)

    def _move_by_others(self, v: int, h: int) -> None:
        inventory = self.inventory
        free = inventory.runs(v) and self.under_way(v) is None and inventory.host_of[v] != h
        if free and inventory.has_room(v, h, self._incoming(h)):
            inventory.place(v, h)
            self._load_stale = True

    def _incoming(self, h: int) -> Iterator[int]:
        return (t.vm_idx for t in self._active if t.destination_idx == h)

    def _require_known(self, vm_id: VmId, host_id: HostId) -> tuple[int, int]:
        v = self.inventory.vm_idx.get(vm_id)
        if v is None or self.inventory.life[v] == Life.ABSENT:
            raise StaleClusterError(f"VM {vm_id!r} does not exist", vm_id=vm_id)
        h = self.inventory.host_idx.get(host_id)
        if h is None:
            raise StaleClusterError(
                f"host {host_id!r} does not exist", vm_id=vm_id, host_id=host_id
            )
        return v, h

    def _require_startable(
        self, vm_id: VmId, destination_id: HostId, bandwidth_mib_per_s: int
    ) -> tuple[int, int]:
        """Return the positions of a VM and its destination if a migration may begin."""
        if bandwidth_mib_per_s < 1:
            raise InvalidInputError(
                f"VM {vm_id!r}: expected at least 1 MiB/s, got {bandwidth_mib_per_s}",
                path="bandwidth_mib_per_s",
            )
        v, h = self._require_known(vm_id, destination_id)
        inventory = self.inventory
        source = int(inventory.host_of[v])
        if source in (NOWHERE, h):
            where = "runs nowhere" if source == NOWHERE else f"is already on {destination_id!r}"
            raise StaleClusterError(f"VM {vm_id!r} {where}", vm_id=vm_id, host_id=destination_id)
        vm = inventory.live_vm(v)
        if not vm.migratable:
            raise PermanentError(
                f"VM {vm_id!r} cannot be migrated: {vm.not_migratable_reason}",
                vm_id=vm_id,
                host_id=destination_id,
            )
        for end in (source, h):
            self._require_reachable(vm_id, end)
        if self.under_way(v) is not None:
            raise TemporaryError(
                f"VM {vm_id!r} is already being migrated", delay_s=BUSY_DELAY_S, vm_id=vm_id
            )
        self._require_room(v, h)
        return v, h

    def _require_reachable(self, vm_id: VmId, h: int) -> None:
        if h in self.inventory.unreachable:
            host_id = self.inventory.hosts[h].id
            raise TemporaryError(
                f"host {host_id!r} cannot be reached",
                delay_s=BUSY_DELAY_S,
                vm_id=vm_id,
                host_id=host_id,
            )

    def _require_room(self, v: int, h: int) -> None:
        if not self.inventory.has_room(v, h, self._incoming(h)):
            vm_id, host_id = self.inventory.vms[v].id, self.inventory.hosts[h].id
            left = self.inventory.memory_left_mib(h, self._incoming(h))
            raise TemporaryError(
                f"host {host_id!r} has {left} MiB left, too little for VM {vm_id!r}",
                delay_s=BUSY_DELAY_S,
                vm_id=vm_id,
                host_id=host_id,
            )


_ENDS = {Life.STOPPED: "shut down", Life.ABSENT: "deleted"}


def _mark(fate: Fate) -> float | None:
    """Return the share of the memory at which the fate strikes, if it does."""
    if fate.fails_at_fraction is not None:
        return fate.fails_at_fraction
    return fate.stalls_at_fraction


def _start_step(vm_id: VmId, host_id: HostId) -> Step:
    return Step(
        kind=StepKind.START,
        vm_id=vm_id,
        source_id=None,
        destination_id=host_id,
        start_ms=0,
        end_ms=1,
    )
