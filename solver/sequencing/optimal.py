"""The best schedule of a small plan, by CP-SAT.

``schedule`` makes a schedule by rules; here the same legs are given the best times and link shares
that can be found in bounded work, and the better of both is kept. How CP-SAT is spoken to is the
business of ``solver.cpsat.intervals``.

Capacities and rules that bound the VMs on a host become amounts that are held in time. What other
rules ask for depends on where many VMs are at once: their VMs keep the order of events that the
list schedule gave them, which is known to be safe.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters
from solver.domain.units import VmId
from solver.sequencing.counts import Crowding
from solver.sequencing.state import Occupancy
from solver.sequencing.timed import TimedLeg, merit, narrowest_link, weights

if TYPE_CHECKING:
    from solver.cpsat.intervals import Holding, Limits

MAX_LEGS: Final = 16
"""Largest plan that is scheduled so."""

WORK_LIMIT: Final = 0.03
"""Deterministic seconds of CP-SAT; models this small take about ten times as many wall seconds."""

SHARES: Final = (1, 2, 3, 4)
"""A leg may have all of its narrowest link, half of it, a third or a quarter."""

LEAST_PATIENCE_S: Final = 0.02
"""With less time than this, building the model would use it up."""

WORTH_TRYING: Final = 1.01
"""A list schedule within one per cent of the bound is left as it is."""


def improved(
    cluster: Cluster,
    start: Occupancy,
    timed: Sequence[TimedLeg],
    parameters: MigrationParameters,
    *,
    patience_s: float = math.inf,
) -> tuple[TimedLeg, ...]:
    """Return a schedule of the same legs that is better, or the same one.

    Parameters
    ----------
    start
        Occupancy of the cluster's placement.
    timed
        A safe schedule, by start and then as legs were dispatched.
    patience_s
        Wall seconds that it may take, besides the bound on its work.
    """
    if not 1 < len(timed) <= MAX_LEGS or patience_s < LEAST_PATIENCE_S:
        return tuple(timed)
    model = _Plan(cluster, start, timed, parameters)
    if model.list_is_good_enough():
        return tuple(timed)
    found = model.solve(patience_s)
    return min(tuple(timed), found, key=merit)


class _Plan:
    """One small plan as jobs."""

    def __init__(
        self,
        cluster: Cluster,
        start: Occupancy,
        timed: Sequence[TimedLeg],
        parameters: MigrationParameters,
    ) -> None:
        self._cluster = cluster
        self._start = start
        self._timed = timed
        self._legs = [item.leg for item in timed]
        self._weights = weights(self._legs)
        self._ways = [self._ways_of(item, parameters) for item in timed]
        self._by_vm: dict[VmId, list[int]] = defaultdict(list)
        for i, leg in enumerate(self._legs):
            self._by_vm[leg.move.vm.id].append(i)
        self._migrations: list[int] = []
        self._leaving: dict[int, list[int]] = defaultdict(list)
        self._entering: dict[int, list[int]] = defaultdict(list)
        for i, leg in enumerate(self._legs):
            if leg.source is not None:
                self._migrations.append(i)
                self._leaving[leg.source].append(i)
                self._entering[leg.destination].append(i)

    def _ways_of(self, item: TimedLeg, parameters: MigrationParameters) -> list[TimedLeg]:
        """Return the ways to carry out a leg, as if they began now; that of the list first."""
        leg = item.leg
        ways = [
            TimedLeg(
                leg=leg,
                start_ms=0,
                end_ms=item.end_ms - item.start_ms,
                bandwidth_mib_per_s=item.bandwidth_mib_per_s,
                transferred_mib=item.transferred_mib,
                downtime_ms=item.downtime_ms,
            )
        ]
        if leg.source is None:
            return ways
        narrowest = narrowest_link(self._cluster, leg.source, leg.destination)
        known = {item.bandwidth_mib_per_s}
        for share in (narrowest // parts for parts in SHARES if narrowest >= parts):
            if share not in known:
                known.add(share)
                ways.append(TimedLeg.of_migration(leg, 0, share, parameters))
        return ways

    def list_is_good_enough(self) -> bool:
        """Whether a lower bound shows that little can be gained."""
        now = merit(self._timed)
        least_end = [0] * len(self._legs)
        for chain in self._by_vm.values():
            end = 0
            for i in chain:
                end += min(way.end_ms for way in self._ways[i])
                least_end[i] = end
        by_source, by_destination = self._leaving, self._entering
        weighted = float(sum(w * end for w, end in zip(self._weights, least_end, strict=True)))
        makespan = float(max(least_end))
        slots = self._cluster.budget.max_parallel
        area = [min(way.end_ms for way in ways) for ways in self._ways]
        sent = [min(way.end_ms * way.bandwidth_mib_per_s for way in ways) for ways in self._ways]
        links = [host.migration_bandwidth_mib_per_s for host in self._cluster.hosts]
        for machines in (
            [(self._migrations, slots, area)],
            [(legs, links[h], sent) for h, legs in by_source.items()],
            [(legs, links[h], sent) for h, legs in by_destination.items()],
        ):
            weighted = max(weighted, sum(self._least_weighted(*m) for m in machines))
            for legs, capacity, areas in machines:
                makespan = max(makespan, sum(areas[i] for i in legs) / capacity)
        if now.weighted_end > WORTH_TRYING * weighted:
            return False
        return now.weighted_end > 0 or now.makespan_ms <= WORTH_TRYING * makespan

    def _least_weighted(self, legs: Iterable[int], capacity: int, areas: Sequence[int]) -> float:
        """Return the least weighted sum of ends if legs only shared one machine, as a fluid.

        Serving them one by one, most weight per area first, is best then (Smith's rule).
        """
        total = end = 0.0
        weighty = [i for i in legs if self._weights[i]]
        for i in sorted(weighty, key=lambda i: areas[i] / self._weights[i]):
            end += areas[i] / capacity
            total += self._weights[i] * end
        return total

    def solve(self, limit_s: float) -> tuple[TimedLeg, ...]:
        """Return the best schedule found; the list schedule if none is."""
        # Here, because the library takes a second to load, which only those who need it pay.
        from solver.cpsat.intervals import Job, Way, schedule_jobs

        jobs = [
            Job(
                ways=tuple(Way(duration=way.end_ms, rate=way.bandwidth_mib_per_s) for way in ways),
                weight=weight,
                start=item.start_ms,
                way=0,
            )
            for item, ways, weight in zip(self._timed, self._ways, self._weights, strict=True)
        ]
        horizon = 2 * max(item.end_ms for item in self._timed)
        answer = schedule_jobs(
            jobs, self._limits(), horizon=horizon, work_limit=WORK_LIMIT, limit_s=limit_s
        )
        if answer is None:
            return tuple(self._timed)
        found = [
            TimedLeg(
                leg=way.leg,
                start_ms=start,
                end_ms=start + way.end_ms,
                bandwidth_mib_per_s=way.bandwidth_mib_per_s,
                transferred_mib=way.transferred_mib,
                downtime_ms=way.downtime_ms,
            )
            for way, (start, _) in (
                (ways[chosen[1]], chosen) for ways, chosen in zip(self._ways, answer, strict=True)
            )
        ]
        return tuple(sorted(found, key=lambda item: item.start_ms))

    def _limits(self) -> Limits:
        from solver.cpsat.intervals import Limits

        limits = Limits(parallel=[(self._cluster.budget.max_parallel, self._migrations)])
        self._add_links(limits)
        limits.follows = [pair for chain in self._by_vm.values() for pair in pairwise(chain)]
        holdings = self._holdings()
        self._add_room(limits, holdings)
        self._add_rules(limits, holdings)
        return limits

    def _add_links(self, limits: Limits) -> None:
        budget = self._cluster.budget
        leaving, entering = self._leaving, self._entering
        for legs in leaving.values():
            limits.parallel.append((budget.max_parallel_out_per_host, legs))
        for legs in entering.values():
            limits.parallel.append((budget.max_parallel_in_per_host, legs))
        for h, host in enumerate(self._cluster.hosts):
            some = leaving.get(h, []) + entering.get(h, [])
            if some:
                limits.rates.append((host.migration_bandwidth_mib_per_s, some))

    def _holdings(self) -> dict[int, list[tuple[VmId, Holding]]]:
        """Return, by host, which VM of the plan holds it from when to when, one unit each."""
        from solver.cpsat.intervals import Holding

        found: dict[int, list[tuple[VmId, Holding]]] = defaultdict(list)
        for vm_id, chain in self._by_vm.items():
            source = self._legs[chain[0]].source
            if source is not None:
                found[source].append((vm_id, Holding(amount=1, since=None, until=chain[0])))
            for i, then in zip(chain, [*chain[1:], None], strict=True):
                host = self._legs[i].destination
                found[host].append((vm_id, Holding(amount=1, since=i, until=then)))
        return found

    def _add_room(self, limits: Limits, holdings: dict[int, list[tuple[VmId, Holding]]]) -> None:
        """Let no host hold more than it may of anything."""
        from solver.cpsat.intervals import Holding

        for host, held in holdings.items():
            by_slot: dict[int, list[Holding]] = defaultdict(list)
            free = [
                most - used
                for most, used in zip(
                    self._start.allowed(host), self._start.load(host), strict=True
                )
            ]
            for vm_id, span in held:
                vm = self._legs[self._by_vm[vm_id][0]].move.vm
                for slot, amount in self._start.needs(vm, host):
                    by_slot[slot].append(Holding(amount=amount, since=span.since, until=span.until))
                    if span.since is None:
                        free[slot] += amount
            for slot, spans in by_slot.items():
                if sum(span.amount for span in spans) > free[slot]:
                    limits.room.append((free[slot], spans))

    def _add_rules(self, limits: Limits, holdings: dict[int, list[tuple[VmId, Holding]]]) -> None:
        """Let no rule be broken beyond what it was at the start."""
        concerned: dict[int, set[VmId]] = defaultdict(set)
        for chain in self._by_vm.values():
            vm = self._legs[chain[0]].move.vm
            for rule, _ in self._start.rules_of(vm):
                concerned[rule].add(vm.id)
        for rule, vm_ids in sorted(concerned.items()):
            count = self._start.count(rule)
            if isinstance(count, Crowding) and count.local:
                self._add_crowding(limits, holdings, count, vm_ids)
            elif sum(len(self._by_vm[vm_id]) for vm_id in vm_ids) > 1:
                limits.in_order.append(self._events(vm_ids))

    def _add_crowding(
        self,
        limits: Limits,
        holdings: dict[int, list[tuple[VmId, Holding]]],
        count: Crowding,
        vm_ids: set[VmId],
    ) -> None:
        for host, held in holdings.items():
            spans = [span for vm_id, span in held if vm_id in vm_ids]
            free = count.free(host)
            if spans and free is not None:
                free += sum(span.since is None for span in spans)
                limits.room.append((free, spans))

    def _events(self, vm_ids: set[VmId]) -> list[tuple[int, bool]]:
        """Return the starts and ends of some VMs' legs in the order of the list schedule."""
        events = []
        for i, item in enumerate(self._timed):
            if item.leg.move.vm.id in vm_ids:
                events += [(item.start_ms, 1, i), (item.end_ms, 0, i)]
        return [(i, not is_start) for _, is_start, i in sorted(events)]
