"""What is broken while moves are under way, judged by ``solver.domain.check`` alone.

The guard asks it before a move starts, the simulated cluster after: the same judge, which knows
neither of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from solver.domain.check import Violation, check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster, Placement
from solver.domain.plan import Plan, Step


def added_violations(
    cluster: Cluster, under_way: Sequence[Step], step: Step
) -> tuple[Violation, ...]:
    """Return what starting ``step`` breaks or worsens while other moves are under way.

    Every VM under way holds both its ends. What was broken without ``step`` is not held against
    it; rules that bind only at rest are left out: VMs that follow one another are apart for a
    moment.

    Parameters
    ----------
    cluster
        The live cluster, each VM under way standing at its source.
    under_way
        Moves that have begun and not ended; those that the cluster no longer shows at their
        source have arrived or are gone, and are left out.
    """
    placement = cluster.placement
    others = [
        other
        for other in under_way
        if other.vm_id != step.vm_id
        and other.vm_id in placement
        and placement[other.vm_id] == other.source_id
    ]
    with_it = check_plan(cluster, _all_at_once(cluster, [*others, step]))
    if not with_it:
        return ()
    without_it = check_plan(cluster, _all_at_once(cluster, others))
    at_rest = rules_at_rest(cluster)
    return tuple(
        # The instant is the present: what the judge says about when is of no use here.
        replace(violation, message=violation.message.removeprefix("at 0 ms: "))
        for violation in new_or_worse(without_it, with_it)
        if violation.key[0] != "not_running" and violation.key[:2] not in at_rest
    )


def rules_at_rest(cluster: Cluster) -> frozenset[tuple[str, ...]]:
    """Return kind and id of the hard rules that bind only placements at rest."""
    return frozenset(
        (rule.kind, rule.id) for rule in cluster.rules if rule.hard and not rule.binds_under_way
    )


def broken_at_rest(cluster: Cluster, moved: Placement) -> tuple[Violation, ...]:
    """Return what rules that bind only at rest are newly broken, or worse, once VMs have moved.

    Parameters
    ----------
    moved
        Where VMs are to be then; all others stay.
    """
    at_rest = rules_at_rest(cluster)
    if not at_rest:
        return ()
    before = cluster.placement
    broken = new_or_worse(
        check_placement(cluster, before), check_placement(cluster, {**before, **moved})
    )
    return tuple(violation for violation in broken if violation.key in at_rest)


def _all_at_once(cluster: Cluster, steps: Sequence[Step]) -> Plan:
    """Return a plan with one instant at which all the steps are under way.

    What is under way *now* is the question, so nothing of the planned times counts: the steps last
    equally long, as long as the largest needs for what its VM has resident.
    """
    resident_mib = {vm.id: vm.memory_footprint_mib for vm in cluster.vms}
    rate = {step.vm_id: max(1, step.bandwidth_mib_per_s) for step in steps}
    end_ms = 1 + max(
        (resident_mib.get(step.vm_id, 0) * 1000 // rate[step.vm_id] for step in steps), default=0
    )
    return Plan(
        made_at=cluster.observed_at,
        steps=tuple(
            replace(
                step,
                start_ms=0,
                end_ms=end_ms,
                transferred_mib=resident_mib.get(step.vm_id, 0),
                bandwidth_mib_per_s=rate[step.vm_id],
            )
            for step in steps
        ),
    )
