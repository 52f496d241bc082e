"""The objective, recomputed from scratch; every figure foreswap shows comes from here.

Nothing here is shared with an engine but the prices (``weights.shortfall_prices``) and the
migration cost, both public. Engines that report another total are wrong.

The total, in whole cost units, of going from the cluster's placement to another one::

    contention   Σ hosts, resources, scenarios, steps, priorities: price · max(0, demand − capacity)
                 over all scenarios, or the worst ones (``solver.domain.tail``)
    imbalance    Σ hosts, resources, knees: price · max(0, expected demand − knee · capacity)
    stranded     Σ hosts: price · |free CPU − free memory|, in reference hosts
    moves        Σ moved VMs: the four terms of their migration cost
    disruption   VMs moved of the most-moved application group, priced
    soft rules   Σ penalties of broken soft rules
    repair       severity of broken hard rules and capacities, priced

A placement is scored as if its moves took no time; relief that comes late because moves last is
for ``plan_score``, which integrates over the schedule.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from solver.domain.check import SEVERITY_ONE, Violation, check_placement
from solver.domain.cluster import MIN_PRIORITY, VM, Cluster, Placement
from solver.domain.migration import (
    DEFAULT_MIGRATION,
    MigrationCost,
    MigrationParameters,
    migration_cost,
)
from solver.domain.plan import MoveCost
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.stranded import stranding
from solver.domain.tail import worst_ppm
from solver.domain.units import HostId, Resource, VmId
from solver.domain.weights import (
    UNITS_PER_HOST_S,
    Weights,
    objective_steps,
    reference_amounts,
    shortfall_prices,
    to_units,
)

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The objective of one placement, term by term, in whole cost units."""

    contention: int = 0
    imbalance: int = 0
    stranded: int = 0
    utilisation: int = 0
    transfer: int = 0
    downtime: int = 0
    latency: int = 0
    disruption: int = 0
    soft_rules: int = 0
    repair: int = 0
    moves: int = 0
    """Number of VMs that change host or are started; carries no cost of its own."""

    contention_by_host: dict[HostId, int] = field(default_factory=dict)
    move_costs: dict[VmId, MoveCost] = field(default_factory=dict)

    @property
    def migration(self) -> int:
        """The four terms of all moves together."""
        return self.utilisation + self.transfer + self.downtime + self.latency

    @property
    def total(self) -> int:
        """What the engines minimise."""
        return (
            self.contention
            + self.imbalance
            + self.stranded
            + self.migration
            + self.disruption
            + self.soft_rules
            + self.repair
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostContention:
    """How contended one host is.

    Parameters
    ----------
    current
        Cost of the present shortfall if it lasted one step, in cost units.
    predicted
        The part of the objective that the host carries: expected cost of shortfall over the
        horizon (in the futures that are worst for the cluster, if only those count), plus its
        share of the imbalance term.
    overload_ppm
        Probability, in parts per million, that demand exceeds capacity of any resource at any
        future step.
    """

    host_id: HostId
    current: int
    predicted: int
    overload_ppm: int

    @property
    def total(self) -> int:
        """The contention score, by which hosts are ranked and compared with the thresholds."""
        return self.current + self.predicted


def score_placement(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    placement: Placement,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
    *,
    violations: Sequence[Violation] | None = None,
    counted_ppm: Sequence[int] | None = None,
) -> Score:
    """Return the objective of going from the cluster's placement to ``placement``.

    Parameters
    ----------
    scenarios
        Demand of at least the cluster's VMs, in any order.
    placement
        Host of every VM, or ``None``.
    violations
        What ``check_placement`` finds in the placement, where that is known already.
    counted_ppm
        By which scenarios count in contention; by default as :func:`counted_in` says.

    Raises
    ------
    InvalidInputError
        If a VM has no scenario.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    hosts = host_positions(cluster, placement)
    if counted_ppm is None:
        counted_ppm = counted_in(cluster, scenarios, weights, hosts)
    by_host, _ = Contention(cluster, scenarios, weights, counted_ppm).of_all(hosts)
    per_step = by_host[:, objective_steps(scenarios)].sum(axis=1)
    moved = [
        i
        for i, vm in enumerate(cluster.vms)
        if placement.get(vm.id) is not None and placement[vm.id] != vm.host_id
    ]
    move_costs = price_moves(cluster, scenarios, weights, placement, parameters)
    if violations is None:
        violations = check_placement(cluster, placement)
    severity = sum(violation.severity_ppm for violation in violations)
    return Score(
        contention=int(per_step.sum()),
        imbalance=int(_imbalance_by_host(cluster, scenarios, weights, hosts).sum()),
        stranded=int(_stranded_by_host(cluster, scenarios, weights, hosts).sum()),
        utilisation=sum(cost.utilisation for cost in move_costs.values()),
        transfer=sum(cost.transfer for cost in move_costs.values()),
        downtime=sum(cost.downtime for cost in move_costs.values()),
        latency=sum(cost.latency for cost in move_costs.values()),
        disruption=disruption_price(weights) * _most_moved(cluster, moved),
        soft_rules=sum(
            to_units(violation.penalty_host_s) * violation.amount
            for violation in violations
            if violation.penalty_host_s is not None
        ),
        repair=severity * repair_price(weights),
        moves=len(moved),
        contention_by_host={
            host.id: int(cost) for host, cost in zip(cluster.hosts, per_step, strict=True)
        },
        move_costs=move_costs,
    )


def host_contention(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    placement: Placement,
    *,
    counted_ppm: Sequence[int] | None = None,
) -> tuple[HostContention, ...]:
    """Return the contention of every host, in the cluster's order.

    Parameters
    ----------
    counted_ppm
        By which scenarios count in what is predicted; by default as :func:`counted_in` says.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    hosts = host_positions(cluster, placement)
    if counted_ppm is None:
        counted_ppm = counted_in(cluster, scenarios, weights, hosts)
    by_step, loads = Contention(cluster, scenarios, weights, counted_ppm).of_all(hosts)
    predicted = by_step[:, objective_steps(scenarios)].sum(axis=1)
    predicted = predicted + _imbalance_by_host(cluster, scenarios, weights, hosts)
    over = loads[..., objective_steps(scenarios)] > capacity_array(cluster)[:, None, :, None]
    overload = over.any(axis=(2, 3)).astype(np.int64) @ np.array(
        scenarios.probability_ppm, dtype=np.int64
    )
    return tuple(
        HostContention(
            host_id=host.id,
            current=int(by_step[h, 0]),
            predicted=int(predicted[h]),
            overload_ppm=int(overload[h]),
        )
        for h, host in enumerate(cluster.hosts)
    )


def price_moves(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    placement: Placement,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
) -> dict[VmId, MoveCost]:
    """Return the four cost terms of every migration that leads to ``placement``.

    VMs that are started rather than migrated cost nothing here.
    """
    position = {host.id: h for h, host in enumerate(cluster.hosts)}
    vms, destinations = [], []
    for v, vm in enumerate(cluster.vms):
        target = placement.get(vm.id)
        if vm.host_id is not None and target is not None and target != vm.host_id:
            vms.append(v)
            destinations.append(position[target])
    if not vms:
        return {}
    cost = pair_costs(
        cluster, scenarios, weights, np.array(vms), np.array(destinations)[:, None], parameters
    )
    return {
        cluster.vms[v].id: MoveCost(
            utilisation=int(cost.utilisation[i, 0]),
            transfer=int(cost.transfer[i, 0]),
            downtime=int(cost.downtime[i, 0]),
            latency=int(cost.latency[i, 0]),
        )
        for i, v in enumerate(vms)
    }


def pair_costs(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    vm_idx: IntArray,
    host_idx: IntArray,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
) -> MigrationCost:
    """Return the migration cost of candidates to destinations, from the cluster's placement.

    Parameters
    ----------
    scenarios
        In the cluster's order of VMs.
    vm_idx
        Positions of the candidates, shape ``(n,)``; each runs somewhere.
    host_idx
        Positions of the destinations, shape ``(n, m)`` or ``(1, m)``.

    Returns
    -------
    MigrationCost
        Terms of shape ``(n, m)``; zero where the destination is the VM's own host.
    """
    hosts = host_positions(cluster, cluster.placement)
    expected = expected_demand(scenarios)
    capacity = capacity_array(cluster)
    loads = host_loads(expected, hosts, len(cluster.hosts))
    chosen: list[VM] = [cluster.vms[v] for v in vm_idx]
    source = hosts[vm_idx][:, None]
    destination = np.broadcast_to(host_idx, (len(vm_idx), host_idx.shape[1]))
    demand = expected[vm_idx][:, None, :]
    after_destination = _utilisation(loads[destination] + demand, capacity[destination])
    after_source = _utilisation(loads[source] - demand, capacity[source])
    links = [
        [
            cluster.network.link(cluster.hosts[source[i, 0]], cluster.hosts[h])
            for h in destination[i]
        ]
        for i in range(len(vm_idx))
    ]
    own_link = np.array([host.migration_bandwidth_mib_per_s for host in cluster.hosts])
    bandwidth = np.array([[link.bandwidth_mib_per_s for link in row] for row in links])
    bandwidth = np.minimum(bandwidth, np.minimum(own_link[source], own_link[destination]))
    cost = migration_cost(
        footprint_mib=np.array([vm.memory_footprint_mib for vm in chosen])[:, None],
        dirty_mib_per_s=np.array([vm.dirty_mib_per_s for vm in chosen])[:, None],
        cpu_demand_millicores=demand[:, :, Resource.CPU],
        priority=np.array([vm.priority for vm in chosen])[:, None],
        bandwidth_mib_per_s=bandwidth,
        latency_us=np.array([[link.latency_us for link in row] for row in links]),
        distance=np.array([[link.distance for link in row] for row in links]),
        utilisation_difference=after_destination - after_source,
        reference_cpu_millicores=reference_amounts(cluster)[Resource.CPU],
        weights=weights,
        parameters=parameters,
    )
    away = (destination != source).astype(np.int64)
    return MigrationCost(
        utilisation=cost.utilisation * away,
        transfer=cost.transfer * away,
        downtime=cost.downtime * away,
        latency=cost.latency * away,
    )


def disruption_price(weights: Weights) -> int:
    """Return the cost units per VM moved of the most-moved application group."""
    return to_units(weights.disruption)


def repair_price(weights: Weights) -> int:
    """Return the cost units per part per million of severity of what is broken."""
    return round(weights.repair_host_s * UNITS_PER_HOST_S / SEVERITY_ONE)


def imbalance_prices(cluster: Cluster, scenarios: ScenarioSet, weights: Weights) -> IntArray:
    """Return the cost units per unit of expected demand above one knee, shape ``(resources,)``."""
    seconds = max(1, scenarios.num_steps) * scenarios.step_seconds
    knees = max(1, len(weights.knees))
    return np.array(
        [
            round(UNITS_PER_HOST_S * weights.imbalance * rho * seconds / knees / reference)
            for rho, reference in zip(weights.resources, reference_amounts(cluster), strict=True)
        ],
        dtype=np.int64,
    )


def expected_demand(scenarios: ScenarioSet) -> IntArray:
    """Return the mean demand over scenarios and judged steps, shape ``(num_vms, num_resources)``.

    Rounded down to whole units.
    """
    judged = scenarios.demand[..., objective_steps(scenarios)].sum(axis=3)
    weighted = np.einsum("k,kvr->vr", np.array(scenarios.probability_ppm), judged)
    mean: IntArray = weighted // (PROBABILITY_PPM * max(1, scenarios.num_steps))
    return mean


def capacity_array(cluster: Cluster) -> IntArray:
    """Return usable capacities, shape ``(num_hosts, num_resources)``; unlimited is ``2**62``."""
    return np.array(
        [[UNLIMITED if c is None else c for c in host.usable()] for host in cluster.hosts],
        dtype=np.int64,
    )


UNLIMITED = 2**62
"""Stands for "no limit" in capacity arrays: larger than any sum of demands."""


def host_loads(per_vm: IntArray, hosts: IntArray, num_hosts: int) -> IntArray:
    """Sum a quantity of VMs over the hosts they are on.

    Parameters
    ----------
    per_vm
        Shape ``(num_vms, ...)``.
    hosts
        Position of each VM's host, ``-1`` for none, shape ``(num_vms,)``.

    Returns
    -------
    numpy.ndarray
        Shape ``(num_hosts, ...)``.
    """
    loads = np.zeros((num_hosts, *per_vm.shape[1:]), dtype=np.int64)
    placed = np.flatnonzero(hosts >= 0)
    if placed.size:
        order = placed[np.argsort(hosts[placed], kind="stable")]
        present, starts = np.unique(hosts[order], return_index=True)
        loads[present] = np.add.reduceat(per_vm[order], starts, axis=0)
    return loads


def host_positions(cluster: Cluster, placement: Placement) -> IntArray:
    """Return the position of each VM's host, ``-1`` for none, shape ``(num_vms,)``."""
    position = {host.id: h for h, host in enumerate(cluster.hosts)}
    targets: Sequence[HostId | None] = [placement.get(vm.id) for vm in cluster.vms]
    return np.array([-1 if t is None else position[t] for t in targets], dtype=np.int64)


def counted_in(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights, hosts: IntArray
) -> tuple[int, ...]:
    """Return the probabilities by which scenarios count in the contention of a placement.

    Their own, or those of the worst ones alone if ``weights.tail_share`` is below 1.

    Parameters
    ----------
    scenarios
        In the cluster's order of VMs.
    hosts
        Position of each VM's host, ``-1`` for none, shape ``(num_vms,)``.

    Returns
    -------
    tuple of int
        Parts per million, zero for scenarios that do not count.
    """
    own = scenarios.probability_ppm
    if weights.tail_share == 1.0:
        return own
    costs = Contention(cluster, scenarios, weights).by_scenario(hosts)
    # What is priced by probability, without it.
    each = costs[:, objective_steps(scenarios)].sum(axis=1) / np.array(own, dtype=np.float64)
    return worst_ppm(each, own, weights.tail_share)


class Contention:
    """The priced shortfall of hosts, with what does not depend on where VMs are computed once.

    Parameters
    ----------
    scenarios
        In the cluster's order of VMs.
    counted_ppm
        By which scenarios count, where not by their own probabilities.
    """

    def __init__(
        self,
        cluster: Cluster,
        scenarios: ScenarioSet,
        weights: Weights,
        counted_ppm: Sequence[int] | None = None,
    ) -> None:
        self._prices = shortfall_prices(cluster, scenarios, weights, counted_ppm)
        self._capacity = capacity_array(cluster)[:, None, :, None]
        # The VM first: shape (vms, scenarios, resources, steps).
        self._demand = np.moveaxis(scenarios.demand, 1, 0)
        self._priorities = np.array([vm.priority for vm in cluster.vms], dtype=np.int64)
        self._occurring = sorted(set(self._priorities.tolist()), reverse=True)

    def of_all(self, hosts: IntArray) -> tuple[IntArray, IntArray]:
        """Return cost and load of every host in a placement; shapes as in ``of_some``."""
        return self.of_some(np.arange(len(self._capacity)), np.arange(len(hosts)), hosts)

    def by_scenario(self, hosts: IntArray) -> IntArray:
        """Return what all hosts together cost, shape ``(num_scenarios, 1 + num_steps)``."""
        everyone = np.arange(len(self._capacity)), np.arange(len(hosts)), hosts
        _, num_scenarios, _, num_steps = self._demand.shape
        cost = np.zeros((num_scenarios, num_steps), dtype=np.int64)
        for load, price in self._loads(*everyone):
            shortfall = np.maximum(0, load - self._capacity)
            cost += np.einsum("hkrt,krt->kt", shortfall, price)
        return cost

    def of_some(
        self, chosen: IntArray, vms: IntArray, where: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Return what some hosts carry, and their loads.

        Parameters
        ----------
        chosen
            Positions of the hosts, shape ``(n,)``.
        vms, where
            Positions of all VMs on them, and for each the index of its host in ``chosen``;
            negative for none.

        Returns
        -------
        tuple of numpy.ndarray
            Cost, shape ``(n, 1 + num_steps)``, and load, shape
            ``(n, num_scenarios, resources, 1 + num_steps)``.
        """
        capacity = self._capacity[chosen]
        load = np.zeros((len(chosen), *self._demand.shape[1:]), dtype=np.int64)
        cost = np.zeros((len(chosen), self._demand.shape[3]), dtype=np.int64)
        for load, price in self._loads(chosen, vms, where):
            shortfall = np.maximum(0, load - capacity)
            cost += np.einsum("hkrt,krt->ht", shortfall, price)
        return cost, load

    def _loads(
        self, chosen: IntArray, vms: IntArray, where: IntArray
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Yield what each priority and all above it load hosts with, and what falling short costs.

        Parameters as of :meth:`of_some`; the load is one array, added to as it goes on.
        """
        priorities = self._priorities[vms]
        load = np.zeros((len(chosen), *self._demand.shape[1:]), dtype=np.int64)
        # Down to the next priority that occurs, every band serves the same demand.
        next_below = [*self._occurring, MIN_PRIORITY - 1][1:]
        for priority, below in zip(self._occurring, next_below, strict=True):
            placed = np.flatnonzero((priorities == priority) & (where >= 0))
            if placed.size:
                placed = placed[np.argsort(where[placed], kind="stable")]
                present, starts = np.unique(where[placed], return_index=True)
                load[present] += np.add.reduceat(self._demand[vms[placed]], starts, axis=0)
            bands = slice(below - MIN_PRIORITY + 1, priority - MIN_PRIORITY + 1)
            yield load, self._prices[..., bands].sum(axis=-1)


def _imbalance_by_host(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights, hosts: IntArray
) -> IntArray:
    loads = host_loads(expected_demand(scenarios), hosts, len(cluster.hosts))
    prices = imbalance_prices(cluster, scenarios, weights)
    capacity = capacity_array(cluster)
    cost = np.zeros(len(cluster.hosts), dtype=np.int64)
    for knee in weights.knees:
        threshold = knee_threshold(capacity, knee)
        cost += (np.maximum(0, loads - threshold) * prices).sum(axis=1)
    return cost


def _stranded_by_host(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights, hosts: IntArray
) -> IntArray:
    found = stranding(cluster, scenarios, weights, expected_demand(scenarios))
    return found.cost(host_loads(found.demand, hosts, len(cluster.hosts)))


def knee_threshold(capacity: IntArray, knee: float) -> IntArray:
    """Return the load at which use starts to count as imbalance, in whole units."""
    unlimited = capacity == UNLIMITED
    scaled = np.floor(np.where(unlimited, 0, capacity) * knee).astype(np.int64)
    threshold: IntArray = np.where(unlimited, UNLIMITED, scaled)
    return threshold


def _utilisation(loads: IntArray, capacity: IntArray) -> npt.NDArray[np.float64]:
    """Return the largest utilisation over the limited resources, shape without the last axis."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = np.where(capacity == UNLIMITED, 0.0, loads / np.maximum(capacity, 1))
    largest: npt.NDArray[np.float64] = fraction.max(axis=-1)
    return largest


def _most_moved(cluster: Cluster, moved: list[int]) -> int:
    groups = Counter(
        cluster.vms[i].group
        for i in moved
        if cluster.vms[i].group and cluster.vms[i].host_id is not None
    )
    return max(groups.values(), default=0)
