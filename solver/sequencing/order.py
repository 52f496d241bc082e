"""The door of sequencing: a target placement becomes a plan that can be carried out safely.

One step after the other, each in its own module: ``admission`` drops what may not be moved at all,
``cycles`` finds an order and what has to be parked, ``schedule`` gives each step its time, and
``optimal`` better times where the plan is small and complete. What the target asks for and cannot
be reached is cut off and said so; the placement can then be solved again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from solver.domain.cluster import Cluster, Placement
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.plan import MoveCost, Plan, Step, StepKind
from solver.domain.units import VmId
from solver.sequencing.admission import RestingRules, admit
from solver.sequencing.cycles import find_order
from solver.sequencing.optimal import improved
from solver.sequencing.schedule import schedule
from solver.sequencing.state import Occupancy
from solver.sequencing.timed import Merit, TimedLeg, merit

_FREE = MoveCost()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequenced:
    """A safe plan towards a target, and what it leaves out.

    Parameters
    ----------
    plan
        Timed steps; following them keeps every hard rule and capacity at every instant, or at
        most as broken as it was.
    cut_off
        VMs of the target that stay where they are, in the cluster's order.
    reasons_cut
        For each of them one clause saying why.
    merit
        How soon the plan brings its relief; of two plans for one target the better compares lower.
    """

    plan: Plan
    merit: Merit
    cut_off: tuple[VmId, ...] = ()
    reasons_cut: Mapping[VmId, str] = field(default_factory=dict)


def sequence(
    cluster: Cluster,
    placement: Placement,
    *,
    urgency: Mapping[VmId, int],
    parameters: MigrationParameters = DEFAULT_MIGRATION,
    move_costs: Mapping[VmId, MoveCost] | None = None,
    patience_s: float = math.inf,
) -> Sequenced:
    """Return a timed plan from the cluster's placement to another one.

    At every instant both ends hold the reservation of a migrating VM; capacities, compatibility and
    every rule that binds then hold, or are at most as broken as at the start; caps and bandwidth
    hold; hosts in maintenance are never entered and unreachable ones never touched. Rules that bind
    at rest end no worse than they start. Of the schedules tried the best by ``merit`` is kept.
    Deterministic unless patience ends it: same input, same plan.
    ``solver.domain.check.check_plan`` finds nothing in it.

    Parameters
    ----------
    placement
        The target: host of every VM. A VM that is left out stays; a running VM for which the
        target has ``None`` is cut off from it: plans stop nothing.
    urgency
        Per VM, what it is worth that it arrives sooner; missing counts as 0, ties go by id. VMs of
        an affinity group count as much as the most urgent of them.
    parameters
        Of the migration estimator that gives durations.
    move_costs
        Cost terms that are put on the (first) step of each VM.
    patience_s
        Wall seconds that better times of a safe schedule may take.

    Raises
    ------
    InvalidInputError
        If the target names an unknown VM or host.
    """
    resting = RestingRules(cluster, placement, urgency)
    admission = admit(cluster, placement, urgency, resting)
    start = Occupancy(cluster, {move.vm.id for move in admission.moves})
    order = find_order(
        cluster, start, admission.moves, resting, parameters, staying=admission.refused.keys()
    )
    cut = admission.refused | order.cut_off
    timed = schedule(cluster, start, order.legs, parameters)
    if not cut:
        # What leaves something out is solved and sequenced again: better times would be lost.
        timed = improved(cluster, start, timed, parameters, patience_s=patience_s)
    return Sequenced(
        plan=Plan(
            made_at=cluster.observed_at,
            steps=tuple(_step(cluster, item, move_costs or {}) for item in timed),
        ),
        merit=merit(timed),
        cut_off=tuple(vm.id for vm in cluster.vms if vm.id in cut),
        reasons_cut=cut,
    )


def _step(cluster: Cluster, timed: TimedLeg, move_costs: Mapping[VmId, MoveCost]) -> Step:
    leg = timed.leg
    vm_id = leg.move.vm.id
    destination_id = cluster.hosts[leg.destination].id
    reason = ""
    if leg.parking:
        final_id = cluster.hosts[leg.move.destination].id
        reason = f"parked on the way to {final_id}: moves wait for each other in a circle"
    return Step(
        kind=StepKind.START if leg.source is None else StepKind.MIGRATE,
        vm_id=vm_id,
        source_id=None if leg.source is None else cluster.hosts[leg.source].id,
        destination_id=destination_id,
        start_ms=timed.start_ms,
        end_ms=timed.end_ms,
        bandwidth_mib_per_s=timed.bandwidth_mib_per_s,
        transferred_mib=timed.transferred_mib,
        downtime_ms=timed.downtime_ms,
        parking=leg.parking,
        cost=_FREE if leg.returning else move_costs.get(vm_id, _FREE),
        reason=reason,
    )
