"""The last check of a step against the live cluster, just before it starts.

A plan is made on a snapshot; minutes later VMs have moved, hosts have gone, somebody else has used
the room. Whatever the plan was worth, nothing starts that would break something now.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from executor.under_way import added_violations, broken_at_rest
from solver.domain.check import Violation
from solver.domain.cluster import Cluster, HostState
from solver.domain.plan import Step, StepKind
from solver.domain.rules import RULES, GroupRule


class Decision(enum.Enum):
    """What to do with a step now."""

    PROCEED = "proceed"
    WAIT_FOR_SLOT = "wait_for_slot"
    """A cap or a link is used up by what is under way: it frees itself."""
    WAIT_FOR_ROOM = "wait_for_room"
    """VMs stand in the way; other steps may take them away."""
    WAIT_FOR_HOST = "wait_for_host"
    """A host does not answer; it may come back."""
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A decision and its reason (empty when proceeding)."""

    decision: Decision
    reason: str = ""


PROCEED: Final = Verdict(decision=Decision.PROCEED)

_SLOT: Final = frozenset({"parallel", "parallel_in", "parallel_out", "bandwidth", "link"})
_ROOM: Final = frozenset(
    {"capacity", "vm_count", *(rule.kind for rule in RULES if issubclass(rule, GroupRule))}
)


def judge_step(
    cluster: Cluster, step: Step, under_way: Sequence[Step], to_come: Sequence[Step]
) -> Verdict:
    """Return whether ``step`` may start now.

    Parameters
    ----------
    cluster
        The live cluster.
    step
        With the bandwidth it would be granted.
    under_way
        Steps that have begun and not ended.
    to_come
        Steps of the plan that have not begun, ``step`` left out. Only rules that bind at rest look
        at them: members of an affinity group may follow one another.
    """
    hosts = {host.id: host for host in cluster.hosts}
    source = None if step.source_id is None else hosts.get(step.source_id)
    silent = source is not None and source.state is HostState.UNREACHABLE
    stale = _stale(cluster, step)
    # What a host that does not answer holds is not known: a VM not seen may be there.
    if stale and not (silent and step.vm_id not in cluster.placement):
        return Verdict(decision=Decision.SKIP, reason=stale)
    for host_id in (step.source_id, step.destination_id):
        if host_id is not None and hosts[host_id].state is HostState.UNREACHABLE:
            return Verdict(
                decision=Decision.WAIT_FOR_HOST, reason=f"host {host_id!r} cannot be reached"
            )
    verdict = _verdict(added_violations(cluster, under_way, step))
    if verdict.decision is not Decision.PROCEED:
        return verdict
    return _verdict(_broken_in_the_end(cluster, [*under_way, step, *to_come]))


def _stale(cluster: Cluster, step: Step) -> str:
    """Return why the step no longer fits the cluster; empty if it does."""
    vm = next((vm for vm in cluster.vms if vm.id == step.vm_id), None)
    if vm is None:
        return f"VM {step.vm_id!r} does not exist any more"
    if step.destination_id not in {host.id for host in cluster.hosts}:
        return f"host {step.destination_id!r} does not exist any more"
    if vm.host_id == step.destination_id:
        return f"VM {vm.id!r} is already on {step.destination_id!r}"
    if vm.host_id != step.source_id:
        expected = "nowhere" if step.source_id is None else f"on {step.source_id!r}"
        found = "runs nowhere" if vm.host_id is None else f"is on {vm.host_id!r}"
        return f"VM {vm.id!r} {found}, expected {expected}"
    if step.kind is StepKind.MIGRATE and not vm.migratable:
        return f"VM {vm.id!r} cannot be migrated: {vm.not_migratable_reason}"
    return ""


def _broken_in_the_end(cluster: Cluster, steps: Sequence[Step]) -> tuple[Violation, ...]:
    """Return the rules at rest that are newly broken once all the steps have been made."""
    present = {vm.id for vm in cluster.vms}
    moved = {step.vm_id: step.destination_id for step in steps if step.vm_id in present}
    return broken_at_rest(cluster, moved)


def _verdict(violations: Sequence[Violation]) -> Verdict:
    """Return the verdict on what a step would break: what never passes decides first."""
    for violation in violations:
        if violation.key[0] not in _SLOT | _ROOM:
            return Verdict(decision=Decision.SKIP, reason=violation.message)
    for violation in violations:
        if violation.key[0] in _ROOM:
            return Verdict(decision=Decision.WAIT_FOR_ROOM, reason=violation.message)
    for violation in violations:
        return Verdict(decision=Decision.WAIT_FOR_SLOT, reason=violation.message)
    return PROCEED
