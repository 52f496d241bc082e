"""The cluster as it is solved: what was seen, with what is wanted laid over it.

What a policy says comes before what the snapshot says, and the snapshot before defaults. Policies
of VMs and hosts that are gone wait for them to return; they are reported and hinder nothing.

Decoding ten thousand VMs takes a good part of a second. So what was decoded is kept under the mark
of ``service.inventory.marks`` until that changes, and then VMs and policies that are as they were
are taken over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from service.inventory.latest import Latest
from service.inventory.marks import Mark, read_mark
from service.inventory.policies import Maintenance, VmPolicy
from service.inventory.standing import Source, StandingRule, stand
from service.store.base import Item, Kind, Transaction
from service.store.errors import NotFoundError
from solver.domain.cluster import VM, Cluster, Host, HostState
from solver.domain.rules import PlacementRule
from solver.domain.units import HostId, VmId
from solver.instances import cluster_from_later, rule_from_document

PAGE: Final = 5_000
"""Items read at once."""


@dataclass(slots=True, kw_only=True)
class Allocated:
    """How many VMs a host has, and what they are allocated together."""

    num_vms: int = 0
    cpu_millicores: int = 0
    memory_mib: int = 0

    def add(self, vm: VM) -> None:
        """Count a VM."""
        self.num_vms += 1
        self.cpu_millicores += vm.allocation.cpu_millicores
        self.memory_mib += vm.allocation.memory_mib


@dataclass(frozen=True, kw_only=True, eq=False)
class Inventory:
    """A cluster with its policies.

    Parameters
    ----------
    cluster
        What is solved: policies laid over the snapshot, rules in force.
    vm_policies, maintenance
        All there are, of VMs and hosts that are gone as well.
    rules
        All there are, with what of them is in force.
    """

    cluster_id: str
    cluster: Cluster
    vm_policies: Mapping[VmId, VmPolicy]
    maintenance: Mapping[HostId, Maintenance]
    rules: tuple[StandingRule, ...]
    _orders: dict[str, list[tuple[Any, VmId, VM]]] = field(default_factory=dict, init=False)

    def in_order(self, name: str, key: Callable[[VM], Any]) -> list[tuple[Any, VmId, VM]]:
        """Return the VMs by a key, then by id; kept under the key's name, and not to be changed."""
        found = self._orders.get(name)
        if found is None:
            found = sorted(((key(vm), vm.id, vm) for vm in self.cluster.vms), key=_first_two)
            self._orders[name] = found
        return found

    @cached_property
    def vms(self) -> Mapping[VmId, VM]:
        """The VMs that are there, by id."""
        return {vm.id: vm for vm in self.cluster.vms}

    @cached_property
    def hosts(self) -> Mapping[HostId, Host]:
        """The hosts that are there, by id."""
        return {host.id: host for host in self.cluster.hosts}

    @cached_property
    def allocated(self) -> Mapping[HostId, Allocated]:
        """What is allocated on each host."""
        found = {host.id: Allocated() for host in self.cluster.hosts}
        for vm in self.cluster.vms:
            if vm.host_id is not None:
                found[vm.host_id].add(vm)
        return found

    @cached_property
    def waiting_vm_ids(self) -> tuple[VmId, ...]:
        """VMs that have a policy and are not there."""
        return tuple(sorted(vm_id for vm_id in self.vm_policies if vm_id not in self.vms))

    @cached_property
    def waiting_host_ids(self) -> tuple[HostId, ...]:
        """Hosts in maintenance that are not there."""
        return tuple(sorted(host_id for host_id in self.maintenance if host_id not in self.hosts))

    def owner(self, vm_id: VmId) -> str:
        """Return the owner of a VM, empty for none."""
        policy = self.vm_policies.get(vm_id)
        return "" if policy is None or policy.owner is None else policy.owner


def _first_two(entry: tuple[Any, VmId, VM]) -> tuple[Any, VmId]:
    return entry[:2]


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A cluster as it was seen last, without policies.

    Parameters
    ----------
    by_text
        VMs by the JSON they were read from, those of this snapshot or, in the process that has
        seen it itself, of the last one that was read.
    """

    cluster: Cluster
    by_text: Mapping[str, VM] = field(default_factory=dict)

    @cached_property
    def vms(self) -> Mapping[VmId, VM]:
        """The VMs that are there, by id."""
        return {vm.id: vm for vm in self.cluster.vms}

    @cached_property
    def vm_ids(self) -> frozenset[VmId]:
        """The VMs that are there."""
        return frozenset(vm.id for vm in self.cluster.vms)

    @cached_property
    def host_ids(self) -> frozenset[HostId]:
        """The hosts that are there."""
        return frozenset(host.id for host in self.cluster.hosts)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Made:
    """An inventory, the mark it was made at, and what policies were laid over."""

    inventory: Inventory
    mark: Mark
    seen: Seen


def effective(tx: Transaction, cluster_id: str) -> Cluster:
    """Return the cluster as it is solved; raises like ``look_up``."""
    return look_up(tx, cluster_id).cluster


def look_up(tx: Transaction, cluster_id: str, *, may_lag: bool = False) -> Inventory:
    """Return a cluster with its policies.

    Parameters
    ----------
    may_lag
        What was seen before is answered while somebody else reads what was seen now. Every edit
        is in it.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or nothing was seen of it yet.
    """
    mark = _mark_of(tx, cluster_id)
    made = _INVENTORIES.get(
        cluster_id,
        mark,
        lambda before: _laid_over(tx, cluster_id, mark, before),
        earlier_will_do=lambda kept: may_lag and kept.mark.policies == mark.policies,
    )
    return made.inventory


def look_at_snapshot(tx: Transaction, cluster_id: str) -> Seen:
    """Return a cluster as it was seen last; raises like ``look_up``."""
    mark = _mark_of(tx, cluster_id)
    return _SNAPSHOTS.get(
        cluster_id, mark.snapshot, lambda before: _decoded(tx, cluster_id, before)
    )


def remember(tx: Transaction, cluster_id: str, cluster: Cluster) -> None:
    """Keep a snapshot decoded that was just written, so that nobody here has to decode it."""
    _SNAPSHOTS.get(
        cluster_id,
        read_mark(tx, cluster_id).snapshot,
        lambda before: Seen(cluster=cluster, by_text={} if before is None else before.by_text),
    )


def _mark_of(tx: Transaction, cluster_id: str) -> Mark:
    """Return the mark of a cluster of which something was seen; raises like ``look_up``."""
    mark = read_mark(tx, cluster_id)
    if not mark.snapshot:
        tx.items.get(Kind.CLUSTER, "", cluster_id)
        raise _never_seen(cluster_id)
    return mark


def _never_seen(cluster_id: str) -> NotFoundError:
    return NotFoundError(f"cluster {cluster_id!r}: nothing was seen of it yet, expected a snapshot")


def _laid_over(tx: Transaction, cluster_id: str, mark: Mark, before: _Made | None) -> _Made:
    """Lay policies over the snapshot."""
    seen = look_at_snapshot(tx, cluster_id)
    policies = _policies(tx, cluster_id, mark, before)
    maintenance = {
        HostId(item.id): Maintenance.from_document(item.document)
        for item in every_item(tx, Kind.HOST_POLICY, cluster_id)
        if item.document.get("maintenance")
    }
    rules = stand(
        _written_rules(tx, cluster_id, seen.cluster), vm_ids=seen.vm_ids, host_ids=seen.host_ids
    )
    cluster = replace(
        seen.cluster,
        vms=_with_policies(seen, policies, before),
        hosts=tuple(_with_maintenance(host, host.id in maintenance) for host in seen.cluster.hosts),
        rules=tuple(each.in_force for each in rules if each.in_force is not None),
    )
    inventory = Inventory(
        cluster_id=cluster_id,
        cluster=cluster,
        vm_policies=policies,
        maintenance=maintenance,
        rules=rules,
    )
    return _Made(inventory=inventory, mark=mark, seen=seen)


def _policies(
    tx: Transaction, cluster_id: str, mark: Mark, before: _Made | None
) -> Mapping[VmId, VmPolicy]:
    """Return the policies of VMs; only those that changed since are read."""
    edited = None if before is None else mark.edited_since(before.mark)
    if before is None or edited is None:
        found = every_item(tx, Kind.VM_POLICY, cluster_id)
        return {
            VmId(each.id): VmPolicy.from_document(each.document) for each in found if each.document
        }
    read = tx.items.find(Kind.VM_POLICY, cluster_id, edited)
    kept = {
        vm_id: policy
        for vm_id, policy in before.inventory.vm_policies.items()
        if vm_id not in edited
    }
    anew = {
        VmId(item.id): VmPolicy.from_document(item.document)
        for item in read.values()
        if item.document
    }
    return kept | anew


def _with_policies(
    seen: Seen, policies: Mapping[VmId, VmPolicy], before: _Made | None
) -> tuple[VM, ...]:
    """Return the VMs with their policies; where both are the very same as before, taken over."""
    if before is None:
        return tuple(with_policy(vm, policies.get(vm.id)) for vm in seen.cluster.vms)
    return tuple(
        before.inventory.vms[vm.id]
        if before.seen.vms.get(vm.id) is vm
        and before.inventory.vm_policies.get(vm.id) is policies.get(vm.id)
        else with_policy(vm, policies.get(vm.id))
        for vm in seen.cluster.vms
    )


def _decoded(tx: Transaction, cluster_id: str, before: Seen | None) -> Seen:
    unread = tx.snapshots.unread(cluster_id)
    if unread is None:
        raise _never_seen(cluster_id)
    read = {} if before is None else before.by_text
    known = [read.get(text) for text in unread.vms]
    anew = [json.loads(text) for text in unread.vms if text not in read]
    # Its dates were judged by the clock of its source when it was taken.
    cluster = cluster_from_later({**unread.document, "vms": anew}, known)
    return Seen(cluster=cluster, by_text=dict(zip(unread.vms, cluster.vms, strict=True)))


def _written_rules(
    tx: Transaction, cluster_id: str, seen: Cluster
) -> Iterator[tuple[PlacementRule, Source]]:
    """Yield the snapshot's rules, then those put by themselves, the oldest change first.

    A rule put by itself stands instead of the snapshot's of the same id.
    """
    items = sorted(every_item(tx, Kind.RULE, cluster_id), key=_age)
    put = {item.id for item in items}
    for rule in seen.rules:
        if rule.id not in put:
            yield rule, "snapshot"
    for item in items:
        yield rule_from_document(item.document), "rule"


def _age(item: Item) -> tuple[str, str]:
    return ("" if item.changed_at is None else item.changed_at.isoformat(), item.id)


def every_item(tx: Transaction, kind: Kind, cluster_id: str) -> Iterator[Item]:
    """Yield all items of a kind of a cluster in the order of their ids."""
    after = ""
    while True:
        page = tx.items.page(kind, cluster_id, after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].id


def with_policy(vm: VM, policy: VmPolicy | None) -> VM:
    """Return a VM with its policy laid over it."""
    if policy is None:
        return vm
    set_fields: dict[str, Any] = {
        name: value
        for name in ("priority", "group", "app_type")
        if (value := getattr(policy, name)) is not None and value != getattr(vm, name)
    }
    return replace(vm, **set_fields) if set_fields else vm


def _with_maintenance(host: Host, wanted: bool) -> Host:
    """Return a host with the maintenance that is wanted; one out of reach stays that."""
    if wanted and host.state is HostState.UP:
        return replace(host, state=HostState.MAINTENANCE)
    return host


_INVENTORIES: Final[Latest[_Made]] = Latest()
_SNAPSHOTS: Final[Latest[Seen]] = Latest()
