"""The compiled problem: cluster, scenarios, rules and weights as the integer arrays engines read.

Compiled once per solve; every engine reads it and none writes to it. It says *what* is allowed and
what each thing costs; how to search, and what the answer means to an operator, belong elsewhere.

Repair semantics, from ``solver.domain.check``: a hard rule or capacity binds only as "not broken
beyond what it was at the start". So a VM may always stay where it is, a host may keep its excess
but never grow it, and what is broken carries a price (``repair``) that makes mending it come first.
One restriction goes beyond the judge: nothing enters a host in maintenance, even in exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from solver.domain.check import (
    SEVERITY_BROKEN,
    SEVERITY_ONE,
    capacity_severity_ppm,
    check_placement,
)
from solver.domain.cluster import (
    MIN_PRIORITY,
    Cluster,
    HostState,
    Overcommit,
    Placement,
    reserved_amounts,
)
from solver.domain.errors import InvalidInputError
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters, migration_cost
from solver.domain.rules import Affinity, AntiAffinity, HostRule, Pin
from solver.domain.scenario import ScenarioSet
from solver.domain.score import (
    UNLIMITED,
    capacity_array,
    disruption_price,
    expected_demand,
    host_loads,
    imbalance_prices,
    knee_threshold,
    repair_price,
)
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from solver.domain.weights import (
    MAX_COST,
    UNITS_PER_HOST_S,
    Weights,
    objective_steps,
    reference_amounts,
    shortfall_prices,
    to_units,
)

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Frozen = TypeVar("Frozen", IntArray, BoolArray)

NOWHERE: Final = -1
"""Host position of a VM that runs nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """What is priced above a threshold, host by host.

    A column of the future is one resource at one step of one scenario, its threshold the capacity;
    or the mean demand of one resource, its threshold a knee of the imbalance term (priced in the
    lowest band only). Columns in which every VM needs the same are one column with their prices
    added, which is exact.

    Parameters
    ----------
    demand
        Shape ``(V, C)``, ``int64``, non-negative.
    threshold
        Shape ``(H, C)``; ``UNLIMITED`` where nothing is priced.
    prices
        Cost units per unit of ``max(0, demand of bands >= b - threshold)``, shape ``(B, C)``.
    """

    demand: IntArray
    threshold: IntArray
    prices: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRule:
    """An affinity (``together``) or anti-affinity of VMs, hard or soft.

    Its amount is what ``check`` counts: VMs away from the largest part, or VMs beyond the first on
    each host.

    Parameters
    ----------
    vms
        Positions of its VMs.
    price
        Cost units per unit of amount.
    limit
        Largest allowed amount (that of the start); ``None`` for a soft rule.
    """

    rule_id: str
    together: bool
    vms: IntArray
    price: int
    limit: int | None

    def amount(self, hosts: IntArray, num_hosts: int) -> int:
        """Return how broken the rule is when VM ``v`` is on ``hosts[v]``."""
        where = hosts[self.vms]
        counts = np.bincount(where[where >= 0], minlength=num_hosts)
        if self.together:
            return int(counts.sum() - counts.max())
        return int(np.maximum(0, counts - 1).sum())


class MoveCosts:
    """Migration costs of VMs to every host, computed when first asked for and kept.

    On a large cluster most VMs are never candidates, so the matrix is filled by rows.

    Parameters
    ----------
    price
        Returns the costs of VMs, given as positions of shape ``(n,)``, to every host, shape
        ``(n, num_hosts)``.
    """

    def __init__(self, num_vms: int, num_hosts: int, price: Callable[[IntArray], IntArray]) -> None:
        self._price = price
        self._cost = np.zeros((num_vms, num_hosts), dtype=np.int64)
        self._known = np.zeros(num_vms, dtype=np.bool_)

    def rows(self, vms: IntArray) -> IntArray:
        """Return costs of VMs to every host, shape ``(len(vms), num_hosts)``."""
        if not self._known[vms].all():
            missing = np.unique(vms[~self._known[vms]])
            self._cost[missing] = self._price(missing)
            self._known[missing] = True
        found: IntArray = self._cost[vms]
        return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What engines minimise, and within which limits.

    ``V`` VMs, ``H`` hosts, ``R`` resources that some host limits, ``C`` columns, ``B`` priority
    bands (distinct priorities present, lowest first).

    Parameters
    ----------
    start
        Host position of every VM, ``NOWHERE`` when it is to be started, shape ``(V,)``.
    allowed
        Where each VM may be, shape ``(V, H)``; its own host always.
    future, present
        Columns of contention and imbalance that make the objective, and those of the present
        reading, which only rank hosts.
    band
        Band of each VM, shape ``(V,)``.
    resources
        Which resource each of the ``R`` is, as a position in ``solver.domain.units.FIELDS``.
    capacity
        Usable capacity, shape ``(H, R)``; ``UNLIMITED`` where there is none.
    host_class, reserved
        What must be there for a VM: ``reserved[host_class[h], v]``, shape ``(classes, V, R)``.
    reserved_limit
        Largest sum of reservations allowed: the capacity, or what was reserved at the start if
        that is more; shape ``(H, R)``.
    reference
        Capacity of the reference host, shape ``(R,)``.
    repair_price
        Cost units per ppm of severity.
    place_prices, nowhere_prices
        Cost of a VM being on a host ``(V, H)`` (broken pins and bans, maintenance), or nowhere
        ``(V,)``.
    group_rules
        Affinities and anti-affinities.
    app_group, disruption_price
        Application group of each VM (-1 for none) and the price per VM of the most-moved one.
    max_moves, max_moves_per_host
        Budgets; ``None`` for no limit.
    move_costs
        Migration costs from the start.
    rules_of_vm
        Positions in ``group_rules`` of the rules that name a VM.
    clumps
        Sets of VMs that hard affinities tie together.
    """

    vm_ids: tuple[VmId, ...]
    host_ids: tuple[HostId, ...]
    start: IntArray
    allowed: BoolArray
    future: Columns
    present: Columns
    band: IntArray
    resources: tuple[int, ...]
    capacity: IntArray
    host_class: IntArray
    reserved: IntArray
    reserved_limit: IntArray
    reference: IntArray
    repair_price: int
    place_prices: IntArray
    nowhere_prices: IntArray
    group_rules: tuple[GroupRule, ...]
    app_group: IntArray
    disruption_price: int
    max_moves: int | None
    max_moves_per_host: int | None
    move_costs: MoveCosts
    rules_of_vm: Mapping[int, tuple[int, ...]]
    clumps: tuple[tuple[int, ...], ...]

    @property
    def num_vms(self) -> int:
        """Number of VMs."""
        return len(self.vm_ids)

    @property
    def num_hosts(self) -> int:
        """Number of hosts."""
        return len(self.host_ids)

    @property
    def num_bands(self) -> int:
        """Number of distinct priorities, at least one."""
        return int(self.future.prices.shape[0])

    def placement(self, hosts: IntArray) -> dict[VmId, HostId | None]:
        """Return host positions as a placement."""
        return {
            vm_id: None if h == NOWHERE else self.host_ids[h]
            for vm_id, h in zip(self.vm_ids, hosts.tolist(), strict=True)
        }

    def positions(self, placement: Placement) -> IntArray:
        """Return a placement as host positions, shape ``(V,)``."""
        position: dict[HostId | None, int] = {h: i for i, h in enumerate(self.host_ids)}
        position[None] = NOWHERE
        return np.array([position[placement.get(v)] for v in self.vm_ids], dtype=np.int64)

    def restricted_to(self, movable: BoolArray) -> Problem:
        """Return the same problem in which only some VMs may move.

        Parameters
        ----------
        movable
            Shape ``(V,)``; every other VM stays where it is.
        """
        allowed = self.allowed & movable[:, None]
        running = np.flatnonzero(self.start != NOWHERE)
        allowed[running, self.start[running]] = True
        return replace(self, allowed=_frozen(allowed))

    def capacity_repair(self, used: IntArray, host: IntArray | int) -> IntArray:
        """Return the repair cost of reservations on hosts.

        Parameters
        ----------
        used
            Reserved amounts, shape ``(..., R)``.
        host
            Host positions that broadcast to ``used.shape[:-1]``.
        """
        excess = used - self.capacity[host]
        severity = np.where(
            excess > 0,
            SEVERITY_BROKEN + np.maximum(excess, 0) * SEVERITY_ONE // self.reference,
            0,
        )
        cost: IntArray = severity.sum(axis=-1) * self.repair_price
        return cost


def compile_problem(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
) -> Problem:
    """Compile a cluster and its demand into the arrays that engines read.

    Parameters
    ----------
    scenarios
        Demand of at least the cluster's VMs, in any order.

    Raises
    ------
    InvalidInputError
        If a VM has no demand, or the worst case exceeds what 64 bits hold.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    position: dict[HostId | None, int] = {host.id: h for h, host in enumerate(cluster.hosts)}
    position[None] = NOWHERE
    start = np.array([position[vm.host_id] for vm in cluster.vms], dtype=np.int64)
    full_capacity = capacity_array(cluster)
    limited = np.flatnonzero((full_capacity != UNLIMITED).any(axis=0))
    capacity = full_capacity[:, limited]
    expected = expected_demand(scenarios)
    band, by_band = _banded_prices(cluster, scenarios, weights)
    future = _shortfall_columns(scenarios, by_band, capacity, limited, objective_steps(scenarios))
    knees = _knee_columns(
        expected[:, limited],
        capacity,
        imbalance_prices(cluster, scenarios, weights)[limited],
        weights.knees,
        num_bands=by_band.shape[0],
    )
    host_class, reserved = _reservations(cluster, limited)
    group_rules = _group_rules(cluster, weights, start)
    problem = Problem(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        host_ids=tuple(host.id for host in cluster.hosts),
        start=_frozen(start),
        allowed=_frozen(_allowed(cluster, start)),
        future=_side_by_side(future, knees),
        present=_shortfall_columns(scenarios, by_band, capacity, limited, slice(0, 1)),
        band=_frozen(band),
        resources=tuple(limited.tolist()),
        capacity=_frozen(capacity),
        host_class=_frozen(host_class),
        reserved=_frozen(reserved),
        reserved_limit=_frozen(_reserved_limits(capacity, start, host_class, reserved)),
        reference=_frozen(np.array(reference_amounts(cluster), dtype=np.int64)[limited]),
        repair_price=repair_price(weights),
        place_prices=_frozen(_place_prices(cluster, weights)),
        nowhere_prices=_frozen(
            np.full(len(cluster.vms), repair_price(weights) * SEVERITY_ONE, dtype=np.int64)
        ),
        group_rules=group_rules,
        rules_of_vm=_rules_of_vm(group_rules),
        clumps=_clumps(group_rules),
        app_group=_frozen(_app_groups(cluster)),
        disruption_price=disruption_price(weights),
        max_moves=cluster.budget.max_moves,
        max_moves_per_host=cluster.budget.max_moves_per_host,
        move_costs=_move_costs(cluster, expected, weights, parameters, start),
    )
    _refuse_overflow(problem, cluster, expected, weights, parameters)
    return problem


def _banded_prices(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights
) -> tuple[IntArray, IntArray]:
    """Return the band of every VM, and prices of shape ``(B, K, resources, 1 + T)``."""
    priorities = np.array([vm.priority for vm in cluster.vms], dtype=np.int64)
    occurring, band = np.unique(priorities, return_inverse=True)
    with np.errstate(invalid="ignore"):  # beyond 64 bits: found and refused below
        prices = shortfall_prices(cluster, scenarios, weights)
    if prices.min() < 0:
        raise InvalidInputError(
            "a unit of shortfall costs more than 64 bits hold; expected smaller weights",
            path="weights.contention",
        )
    if not occurring.size:
        return band.astype(np.int64), np.zeros((1, *prices.shape[:3]), dtype=np.int64)
    # Between two priorities that occur, every band serves the same demand: add their increments.
    # Above the highest that occurs, no band has demand at all.
    ends = occurring - MIN_PRIORITY + 1
    begins = [0, *ends[:-1].tolist()]
    by_band = [prices[..., a:b].sum(axis=-1) for a, b in zip(begins, ends.tolist(), strict=True)]
    return band.astype(np.int64), np.stack(by_band)


def _shortfall_columns(
    scenarios: ScenarioSet, by_band: IntArray, capacity: IntArray, limited: IntArray, steps: slice
) -> Columns:
    """Return the columns of some steps, equal ones merged and worthless ones left out."""
    # Resource first, so that columns of one resource stand together.
    wanted = scenarios.demand[:, :, limited, steps].transpose(2, 0, 3, 1)
    priced = by_band[:, :, limited, steps].transpose(2, 1, 3, 0)
    num_vms, num_bands = scenarios.demand.shape[1], by_band.shape[0]
    per_resource = priced.shape[1] * priced.shape[2]
    demand = np.ascontiguousarray(wanted).reshape(len(limited) * per_resource, num_vms)
    price = priced.reshape(len(limited) * per_resource, num_bands)
    resource = np.repeat(np.arange(len(limited)), per_resource)
    first_of: dict[tuple[int, bytes], int] = {}
    merged: dict[int, IntArray] = {}
    for c in np.flatnonzero(price.any(axis=1)).tolist():
        first = first_of.setdefault((int(resource[c]), demand[c].tobytes()), c)
        merged[first] = merged.get(first, 0) + price[c]
    kept = np.array(list(merged), dtype=np.int64)
    return Columns(
        demand=_frozen(np.ascontiguousarray(demand[kept].T)),
        threshold=_frozen(np.ascontiguousarray(capacity[:, resource[kept]])),
        prices=_frozen(
            np.ascontiguousarray(
                np.array(list(merged.values()), dtype=np.int64).reshape(-1, num_bands).T
            )
        ),
    )


def _knee_columns(
    expected: IntArray,
    capacity: IntArray,
    prices: IntArray,
    knees: tuple[float, ...],
    *,
    num_bands: int,
) -> Columns:
    """Return the imbalance term as columns of mean demand above each knee."""
    priced = np.flatnonzero(prices)
    by_band = np.zeros((num_bands, len(priced) * len(knees)), dtype=np.int64)
    by_band[0] = np.tile(prices[priced], len(knees))
    thresholds = [knee_threshold(capacity[:, priced], knee) for knee in knees]
    return Columns(
        demand=_frozen(np.tile(expected[:, priced], len(knees))),
        threshold=_frozen(np.concatenate([capacity[:, :0], *thresholds], axis=1)),
        prices=_frozen(by_band),
    )


def _side_by_side(a: Columns, b: Columns) -> Columns:
    return Columns(
        demand=_frozen(np.concatenate([a.demand, b.demand], axis=1)),
        threshold=_frozen(np.concatenate([a.threshold, b.threshold], axis=1)),
        prices=_frozen(np.concatenate([a.prices, b.prices], axis=1)),
    )


def _reservations(cluster: Cluster, limited: IntArray) -> tuple[IntArray, IntArray]:
    """Return the class of every host by over-commit, and what each VM reserves there."""
    classes: dict[Overcommit, int] = {}
    tables: list[IntArray] = []
    host_class = np.zeros(len(cluster.hosts), dtype=np.int64)
    for h, host in enumerate(cluster.hosts):
        host_class[h] = classes.setdefault(host.overcommit, len(classes))
        if host_class[h] == len(tables):
            rows = [reserved_amounts(vm, host) for vm in cluster.vms]
            tables.append(np.array(rows, dtype=np.int64).reshape(len(rows), NUM_RESOURCES))
    return host_class, np.stack(tables)[:, :, limited]


def _reserved_limits(
    capacity: IntArray, start: IntArray, host_class: IntArray, reserved: IntArray
) -> IntArray:
    used = np.zeros_like(capacity)
    running = np.flatnonzero(start != NOWHERE)
    np.add.at(used, start[running], reserved[host_class[start[running]], running])
    return np.maximum(capacity, used)


def _allowed(cluster: Cluster, start: IntArray) -> BoolArray:
    """Return where each VM may be, shape ``(V, H)``."""
    hosts = cluster.hosts
    allowed = np.ones((len(cluster.vms), len(hosts)), dtype=np.bool_)
    allowed[:, [host.state is not HostState.UP for host in hosts]] = False
    vm_position = {vm.id: v for v, vm in enumerate(cluster.vms)}
    for rule in cluster.rules:
        if not (isinstance(rule, HostRule) and rule.hard):
            continue
        right = _right_hosts(cluster, rule)
        for vm_id in rule.vm_ids:
            v = vm_position[vm_id]
            # A rule that is broken for this VM may stay broken wherever the VM goes.
            if start[v] == NOWHERE or right[start[v]]:
                allowed[v] &= right
    exempt = {
        vm_id
        for violation in check_placement(cluster, cluster.placement)
        if violation.hard
        for vm_id in violation.vm_ids
    }
    for v, vm in enumerate(cluster.vms):
        if start[v] == NOWHERE:
            continue
        cooling = vm.not_before_at is not None and vm.not_before_at > cluster.observed_at
        frozen = hosts[start[v]].state is HostState.UNREACHABLE
        if not vm.migratable or frozen or (cooling and vm.id not in exempt):
            allowed[v] = False
        allowed[v, start[v]] = True
    return allowed


def _right_hosts(cluster: Cluster, rule: HostRule) -> BoolArray:
    """Return on which hosts a pin or ban holds, shape ``(H,)``."""
    named = set(rule.host_ids)
    inside = np.array([host.id in named for host in cluster.hosts], dtype=np.bool_)
    return inside if isinstance(rule, Pin) else ~inside


def _place_prices(cluster: Cluster, weights: Weights) -> IntArray:
    """Return the price of each VM being on each host, shape ``(V, H)``."""
    broken = repair_price(weights) * SEVERITY_ONE
    prices = np.zeros((len(cluster.vms), len(cluster.hosts)), dtype=np.int64)
    prices[:, [host.state is HostState.MAINTENANCE for host in cluster.hosts]] += broken
    vm_position = {vm.id: v for v, vm in enumerate(cluster.vms)}
    for rule in cluster.rules:
        if isinstance(rule, HostRule):
            price = broken if rule.penalty_host_s is None else to_units(rule.penalty_host_s)
            wrong = np.flatnonzero(~_right_hosts(cluster, rule))
            members = np.array([vm_position[vm_id] for vm_id in rule.vm_ids])
            prices[np.ix_(members, wrong)] += price
    return prices


def _group_rules(cluster: Cluster, weights: Weights, start: IntArray) -> tuple[GroupRule, ...]:
    vm_position = {vm.id: v for v, vm in enumerate(cluster.vms)}
    broken = repair_price(weights) * SEVERITY_ONE
    found = []
    for rule in cluster.rules:
        if not isinstance(rule, Affinity | AntiAffinity):
            continue
        compiled = GroupRule(
            rule_id=rule.id,
            together=isinstance(rule, Affinity),
            vms=_frozen(np.array([vm_position[vm_id] for vm_id in rule.vm_ids], dtype=np.int64)),
            price=broken if rule.penalty_host_s is None else to_units(rule.penalty_host_s),
            limit=None,
        )
        if rule.hard:
            compiled = replace(compiled, limit=compiled.amount(start, len(cluster.hosts)))
        found.append(compiled)
    return tuple(found)


def _rules_of_vm(rules: tuple[GroupRule, ...]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = {}
    for i, rule in enumerate(rules):
        for v in rule.vms.tolist():
            found.setdefault(v, []).append(i)
    return {v: tuple(indices) for v, indices in found.items()}


def _clumps(rules: tuple[GroupRule, ...]) -> tuple[tuple[int, ...], ...]:
    clump_of: dict[int, set[int]] = {}
    for rule in rules:
        if rule.together and rule.limit is not None:
            merged = set(rule.vms.tolist())
            merged.update(*(clump_of.get(v, ()) for v in rule.vms.tolist()))
            for v in merged:
                clump_of[v] = merged
    return tuple(sorted({tuple(sorted(clump)) for clump in clump_of.values()}))


def _app_groups(cluster: Cluster) -> IntArray:
    names: dict[str, int] = {}
    return np.array(
        [names.setdefault(vm.group, len(names)) if vm.group else -1 for vm in cluster.vms],
        dtype=np.int64,
    )


def _move_costs(
    cluster: Cluster,
    expected: IntArray,
    weights: Weights,
    parameters: MigrationParameters,
    start: IntArray,
) -> MoveCosts:
    """Return prices equal to ``score.pair_costs``, with all that pairs share computed once."""
    hosts, vms = cluster.hosts, cluster.vms
    capacity = capacity_array(cluster)
    loads = host_loads(expected, start, len(hosts))
    limited = capacity != UNLIMITED
    divisor = np.maximum(capacity, 1)
    own_rate = np.array([host.migration_bandwidth_mib_per_s for host in hosts])
    footprint = np.array([vm.memory_footprint_mib for vm in vms])
    dirty = np.array([vm.dirty_mib_per_s for vm in vms])
    priority = np.array([vm.priority for vm in vms])
    reference_cpu = reference_amounts(cluster)[Resource.CPU]
    links: dict[int, IntArray] = {}

    def links_from(source: int) -> IntArray:
        if source not in links:
            row = [cluster.network.link(hosts[source], host) for host in hosts]
            links[source] = np.array(
                [[k.bandwidth_mib_per_s, k.latency_us, k.distance] for k in row]
            )
        return links[source]

    def utilisation(load: IntArray, host: IntArray) -> npt.NDArray[np.float64]:
        fraction = np.where(limited[host], load / divisor[host], 0.0)
        largest: npt.NDArray[np.float64] = fraction.max(axis=-1)
        return largest

    def price(asked: IntArray) -> IntArray:
        costs = np.zeros((len(asked), len(hosts)), dtype=np.int64)
        running = np.flatnonzero(start[asked] != NOWHERE)
        if not running.size:
            return costs
        chosen = asked[running]
        source = start[chosen]
        link = np.stack([links_from(h) for h in source.tolist()])
        every = np.arange(len(hosts))
        demand = expected[chosen][:, None, :]
        after = utilisation(loads[None] + demand, every[None, :])
        left = utilisation(loads[source] - expected[chosen], source)
        found = migration_cost(
            footprint_mib=footprint[chosen][:, None],
            dirty_mib_per_s=dirty[chosen][:, None],
            cpu_demand_millicores=demand[:, :, Resource.CPU],
            priority=priority[chosen][:, None],
            bandwidth_mib_per_s=np.minimum(
                link[..., 0], np.minimum(own_rate[source][:, None], own_rate)
            ),
            latency_us=link[..., 1],
            distance=link[..., 2],
            utilisation_difference=after - left[:, None],
            reference_cpu_millicores=reference_cpu,
            weights=weights,
            parameters=parameters,
        ).total
        found[np.arange(len(chosen)), source] = 0
        costs[running] = found
        return costs

    return MoveCosts(len(vms), len(hosts), price)


def _refuse_overflow(
    problem: Problem,
    cluster: Cluster,
    expected: IntArray,
    weights: Weights,
    parameters: MigrationParameters,
) -> None:
    """Raise ``InvalidInputError`` when a placement could cost more than ``MAX_COST``."""
    worst = _worst_placing(problem) + _worst_moving(problem, cluster, expected, weights, parameters)
    if not worst <= MAX_COST:
        raise InvalidInputError(
            f"the worst placement costs {worst / UNITS_PER_HOST_S:.3g} host-seconds, at most "
            f"{MAX_COST / UNITS_PER_HOST_S:.3g} can be told apart; expected smaller weights or "
            "demands",
            path="weights",
        )


def _worst_placing(problem: Problem) -> float:
    """Return an upper bound, in cost units, on everything but moves."""
    per_band = np.zeros(problem.future.prices.shape)
    np.add.at(per_band, problem.band, problem.future.demand.astype(np.float64))
    at_least = np.cumsum(per_band[::-1], axis=0)[::-1]
    soft = float((at_least * problem.future.prices).sum())
    placing = float(
        np.maximum(problem.place_prices.max(axis=1, initial=0), problem.nowhere_prices).sum(
            dtype=np.float64
        )
    )
    groups = float(sum(rule.price * len(rule.vms) for rule in problem.group_rules))
    excess = (problem.reserved_limit - problem.capacity).tolist()
    capacity = float(
        sum(
            problem.repair_price * capacity_severity_ppm(e, int(reference))
            for row in excess
            for e, reference in zip(row, problem.reference, strict=True)
        )
    )
    return soft + placing + groups + capacity


def _worst_moving(
    problem: Problem,
    cluster: Cluster,
    expected: IntArray,
    weights: Weights,
    parameters: MigrationParameters,
) -> float:
    """Return an upper bound, in cost units, on the cost of moving every VM."""
    if not cluster.vms:
        return 0.0
    capacity = np.maximum(capacity_array(cluster), 1).astype(np.float64)
    loads = host_loads(expected, problem.start, len(cluster.hosts))
    fullest = float((loads / capacity).max(initial=0.0))
    utilisation = fullest + (expected / capacity.min(axis=0)).max(axis=1, initial=0.0)
    network = cluster.network
    links = [
        network.same_zone,
        network.other_zone,
        *network.zones.values(),
        *network.hosts.values(),
    ]
    slowest = min(
        *(host.migration_bandwidth_mib_per_s for host in cluster.hosts),
        *(link.bandwidth_mib_per_s for link in links),
    )
    with np.errstate(invalid="ignore"):  # beyond 64 bits: found below
        costs = migration_cost(
            footprint_mib=[vm.memory_footprint_mib for vm in cluster.vms],
            dirty_mib_per_s=[vm.dirty_mib_per_s for vm in cluster.vms],
            cpu_demand_millicores=expected[:, Resource.CPU],
            priority=[vm.priority for vm in cluster.vms],
            bandwidth_mib_per_s=slowest,
            latency_us=max(link.latency_us for link in links),
            distance=max(link.distance for link in links),
            utilisation_difference=utilisation,
            reference_cpu_millicores=reference_amounts(cluster)[Resource.CPU],
            weights=weights,
            parameters=parameters,
        )
    terms = (costs.utilisation, costs.transfer, costs.downtime, costs.latency)
    if any(term.min() < 0 for term in terms):  # a term that left 64 bits
        return float("inf")
    moving = sum(float(term.sum(dtype=np.float64)) for term in terms)
    return moving + float(problem.disruption_price) * problem.num_vms


def _frozen(array: Frozen) -> Frozen:
    array.flags.writeable = False
    return array
