"""The cluster and its demand as they would be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from service.whatif.question import AddedVms, Question
from solver.domain.cluster import VM, Cluster, Host, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.rules import AntiAffinity, PlacementRule
from solver.domain.scenario import ScenarioSet
from solver.domain.units import MAX_AMOUNT, HostId, VmId

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Changed:
    """What the solver is asked about."""

    cluster: Cluster
    scenarios: ScenarioSet


def change(cluster: Cluster, scenarios: ScenarioSet, question: Question) -> Changed:
    """Return the cluster and its demand as they would be; with nothing asked, as they are.

    A lost host stays in the cluster, out of reach and without VMs, so that rules that name it go
    on meaning something.

    Raises
    ------
    InvalidInputError
        If something is named that is not there, or the rules would contradict one another. Its
        path begins with the field of the question.
    """
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    require_known(cluster, question)
    hosts = (*_hosts(cluster, question), *_new_hosts(cluster, question))
    staying = _vms(cluster, question)
    started = _new_vms(cluster, question)
    changed = replace(
        cluster,
        hosts=hosts,
        vms=(*staying, *(vm for _, vms in started for vm in vms)),
        rules=_rules(cluster, question, staying, started),
    )
    return Changed(cluster=changed, scenarios=_demand(cluster, scenarios, question, changed))


def flavour_demand(cluster: Cluster, scenarios: ScenarioSet, added: AddedVms) -> IntArray:
    """Return what one added VM needs, shape ``(num_scenarios, num_resources, 1 + num_steps)``."""
    if added.like_vm_id is not None:
        position = [vm.id for vm in cluster.vms].index(added.like_vm_id)
        return scenarios.demand[:, position]
    needed = np.array((added.usage or added.template.allocation).as_tuple(), dtype=np.int64)
    shape = (scenarios.num_scenarios, len(needed), 1 + scenarios.num_steps)
    return np.broadcast_to(needed[None, :, None], shape).copy()


def _hosts(cluster: Cluster, question: Question) -> Iterable[Host]:
    lost, emptied = set(question.lost_host_ids), set(question.emptied_host_ids)
    for host in cluster.hosts:
        if host.id in lost:
            yield replace(host, state=HostState.UNREACHABLE)
        elif host.id in emptied and host.state is HostState.UP:
            yield replace(host, state=HostState.MAINTENANCE)
        else:
            yield host


def _new_hosts(cluster: Cluster, question: Question) -> Iterable[Host]:
    taken = {host.id for host in cluster.hosts}
    for added in question.added_hosts:
        for name in _names(added.template.id, added.count, taken):
            yield replace(added.template, id=HostId(name), state=HostState.UP)


def _vms(cluster: Cluster, question: Question) -> tuple[VM, ...]:
    lost, removed = set(question.lost_host_ids), set(question.removed_vm_ids)
    return tuple(
        replace(
            vm,
            host_id=None if vm.host_id in lost else vm.host_id,
            priority=question.priorities.get(vm.id, vm.priority),
        )
        for vm in cluster.vms
        if vm.id not in removed
    )


def _new_vms(cluster: Cluster, question: Question) -> list[tuple[AddedVms, tuple[VM, ...]]]:
    taken = {vm.id for vm in cluster.vms}
    return [
        (
            added,
            tuple(
                replace(added.template, id=VmId(name), host_id=None)
                for name in _names(added.template.id, added.count, taken)
            ),
        )
        for added in question.added_vms
    ]


def _names(prefix: str, count: int, taken: set[HostId] | set[VmId]) -> list[str]:
    """Return as many names as asked for that nothing has yet, and take them."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        number += 1
        name = f"{prefix}-{number}"
        if name not in taken:
            found.append(name)
            taken.add(name)  # type: ignore[arg-type]
    return found


def _rules(
    cluster: Cluster,
    question: Question,
    staying: tuple[VM, ...],
    started: list[tuple[AddedVms, tuple[VM, ...]]],
) -> tuple[PlacementRule, ...]:
    left = {vm.id for vm in staying}
    dropped = {*question.removed_rule_ids, *(rule.id for rule in question.rules)}
    kept = [rule for rule in cluster.rules if rule.id not in dropped]
    if question.removed_vm_ids:
        kept = [narrow for rule in kept if (narrow := rule.restricted_to(left)) is not None]
    taken = {rule.id for rule in (*kept, *question.rules)}
    apart = [
        AntiAffinity(
            id=_names(f"apart-{added.template.id}", 1, taken)[0],  # type: ignore[arg-type]
            vm_ids=tuple(vm.id for vm in vms),
        )
        for added, vms in started
        if added.apart and len(vms) > 1
    ]
    return (*kept, *question.rules, *apart)


def _demand(
    cluster: Cluster, scenarios: ScenarioSet, question: Question, changed: Cluster
) -> ScenarioSet:
    """Return what the VMs of the changed cluster need, factors applied to those that were there."""
    removed = set(question.removed_vm_ids)
    positions = [v for v, vm in enumerate(cluster.vms) if vm.id not in removed]
    if not (removed or question.added_vms or question.demand_factors):
        return scenarios
    factors = np.array([_factor(cluster.vms[v], question) for v in positions])
    there = scenarios.demand[:, positions]
    if question.demand_factors:
        raised = np.rint(there * factors[None, :, None, None])
        there = np.clip(raised, 0, MAX_AMOUNT).astype(np.int64)
    new = [
        np.repeat(flavour_demand(cluster, scenarios, added)[:, None], added.count, axis=1)
        for added in question.added_vms
    ]
    return replace(
        scenarios,
        vm_ids=tuple(vm.id for vm in changed.vms),
        demand=np.concatenate([there, *new], axis=1),
    )


def _factor(vm: VM, question: Question) -> float:
    """Return the product of the factors that concern a VM."""
    product = 1.0
    for item in question.demand_factors:
        concerned = (not item.group or vm.group == item.group) and item.vm_id in ("", vm.id)
        product *= item.factor if concerned else 1.0
    return product


def require_known(cluster: Cluster, question: Question) -> None:
    """Raise ``InvalidInputError`` if the question names what the cluster does not have."""
    hosts = {host.id for host in cluster.hosts}
    vms = {vm.id for vm in cluster.vms}
    groups = {vm.group for vm in cluster.vms}
    rules = {rule.id for rule in cluster.rules}
    named: Mapping[str, tuple[Iterable[str], set[str], str]] = {
        "lost_host_ids": (question.lost_host_ids, {*hosts}, "host"),
        "maintenance_host_ids": (question.maintenance_host_ids, {*hosts}, "host"),
        "removed_host_ids": (question.removed_host_ids, {*hosts}, "host"),
        "removed_vm_ids": (question.removed_vm_ids, {*vms}, "VM"),
        "priorities": (question.priorities, {*vms}, "VM"),
        "removed_rule_ids": (question.removed_rule_ids, rules, "rule"),
    }
    for path, (ids, known, what) in named.items():
        _require(ids, known, what, path)
    for i, factor in enumerate(question.demand_factors):
        _require([factor.vm_id] if factor.vm_id else [], {*vms}, "VM", f"demand_factors[{i}].vm_id")
        _require(
            [factor.group] if factor.group else [], groups, "group", f"demand_factors[{i}].group"
        )
    likes = [(f"added_vms[{i}]", added) for i, added in enumerate(question.added_vms)]
    if question.room is not None:
        likes.append(("room.vms", question.room.vms))
    for path, added in likes:
        like = added.like_vm_id
        _require([] if like is None else [like], {*vms}, "VM", f"{path}.like_vm_id")
    both = set(question.lost_host_ids) & set(question.emptied_host_ids)
    if both:
        raise InvalidInputError(
            f"expected a host to be lost or to be emptied, got {min(both)!r} for both",
            path="lost_host_ids",
        )


def _require(ids: Iterable[str], known: set[str], what: str, path: str) -> None:
    for item in ids:
        if item not in known:
            raise InvalidInputError(f"expected a {what} of the cluster, got {item!r}", path=path)
