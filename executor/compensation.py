"""What follows a plan that did not do all it was to do: plan anew, or bring back what was moved.

A report says which of the two is due, as the operator chose when the plan was begun. Planning anew
is the solver's; the way back is found here, without it: it needs no judgement of what is worth
moving, only an order in which nothing breaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from executor.guards import Decision, judge_step
from executor.report import ExecutionReport, MoveOutcome
from executor.states import MoveState, PlanState
from executor.under_way import broken_at_rest
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.migration import estimate
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.units import HostId, VmId

_Leg = tuple[HostId, HostId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """A VM that was moved and does not go back."""

    vm_id: VmId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReturnPlan:
    """The way back.

    Parameters
    ----------
    plan
        Brings VMs back to where the plan had found them, one after the other.
    staying
        The others that were moved, and why they stay.
    """

    plan: Plan
    staying: tuple[Staying, ...]


def plan_return(report: ExecutionReport, cluster: Cluster) -> ReturnPlan:
    """Return the plan that brings back what a plan has moved, as far as that breaks nothing.

    Each step passes the last check before every move, at the instant it would start, with those
    before it made. VMs go straight back if they can; if some cannot, the way they came, over the
    hosts where they were parked, is tried as well, and the better of both is returned. A VM that
    would not get all the way stays where it is.

    Parameters
    ----------
    report
        Of a plan that is over.
    cluster
        The live cluster.

    Raises
    ------
    InvalidInputError
        If the plan is still being carried out.
    """
    if report.state not in (PlanState.FINISHED, PlanState.ABORTED):
        raise InvalidInputError(
            f"plan {report.plan_id!r} is {report.state.value}, expected one that is over"
        )
    ways: dict[VmId, list[_Leg]] = {}
    staying: dict[VmId, str] = {}
    for vm_id, steps in _moved(report).items():
        reason = _lost_sight(cluster, vm_id, steps)
        if reason:
            staying[vm_id] = reason
        elif steps[0].source_id is not None and steps[0].source_id != steps[-1].destination_id:
            ways[vm_id] = _way_back(steps)
    search = _Search(cluster, f"returns to where plan {report.plan_id!r} had found it")
    straight = {vm_id: [(legs[0][0], legs[-1][1])] for vm_id, legs in ways.items()}
    steps, stuck = search.order(straight)
    if stuck and straight != ways:
        other_steps, other_stuck = search.order(ways)
        if len(other_stuck) < len(stuck):
            steps, stuck = other_steps, other_stuck
    return ReturnPlan(
        plan=Plan(made_at=cluster.observed_at, steps=tuple(steps)),
        staying=tuple(
            Staying(vm_id=vm_id, reason=reason) for vm_id, reason in {**staying, **stuck}.items()
        ),
    )


def _moved(report: ExecutionReport) -> dict[VmId, list[Step]]:
    """Return the completed steps of each VM in their order, the VM that moved last first."""
    done = sorted(report.in_state(MoveState.DONE), key=_ended, reverse=True)
    moved: dict[VmId, list[Step]] = {}
    for outcome in done:
        moved.setdefault(outcome.vm_id, []).insert(0, outcome.step)
    return moved


def _ended(outcome: MoveOutcome) -> float:
    return 0.0 if outcome.ended_at is None else outcome.ended_at.timestamp()


def _lost_sight(cluster: Cluster, vm_id: VmId, steps: Sequence[Step]) -> str:
    """Return why a VM is not the plan's to bring back; empty if it is."""
    placement = cluster.placement
    if vm_id not in placement:
        return "does not exist any more"
    if steps[0].kind is StepKind.START:
        return "was started by the plan, ran nowhere before"
    there = placement[vm_id]
    if there != steps[-1].destination_id:
        where = "runs nowhere" if there is None else f"was moved to {there!r} since"
        return f"{where}, the plan had brought it to {steps[-1].destination_id!r}"
    return ""


def _way_back(steps: Sequence[Step]) -> list[_Leg]:
    """Return the way a VM came, backwards; what others moved in between is cut short."""
    legs: list[_Leg] = []
    for step in reversed(steps):
        assert step.source_id is not None
        start = legs[-1][1] if legs else step.destination_id
        if start != step.source_id:
            legs.append((start, step.source_id))
    return legs


class _Search:
    """Finds an order of moves in which nothing breaks."""

    def __init__(self, cluster: Cluster, reason: str) -> None:
        self._cluster = cluster
        self._reason = reason
        self._hosts = {host.id: host for host in cluster.hosts}
        self._vms = {vm.id: vm for vm in cluster.vms}

    def order(self, ways: Mapping[VmId, list[_Leg]]) -> tuple[list[Step], dict[VmId, str]]:
        """Return steps that take VMs all their way, and why the others cannot go it."""
        going = dict(ways)
        left_out: dict[VmId, str] = {}
        while True:
            stuck = self._broken_in_the_end(going)
            steps: list[Step] = []
            if not stuck:
                steps, stuck = self._go(going)
            if not stuck:
                return steps, left_out
            left_out |= stuck
            for vm_id in stuck:
                del going[vm_id]

    def _broken_in_the_end(self, ways: Mapping[VmId, list[_Leg]]) -> dict[VmId, str]:
        """Return the VMs whose return leaves a rule broken that binds at rest."""
        there = {vm_id: legs[-1][1] for vm_id, legs in ways.items()}
        return {
            vm_id: violation.message
            for violation in broken_at_rest(self._cluster, there)
            for vm_id in violation.vm_ids
            if vm_id in ways
        }

    def _go(self, ways: Mapping[VmId, list[_Leg]]) -> tuple[list[Step], dict[VmId, str]]:
        """Move whatever can be moved, first come first served, until nothing can any more."""
        live = self._cluster
        to_go = {vm_id: list(legs) for vm_id, legs in ways.items()}
        made: list[Step] = []
        reasons: dict[VmId, str] = {}
        while to_go:
            now_ms = made[-1].end_ms if made else 0
            planned = {
                vm_id: [self._step(vm_id, leg, now_ms, legs[-1]) for leg in legs]
                for vm_id, legs in to_go.items()
            }
            step = self._first_that_may(live, planned, reasons)
            if step is None:
                return made, {vm_id: reasons[vm_id] for vm_id in to_go}
            made.append(step)
            live = _with(live, step)
            del to_go[step.vm_id][0]
            if not to_go[step.vm_id]:
                del to_go[step.vm_id]
        return made, {}

    def _first_that_may(
        self, live: Cluster, planned: Mapping[VmId, list[Step]], reasons: dict[VmId, str]
    ) -> Step | None:
        for vm_id, (step, *later) in planned.items():
            others = [s for other, steps in planned.items() if other != vm_id for s in steps]
            verdict = judge_step(live, step, [], [*later, *others])
            if verdict.decision is Decision.PROCEED:
                return step
            reasons[vm_id] = verdict.reason
        return None

    def _step(self, vm_id: VmId, leg: _Leg, start_ms: int, last: _Leg) -> Step:
        vm = self._vms[vm_id]
        bandwidth = self._bandwidth_mib_per_s(leg)
        course = estimate(vm.memory_footprint_mib, vm.dirty_mib_per_s, max(1, bandwidth))
        return Step(
            kind=StepKind.MIGRATE,
            vm_id=vm_id,
            source_id=leg[0],
            destination_id=leg[1],
            start_ms=start_ms,
            end_ms=start_ms + max(1, int(course.duration_ms)),
            bandwidth_mib_per_s=bandwidth,
            transferred_mib=int(course.transferred_mib),
            downtime_ms=int(course.downtime_ms),
            parking=leg != last,
            reason=self._reason,
        )

    def _bandwidth_mib_per_s(self, leg: _Leg) -> int:
        """Return what both ends and the link between them carry; 0 if an end is gone."""
        source, destination = (self._hosts.get(host_id) for host_id in leg)
        if source is None or destination is None:
            return 0
        link = self._cluster.network.link(source, destination)
        return link.narrowest_mib_per_s(source, destination)


def _with(cluster: Cluster, step: Step) -> Cluster:
    """Return the cluster after a step."""
    return replace(
        cluster,
        vms=tuple(
            replace(vm, host_id=step.destination_id) if vm.id == step.vm_id else vm
            for vm in cluster.vms
        ),
    )
