"""When each leg starts: a streaming list schedule under caps, bandwidth and room.

Event driven and without barriers: whenever a leg ends, its slot goes at once to the most urgent
leg that fits. Which legs there are, and that some order of them works, comes from ``cycles``.

Link shares
-----------
A host's migration bandwidth is shared by what enters and what leaves it. Either every leg waits
until its narrowest link is free and has it whole, or shares are even: a leg that starts gets the
smallest of the link's bandwidth and, at either end, the free bandwidth divided by the legs
that may still join it there (as many as are waiting, within the caps). So a lone migration has the
whole link, several share evenly, shares never change while a migration lasts, and they never add
up to more than the host has. A share cannot be taken back, so a host that is poor in bandwidth
runs fewer legs at once than its caps allow.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Sequence

from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters
from solver.domain.units import VmId
from solver.sequencing.state import Leg, Occupancy
from solver.sequencing.timed import TimedLeg, merit, narrowest_link


def schedule(
    cluster: Cluster, start: Occupancy, legs: Sequence[Leg], parameters: MigrationParameters
) -> tuple[TimedLeg, ...]:
    """Give every leg its time: the best of a few schedules by rules.

    Legs start as soon as they fit, by urgency or by urgency per MiB, with their whole link or with
    even shares; the best by ``merit`` is returned. Should that lead into a corner (a VM took
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
    narrowest = [
        0 if leg.source is None else narrowest_link(cluster, leg.source, leg.destination)
        for leg in legs
    ]
    for in_order in (False, True):
        found = []
        for whole_links, short_first in ((True, True), (True, False), (False, True)):
            run = _Run(
                cluster,
                start.copy(),
                legs,
                parameters,
                narrowest,
                in_order=in_order,
                whole_links=whole_links,
                short_first=short_first,
            )
            timed = run.run()
            if len(timed) < len(legs):
                break
            found.append(tuple(timed))
        else:
            return min(found, key=merit)
    raise AssertionError("legs in a feasible order can all be started")


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
        narrowest: Sequence[int],
        *,
        in_order: bool,
        whole_links: bool,
        short_first: bool,
    ) -> None:
        self._narrowest = narrowest
        self._least_mib_per_s = narrowest if whole_links else [1] * len(legs)
        self._whole_links = whole_links
        self._least_of_all = min(self._least_mib_per_s, default=0)
        self._rank = _ranks(legs, short_first=short_first)
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
        self._ready_out: dict[int, set[int]] = defaultdict(set)  # Their VMs are at their source.
        self._ready_in: dict[int, list[tuple[int, int]]] = defaultdict(list)  # By rank.
        self._ready_starts: dict[int, set[int]] = defaultdict(set)
        self._by_vm: dict[VmId, list[int]] = defaultdict(list)
        self._by_unit: dict[int, list[int]] = defaultdict(list)
        self._at: dict[VmId, int] = {}
        for i, leg in enumerate(legs):
            vm_id = leg.move.vm.id
            self._at[vm_id] = _NOWHERE if leg.move.source is None else leg.move.source
            self._into[leg.destination].append(i)
            self._by_vm[vm_id].append(i)
            self._by_unit[leg.move.unit].append(i)
            if leg.source == leg.move.source:
                self._ready(i)
        self._begun_units: set[int] = set()
        self._by_rule: dict[int, list[int]] = defaultdict(list)  # Wide ones; descending.
        if in_order:
            for i in reversed(range(len(legs))):
                for rule in state.wide_rules(legs[i].move.vm):
                    self._by_rule[rule].append(i)
        self._clear: dict[int, set[int]] = {}  # By host, until something changes there.
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

    def _queue(self, i: int) -> bool:
        """Have a leg looked at if it fits, those of a group that is torn apart now first.

        One that does not fit is dropped: whatever frees what it lacks will queue it again.
        """
        if i not in self._waiting or not self._fits(i):
            return False
        leg = self._legs[i]
        key = (leg.move.unit not in self._begun_units, self._rank[i])
        if self._queued[i] != key:
            self._queued[i] = key
            heapq.heappush(self._starts if leg.source is None else self._moves, (key, i))
        return True

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
            if i not in self._waiting:
                continue
            if self._fits(i) and self._may_go(i):
                self._begin(i)
            else:
                self._queue_into(self._legs[i].destination)  # The next may go instead.

    def _fits(self, i: int) -> bool:
        """Whether place, bandwidth, caps per host, room and rules allow a leg now."""
        leg = self._legs[i]
        source, destination = leg.source, leg.destination
        if self._at[leg.move.vm.id] != (_NOWHERE if source is None else source):
            return False
        if source is not None and (
            self._free_mib_per_s[source] < self._least_mib_per_s[i]
            or self._free_mib_per_s[destination] < self._least_mib_per_s[i]
            or self._running_out[source] >= self._budget.max_parallel_out_per_host
            or self._running_in[destination] >= self._budget.max_parallel_in_per_host
        ):
            return False
        return self._state.admits(leg.move.vm, source, destination)

    def _keeps_clear(self, i: int) -> bool:
        """Whether a leg leaves alone the room and the rules that earlier legs wait for."""
        leg = self._legs[i]
        return i in self._clear_of(leg.destination) and all(
            self._first_of(rule) >= i for rule in self._state.wide_rules(leg.move.vm)
        )

    def _clear_of(self, host: int) -> set[int]:
        """Return the legs into a host that fit beside all earlier ones, sharing no rule."""
        clear = self._clear.get(host)
        if clear is None:
            clear = self._clear[host] = self._find_clear(host)
        return clear

    def _find_clear(self, host: int) -> set[int]:
        load, allowed = self._state.load(host), self._state.allowed(host)
        free = [most - used for most, used in zip(allowed, load, strict=True)]
        clear: set[int] = set()
        rules: set[int] = set()
        for i in self._into[host]:
            vm = self._legs[i].move.vm
            for r, amount in self._state.needs(vm, host):
                free[r] -= amount
                if free[r] < 0:
                    return clear
            mine = {rule for rule, _ in self._state.rules_of(vm)}
            if rules.isdisjoint(mine):
                clear.add(i)
            rules |= mine
        return clear

    def _first_of(self, rule: int) -> int:
        """Return the first waiting leg of a rule's VMs; past the last one if none waits."""
        legs = self._by_rule[rule]
        while legs and legs[-1] not in self._waiting:
            legs.pop()
        return legs[-1] if legs else len(self._legs)

    def _queue_released(self, leg: Leg) -> None:
        """Queue the legs of VMs that a rule may let in now that another has moved."""
        for vm_id in self._state.released(leg.move.vm):
            self._queue_all(j for j in self._by_vm.get(vm_id, ()) if j in self._waiting)

    def _begin(self, i: int) -> None:
        """Start a leg that fits."""
        leg = self._legs[i]
        if leg.source is None:
            self._start(i, TimedLeg.of_start(leg, self._now_ms), 0)
            return
        share = self._narrowest[i] if self._whole_links else self._share(i, leg.source)
        timed = TimedLeg.of_migration(leg, self._now_ms, share, self._parameters)
        self._running += 1
        self._running_out[leg.source] += 1
        self._running_in[leg.destination] += 1
        self._ready_out[leg.source].remove(i)
        for end in (leg.source, leg.destination):
            self._free_mib_per_s[end] -= share
        self._start(i, timed, share)

    def _share(self, i: int, source: int) -> int:
        """Return the even share of a migration that starts now."""
        free = {h: self._free_mib_per_s[h] for h in (source, self._legs[i].destination)}
        fair = min(mib // self._may_join(h) for h, mib in free.items())
        return min(self._narrowest[i], max(1, fair), *free.values())

    def _may_join(self, host: int) -> int:
        """Return how many legs whose turn has come the caps let join those under way on a host."""
        budget = self._budget
        leaving = min(
            len(self._ready_out[host]), budget.max_parallel_out_per_host - self._running_out[host]
        )
        entering = min(
            len(self._ready_in[host]), budget.max_parallel_in_per_host - self._running_in[host]
        )
        here = self._running_in[host] + self._running_out[host]
        return max(1, min(leaving + entering, budget.max_parallel - here))

    def _start(self, i: int, timed: TimedLeg, share: int) -> None:
        leg = timed.leg
        self._waiting.remove(i)
        self._into[leg.destination].remove(i)
        if leg.source is None:
            self._ready_starts[leg.destination].remove(i)
        else:
            self._ready_in[leg.destination].remove((self._rank[i], i))
        self._clear.pop(leg.destination, None)
        self._at[leg.move.vm.id] = _UNDER_WAY
        self._state.begin(leg.move.vm, leg.source, leg.destination)
        self._timed.append(timed)
        heapq.heappush(self._ends, (timed.end_ms, i, share))
        if leg.move.unit not in self._begun_units:
            self._begun_units.add(leg.move.unit)
            self._queue_all(self._by_unit[leg.move.unit])
        if leg.source is None:
            self._queue_released(leg)
        if self._in_order:
            # What this leg had claimed is free to be judged anew.
            self._queue_into(leg.destination)
            for rule in self._state.wide_rules(leg.move.vm):
                self._queue(self._first_of(rule))

    def _finish(self, i: int, share: int) -> None:
        """Free what a leg held and queue whatever may have waited for it."""
        leg = self._legs[i]
        self._at[leg.move.vm.id] = leg.destination
        if leg.source is None:
            return
        self._state.end(leg.move.vm, leg.source, leg.destination)
        self._clear.pop(leg.source, None)
        self._running -= 1
        self._running_out[leg.source] -= 1
        self._running_in[leg.destination] -= 1
        for end in (leg.source, leg.destination):
            self._free_mib_per_s[end] += share
        for j in self._by_vm[leg.move.vm.id]:
            if j in self._waiting:
                self._ready(j)
        # Only now, with all of it free: a leg that lacks anything is not looked at again.
        for end in (leg.source, leg.destination):
            if self._running_out[end] < self._budget.max_parallel_out_per_host:
                self._queue_all(self._ready_out[end])
            self._queue_into(end)
        self._queue_released(leg)

    def _ready(self, i: int) -> None:
        """Note that the VM of a leg is where the leg begins."""
        leg = self._legs[i]
        if leg.source is None:
            self._ready_starts[leg.destination].add(i)
        else:
            self._ready_out[leg.source].add(i)
            insort(self._ready_in[leg.destination], (self._rank[i], i))

    def _queue_into(self, host: int) -> None:
        """Queue as many of the legs into a host as may start now, those that rank first."""
        for i in self._ready_starts[host]:
            if self._may_go(i):
                self._queue(i)
        slots = self._budget.max_parallel_in_per_host - self._running_in[host]
        if self._free_mib_per_s[host] < self._least_of_all:
            return
        legs = self._ready_in[host]
        if self._in_order:
            legs = sorted((self._rank[i], i) for i in self._clear_of(host))
        for _, i in legs:
            if slots <= 0:
                return
            if self._legs[i].source is not None and self._may_go(i) and self._queue(i):
                slots -= 1

    def _may_go(self, i: int) -> bool:
        """Whether the order allows a leg that fits to start now."""
        return not self._in_order or self._keeps_clear(i)

    def _queue_all(self, legs: Iterable[int]) -> None:
        for i in legs:
            self._queue(i)


def _ranks(legs: Sequence[Leg], *, short_first: bool) -> list[int]:
    """Rank legs by urgency, affinity groups together, ties by id and never by chance.

    Parameters
    ----------
    short_first
        Rank by urgency per MiB that is to be sent (Smith's rule), not by urgency alone.
    """
    most: dict[int, int] = {}
    size: dict[int, int] = {}
    names: dict[int, str] = {}
    for leg in legs:
        unit, vm = leg.move.unit, leg.move.vm
        most[unit] = max(most.get(unit, leg.urgency), leg.urgency)
        size[unit] = size.get(unit, 0) + max(1, vm.memory_footprint_mib)
        names[unit] = min(names.get(unit, vm.id), vm.id)

    def key(i: int) -> tuple[float, str, int, int, str, int]:
        move = legs[i].move
        unit = move.unit
        first = most[unit] / size[unit] if short_first else most[unit]
        return -first, names[unit], unit, -legs[i].urgency, move.vm.id, i

    ranks = [0] * len(legs)
    for rank, i in enumerate(sorted(range(len(legs)), key=key)):
        ranks[i] = rank
    return ranks
