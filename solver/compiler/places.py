"""Where each VM may be and what being there costs: pins, bans, compatibility, states of hosts.

VMs that are alike share a row, so that a cluster of 100,000 VMs has a few rows. One restriction
goes beyond the judge: nothing enters a host in maintenance, even in exchange.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from solver.domain.check import SEVERITY_ONE, check_placement
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import HostRule, Pin
from solver.domain.score import repair_price
from solver.domain.units import VmId
from solver.domain.weights import Weights, to_units
from solver.problem import NOWHERE, BoolArray, IntArray, Places, frozen

_Key = tuple[tuple[int, ...], tuple[str, ...], int]
"""Numbers of the rules that bind a VM, what it requires, how much of that may be missing."""


def compile_places(cluster: Cluster, weights: Weights, start: IntArray) -> Places:
    """Return where each VM may be, and what that costs."""
    hosts = _HostFacts(cluster, weights)
    rules_of: dict[VmId, list[int]] = defaultdict(list)
    for rule in cluster.rules:
        if isinstance(rule, HostRule):
            number = hosts.number_of(rule)
            for vm_id in rule.vm_ids:
                rules_of[vm_id].append(number)
    staying = _staying(cluster)
    allowed: dict[_Key | None, int] = {}
    priced: dict[_Key, int] = {}
    allowed_class = np.zeros(len(cluster.vms), dtype=np.int64)
    price_class = np.zeros(len(cluster.vms), dtype=np.int64)
    for v, vm in enumerate(cluster.vms):
        named = tuple(rules_of.get(vm.id, ()))
        key: _Key | None = None
        if vm.id not in staying:
            binding, missing = hosts.binding(named, vm.requires, int(start[v]))
            key = binding, vm.requires, missing
        allowed_class[v] = allowed.setdefault(key, len(allowed))
        price_class[v] = priced.setdefault((named, vm.requires, 0), len(priced))
    shape = (-1, len(cluster.hosts))
    allowed_rows = np.array([hosts.allowed(key) for key in allowed], dtype=np.bool_)
    price_rows = np.array([hosts.prices(key) for key in priced], dtype=np.int64)
    return Places(
        allowed_class=frozen(allowed_class),
        allowed_rows=frozen(allowed_rows.reshape(shape)),
        price_class=frozen(price_class),
        price_rows=frozen(price_rows.reshape(shape)),
    )


class _HostFacts:
    """What rules, requirements and states say about each host."""

    def __init__(self, cluster: Cluster, weights: Weights) -> None:
        self._cluster = cluster
        self._broken = repair_price(weights) * SEVERITY_ONE
        self._up = np.array([host.state is HostState.UP for host in cluster.hosts])
        self._maintenance = np.array(
            [host.state is HostState.MAINTENANCE for host in cluster.hosts]
        )
        self._position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._numbers: dict[tuple[object, ...], int] = {}
        self._right: list[BoolArray] = []
        self._penalty: list[float | None] = []
        self._missing: dict[tuple[str, ...], IntArray] = {}

    def number_of(self, rule: HostRule) -> int:
        """Return the number of a pin or ban; rules that say the same have the same."""
        number = self._numbers.setdefault(
            (rule.kind, rule.host_ids, rule.penalty_host_s), len(self._numbers)
        )
        if number == len(self._right):
            named = np.zeros(len(self._cluster.hosts), dtype=np.bool_)
            named[[self._position[host_id] for host_id in rule.host_ids]] = True
            self._right.append(named if isinstance(rule, Pin) else ~named)
            self._penalty.append(rule.penalty_host_s)
        return number

    def missing(self, requires: tuple[str, ...]) -> IntArray:
        """Return how many requirements each host does not provide, shape ``(H,)``."""
        if requires not in self._missing:
            wanted = frozenset(requires)
            self._missing[requires] = np.array(
                [len(wanted.difference(host.provides)) for host in self._cluster.hosts],
                dtype=np.int64,
            )
        return self._missing[requires]

    def binding(
        self, named: tuple[int, ...], requires: tuple[str, ...], source: int
    ) -> tuple[tuple[int, ...], int]:
        """Return the hard rules that bind a VM, and how many requirements it may miss.

        What is broken for it at the start may stay broken wherever it goes.
        """
        hard = [i for i in named if self._penalty[i] is None]
        if source == NOWHERE:
            return tuple(hard), 0
        binding = tuple(i for i in hard if self._right[i][source])
        return binding, int(self.missing(requires)[source]) if requires else 0

    def allowed(self, key: _Key | None) -> BoolArray:
        """Return where VMs of a class may go, shape ``(H,)``; ``None`` is nowhere."""
        if key is None:
            return np.zeros_like(self._up)
        binding, requires, missing = key
        allowed = self._up.copy()
        for i in binding:
            allowed &= self._right[i]
        if requires:
            allowed &= self.missing(requires) <= missing
        return allowed

    def prices(self, key: _Key) -> IntArray:
        """Return what being on each host costs VMs of a class, shape ``(H,)``."""
        named, requires, _ = key
        prices = self._broken * self._maintenance.astype(np.int64)
        for i in named:
            penalty = self._penalty[i]
            price = self._broken if penalty is None else to_units(penalty)
            prices[~self._right[i]] += price
        if requires:
            prices += self.missing(requires) * self._broken
        return prices


def _staying(cluster: Cluster) -> set[VmId]:
    """Return the running VMs that may not be moved at all."""
    frozen_hosts = {host.id for host in cluster.hosts if host.state is HostState.UNREACHABLE}
    staying = {
        vm.id
        for vm in cluster.vms
        if vm.host_id is not None and (not vm.migratable or vm.host_id in frozen_hosts)
    }
    cooling = {
        vm.id
        for vm in cluster.vms
        if vm.host_id is not None
        and vm.not_before_at is not None
        and vm.not_before_at > cluster.observed_at
    }
    if cooling:
        broken = check_placement(cluster, cluster.placement)
        cooling.difference_update(*(found.vm_ids for found in broken if found.hard))
    return staying | cooling
