"""Rules about groups of VMs, as counts of VMs in cells of hosts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from solver.domain.check import SEVERITY_ONE
from solver.domain.cluster import Cluster, Host
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Dependency,
    HostRule,
    LicenceLimit,
    PerHostLimit,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.score import repair_price
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights, to_units
from solver.problem import Count, GroupRule, IntArray, frozen


def compile_groups(cluster: Cluster, weights: Weights, start: IntArray) -> tuple[GroupRule, ...]:
    """Return the cluster's rules about groups, in its order."""
    cells = _Cells(cluster)
    vm_position = {vm.id: v for v, vm in enumerate(cluster.vms)}
    broken = repair_price(weights) * SEVERITY_ONE

    def positions(vm_ids: Sequence[VmId]) -> IntArray:
        return frozen(np.array([vm_position[vm_id] for vm_id in vm_ids], dtype=np.int64))

    found = []
    for rule in cluster.rules:
        if isinstance(rule, HostRule):
            continue
        count, others, cell_of, bound = _counting(rule, cells)
        compiled = GroupRule(
            rule_id=rule.id,
            count=count,
            vms=positions(rule.vm_ids),
            others=positions(others),
            cell_of=cell_of,
            bound=bound,
            price=broken if rule.penalty_host_s is None else to_units(rule.penalty_host_s),
            limit=None,
        )
        if rule.hard:
            compiled = replace(compiled, limit=compiled.amount(start))
        found.append(compiled)
    return tuple(found)


def rules_of_vms(rules: Sequence[GroupRule]) -> dict[int, tuple[int, ...]]:
    """Return, by VM, the positions of the rules that name it."""
    found: dict[int, list[int]] = {}
    for i, rule in enumerate(rules):
        for v in {*rule.vms.tolist(), *rule.others.tolist()}:
            found.setdefault(v, []).append(i)
    return {v: tuple(indices) for v, indices in found.items()}


def clumps(rules: Sequence[GroupRule]) -> tuple[tuple[int, ...], ...]:
    """Return the sets of VMs that hard affinities tie together."""
    clump_of: dict[int, set[int]] = {}
    for rule in rules:
        if rule.ties and rule.limit is not None:
            merged = set(rule.vms.tolist())
            merged.update(*(clump_of.get(v, ()) for v in rule.vms.tolist()))
            for v in merged:
                clump_of[v] = merged
    return tuple(sorted({tuple(sorted(clump)) for clump in clump_of.values()}))


def _counting(rule: PlacementRule, cells: _Cells) -> tuple[Count, tuple[VmId, ...], IntArray, int]:
    """Return how a rule counts: what, the other VMs, in which cells, against which number."""
    if isinstance(rule, Affinity):
        return Count.SCATTER, (), cells.level("host"), 0
    if isinstance(rule, AntiAffinity):
        return Count.CROWDING, (), cells.level("host"), 1
    if isinstance(rule, Among):
        return Count.SCATTER, (), cells.parts_of(rule), 0
    if isinstance(rule, Spread):
        return Count.SPREAD, (), cells.level(rule.level), rule.min_domains
    if isinstance(rule, Dependency):
        return Count.DEPENDENCE, rule.on_vm_ids, cells.level(rule.level), 0
    if isinstance(rule, Split):
        return Count.SPLIT, rule.other_vm_ids, cells.level("host"), 0
    if isinstance(rule, PerHostLimit):
        return Count.CROWDING, (), cells.only(rule.host_ids), rule.max_vms
    assert isinstance(rule, LicenceLimit), f"rule {rule.id!r} of kind {rule.kind!r}"
    return Count.OCCUPANCY, (), cells.level("host"), rule.max_hosts


class _Cells:
    """Maps of hosts to cells, made once each."""

    def __init__(self, cluster: Cluster) -> None:
        self._hosts = cluster.hosts
        self._position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self._known: dict[object, IntArray] = {}
        self._same_parts: dict[int, IntArray] = {}

    def level(self, level: str) -> IntArray:
        """Return the cells of hosts, racks or zones."""
        names: dict[str, Callable[[Host], str]] = {
            "host": lambda host: host.id,
            "rack": lambda host: host.rack,
            "zone": lambda host: host.zone,
        }
        if level not in self._known:
            number: dict[str, int] = {}
            cells = [number.setdefault(names[level](host), len(number)) for host in self._hosts]
            self._known[level] = frozen(np.array(cells, dtype=np.int64))
        return self._known[level]

    def parts_of(self, rule: Among) -> IntArray:
        """Return the parts a rule names as cells; zones where it names none."""
        if not rule.parts:
            return self.level("zone")
        # Rules often share the very object, and thousands of names take long to hash.
        if id(rule.parts) not in self._same_parts:
            self._same_parts[id(rule.parts)] = self._parts(rule.parts)
        return self._same_parts[id(rule.parts)]

    def _parts(self, parts: tuple[tuple[HostId, ...], ...]) -> IntArray:
        if parts not in self._known:
            cells = np.full(len(self._hosts), -1, dtype=np.int64)
            for i, part in enumerate(parts):
                cells[[self._position[host_id] for host_id in part]] = i
            self._known[parts] = frozen(cells)
        return self._known[parts]

    def only(self, host_ids: tuple[HostId, ...]) -> IntArray:
        """Return some hosts as a cell each; all hosts where none is named."""
        if not host_ids:
            return self.level("host")
        return self._parts(tuple((host_id,) for host_id in host_ids))
