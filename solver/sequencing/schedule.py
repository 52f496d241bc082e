"""When each leg starts: a streaming list schedule under caps, bandwidth and room.

Event driven and without barriers: whenever a leg ends, its slot goes at once to the most urgent
leg that fits. Which legs there are, and that some order of them works, comes from ``cycles``.

Link shares
-----------
A host's migration bandwidth is shared by what enters and what leaves it. A leg that starts gets
the smallest of the link's bandwidth and, at either end, the free bandwidth divided by the legs
that may still join it there (as many as are waiting, within the caps). So a lone migration has the
whole link, several share evenly, shares never change while a migration lasts, and they never add
up to more than the host has. A share cannot be taken back, so a host that is poor in bandwidth
runs fewer legs at once than its caps allow.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters, estimate
from solver.domain.units import VmId
from solver.sequencing.state import Leg, Occupancy

START_MS = 10_000
"""Nominal duration of a start: creating the domain and reaching its firmware.

Nobody waits on it but the plan's clock; starts use neither migration slots nor bandwidth.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedLeg:
    """A leg with its time, in milliseconds from the start of the plan, and its link share."""

    leg: Leg
    start_ms: int
    end_ms: int
    bandwidth_mib_per_s: int
    transferred_mib: int
    downtime_ms: int

    @classmethod
    def of_start(cls, leg: Leg, now_ms: int) -> TimedLeg:
        """Return a start that begins now."""
        return cls(
            leg=leg,
            start_ms=now_ms,
            end_ms=now_ms + START_MS,
            bandwidth_mib_per_s=0,
            transferred_mib=0,
            downtime_ms=0,
        )


def schedule(
    cluster: Cluster, start: Occupancy, legs: Sequence[Leg], parameters: MigrationParameters
) -> tuple[TimedLeg, ...]:
    """Give every leg its time.

    Legs start by urgency as soon as they fit. Should that paint the plan into a corner (a VM took
    room that another one needed first), the schedule is made again with every leg keeping clear of
    the room and the rules that legs before it in the given order wait for, which always works:
    when nothing is under way, the first waiting leg finds at least the room it had in that order.

    Parameters
    ----------
    start
        Occupancy of the cluster's placement; left as it is.
    legs
        In an order in which each fits once those before it are done.

    Returns
    -------
    tuple of TimedLeg
        All legs, by start and then as they were dispatched.
    """
    timed = _Run(cluster, start.copy(), legs, parameters, in_order=False).run()
    if len(timed) < len(legs):
        timed = _Run(cluster, start.copy(), legs, parameters, in_order=True).run()
    assert len(timed) == len(legs), "legs in a feasible order can all be started"
    return tuple(timed)


_NOWHERE = -1
_UNDER_WAY = -2


class _Run:
    """One run of the clock."""

    def __init__(
        self,
        cluster: Cluster,
        state: Occupancy,
        legs: Sequence[Leg],
        parameters: MigrationParameters,
        *,
        in_order: bool,
    ) -> None:
        self._budget = cluster.budget
        self._cluster = cluster
        self._state = state
        self._legs = legs
        self._parameters = parameters
        self._in_order = in_order
        self._now_ms = 0
        self._timed: list[TimedLeg] = []
        self._ends: list[tuple[int, int, int]] = []  # Heap of end, leg, link share.
        self._running = 0
        self._running_in = [0] * len(cluster.hosts)
        self._running_out = [0] * len(cluster.hosts)
        self._free_mib_per_s = [host.migration_bandwidth_mib_per_s for host in cluster.hosts]
        self._waiting = set(range(len(legs)))
        self._into: dict[int, list[int]] = defaultdict(list)  # Ascending.
        self._out_of: dict[int, set[int]] = defaultdict(set)
        self._migrations_into = [0] * len(cluster.hosts)
        self._by_vm: dict[VmId, list[int]] = defaultdict(list)
        self._by_unit: dict[int, list[int]] = defaultdict(list)
        self._at: dict[VmId, int] = {}
        for i, leg in enumerate(legs):
            vm_id = leg.move.vm.id
            self._at[vm_id] = _NOWHERE if leg.move.source is None else leg.move.source
            self._into[leg.destination].append(i)
            self._by_vm[vm_id].append(i)
            self._by_unit[leg.move.unit].append(i)
            if leg.source is not None:
                self._out_of[leg.source].add(i)
                self._migrations_into[leg.destination] += 1
        self._begun_units: set[int] = set()
        self._rank = _ranks(legs)
        self._moves: list[tuple[tuple[bool, int], int]] = []
        self._starts: list[tuple[tuple[bool, int], int]] = []
        self._queued: list[tuple[bool, int] | None] = [None] * len(legs)
        for i in range(len(legs)):
            self._queue(i)

    def run(self) -> list[TimedLeg]:
        """Return the legs that could be started, with their times."""
        self._dispatch()
        while self._ends:
            self._now_ms = self._ends[0][0]
            while self._ends and self._ends[0][0] == self._now_ms:
                _, i, share = heapq.heappop(self._ends)
                self._finish(i, share)
            self._dispatch()
        return self._timed

    def _queue(self, i: int) -> None:
        """Have a leg looked at if it fits, those of a group that is torn apart now first.

        One that does not fit is dropped: whatever frees what it lacks will queue it again.
        """
        if i not in self._waiting or not self._fits(i):
            return
        leg = self._legs[i]
        key = (leg.move.unit not in self._begun_units, self._rank[i])
        if self._queued[i] != key:
            self._queued[i] = key
            heapq.heappush(self._starts if leg.source is None else self._moves, (key, i))

    def _dispatch(self) -> None:
        """Start what fits, the most urgent first, until no slot or no such leg is left."""
        while True:
            open_heaps = [self._starts] if self._starts else []
            if self._moves and self._running < self._budget.max_parallel:
                open_heaps.append(self._moves)
            if not open_heaps:
                return
            key, i = heapq.heappop(min(open_heaps, key=lambda heap: heap[0]))
            if self._queued[i] != key:
                continue  # Queued again under a better key.
            self._queued[i] = None
            if i not in self._waiting or not self._fits(i):
                continue
            if not self._in_order or self._keeps_clear(i):
                self._try_start(i)

    def _fits(self, i: int) -> bool:
        """Whether place, caps per host, room and anti-affinity allow a leg now."""
        leg = self._legs[i]
        vm = leg.move.vm
        if self._at[vm.id] != (_NOWHERE if leg.source is None else leg.source):
            return False
        if leg.source is not None and (
            self._running_out[leg.source] >= self._budget.max_parallel_out_per_host
            or self._running_in[leg.destination] >= self._budget.max_parallel_in_per_host
        ):
            return False
        return self._state.admits(vm, leg.destination)

    def _keeps_clear(self, i: int) -> bool:
        """Whether a leg leaves alone the room and the rules that earlier legs wait for."""
        leg = self._legs[i]
        load, allowed = self._state.load[leg.destination], self._state.allowed[leg.destination]
        free = [most - used for most, used in zip(allowed, load, strict=True)]
        for j in self._into[leg.destination]:
            for r, amount in self._state.needs(self._legs[j].move.vm, leg.destination):
                free[r] -= amount
                if free[r] < 0:
                    return False
            if j == i:
                break
        return not any(j < i for j in self._waiting_mates(leg))

    def _waiting_mates(self, leg: Leg) -> Iterator[int]:
        """Yield the waiting legs of VMs under an anti-affinity rule of this leg's VM."""
        for rule in self._state.apart_from(leg.move.vm):
            for vm_id in self._state.members(rule):
                yield from (j for j in self._by_vm.get(vm_id, ()) if j in self._waiting)

    def _try_start(self, i: int) -> None:
        """Start a leg unless there is no bandwidth left for it."""
        leg = self._legs[i]
        if leg.source is None:
            self._start(i, TimedLeg.of_start(leg, self._now_ms), 0)
            return
        share = self._share(leg, leg.source)
        if share < 1:
            return
        course = estimate(
            leg.move.vm.memory_footprint_mib, leg.move.vm.dirty_mib_per_s, share, self._parameters
        )
        transferred_mib = int(course.transferred_mib)
        # Parameters fitted to measurements may promise more than the share can carry.
        duration_ms = max(1, int(course.duration_ms), transferred_mib * 1000 // share)
        timed = TimedLeg(
            leg=leg,
            start_ms=self._now_ms,
            end_ms=self._now_ms + duration_ms,
            bandwidth_mib_per_s=share,
            transferred_mib=transferred_mib,
            downtime_ms=int(course.downtime_ms),
        )
        self._running += 1
        self._running_out[leg.source] += 1
        self._running_in[leg.destination] += 1
        self._migrations_into[leg.destination] -= 1
        self._out_of[leg.source].remove(i)
        for end in (leg.source, leg.destination):
            self._free_mib_per_s[end] -= share
        self._start(i, timed, share)

    def _share(self, leg: Leg, source: int) -> int:
        """Return the bandwidth granted to a migration that starts now; 0 if none is left."""
        hosts = self._cluster.hosts
        link = self._cluster.network.link(hosts[source], hosts[leg.destination])
        ends = (source, leg.destination)
        free = [self._free_mib_per_s[end] for end in ends]
        fair = [mib // self._may_join(end) for mib, end in zip(free, ends, strict=True)]
        return min(link.bandwidth_mib_per_s, max(1, min(fair)), *free)

    def _may_join(self, host: int) -> int:
        """Return how many waiting migrations the caps let join those under way on a host."""
        budget = self._budget
        leaving = min(
            len(self._out_of[host]), budget.max_parallel_out_per_host - self._running_out[host]
        )
        entering = min(
            self._migrations_into[host], budget.max_parallel_in_per_host - self._running_in[host]
        )
        here = self._running_in[host] + self._running_out[host]
        return max(1, min(leaving + entering, budget.max_parallel - here))

    def _start(self, i: int, timed: TimedLeg, share: int) -> None:
        leg = timed.leg
        self._waiting.remove(i)
        self._into[leg.destination].remove(i)
        self._at[leg.move.vm.id] = _UNDER_WAY
        self._state.enter(leg.move.vm, leg.destination)
        self._timed.append(timed)
        heapq.heappush(self._ends, (timed.end_ms, i, share))
        if leg.move.unit not in self._begun_units:
            self._begun_units.add(leg.move.unit)
            self._queue_all(self._by_unit[leg.move.unit])
        if self._in_order:
            # What this leg had claimed is free to be judged anew.
            self._queue_all((*self._into[leg.destination], *self._waiting_mates(leg)))

    def _finish(self, i: int, share: int) -> None:
        """Free what a leg held and queue whatever may have waited for it."""
        leg = self._legs[i]
        self._at[leg.move.vm.id] = leg.destination
        if leg.source is None:
            return
        self._state.leave(leg.move.vm, leg.source)
        self._running -= 1
        self._running_out[leg.source] -= 1
        self._running_in[leg.destination] -= 1
        for end in (leg.source, leg.destination):
            self._free_mib_per_s[end] += share
        # Only now, with all of it free: a leg that lacks anything is not looked at again.
        for end in (leg.source, leg.destination):
            self._queue_all((*self._out_of[end], *self._into[end]))
        self._queue_all(tuple(self._waiting_mates(leg)))

    def _queue_all(self, legs: Iterable[int]) -> None:
        for i in legs:
            self._queue(i)


def _ranks(legs: Sequence[Leg]) -> list[int]:
    """Rank legs by urgency, affinity groups together, ties by id and never by chance."""
    most: dict[int, int] = {}
    for leg in legs:
        unit = leg.move.unit
        most[unit] = max(most.get(unit, leg.urgency), leg.urgency)

    def key(i: int) -> tuple[int, str, int, int, str, int]:
        move = legs[i].move
        return -most[move.unit], names[move.unit], move.unit, -legs[i].urgency, move.vm.id, i

    names: dict[int, str] = {}
    for leg in legs:
        unit, name = leg.move.unit, leg.move.vm.id
        names[unit] = min(names.get(unit, name), name)
    ranks = [0] * len(legs)
    for rank, i in enumerate(sorted(range(len(legs)), key=key)):
        ranks[i] = rank
    return ranks
