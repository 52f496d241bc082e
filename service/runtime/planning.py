"""From a forecast to a plan that is kept: within the limits, with all that it is worth.

Pure but for the solving itself; what to do with the plan is for the keeper.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from executor.states import MoveState
from service.cooldown import Cooldowns
from service.pipeline import with_cooldowns
from service.plans.document import Expectation, benefit_host_s, made_document
from service.plans.schedule import Automation, Limits, Schedule
from service.runtime.forecasting import Forecasted
from service.runtime.plan_loads import predicted_loads
from solver.domain.check import check_plan
from solver.domain.cluster import Cluster, HostState
from solver.domain.migration import MigrationParameters
from solver.domain.plan import Plan
from solver.domain.plan_score import score_plan
from solver.domain.result import Result
from solver.domain.rules import MoveBudget
from solver.domain.units import HostId
from solver.domain.weights import Weights, to_host_s
from solver.params import SolveParams
from solver.solve import prepare, solve


class Trigger(enum.StrEnum):
    """What a plan is made for."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    DRAIN = "drain"
    """A host is to be emptied for maintenance."""
    RETURN = "return"
    """A host is back from maintenance."""
    RETRY = "retry"
    """The plan before has not done all it was to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A plan that was made.

    Parameters
    ----------
    held_back
        Why it is not proposed although it has steps; empty if it is.
    loads
        Predicted peaks of the hosts it touches, without and with it.
    """

    result: Result
    expected: Expectation
    held_back: str = ""
    loads: tuple[Mapping[str, Any], ...] = ()

    @property
    def plan(self) -> Plan:
        """The plan itself."""
        return self.result.plan


def make_plan(
    cluster: Cluster,
    forecasted: Forecasted,
    *,
    schedule: Schedule,
    trigger: Trigger,
    moves_lately: int,
    cooldowns: Cooldowns,
    migration: MigrationParameters,
    params: SolveParams,
    was_acting: bool,
    stop: threading.Event | None = None,
) -> Made:
    """Return the best plan within the limits.

    Parameters
    ----------
    cluster
        As it is now, with all that is wanted of it.
    moves_lately
        Moves made within the window of the limits.
    migration
        The estimator, fitted to what moves took.
    stop
        Cuts the search short when it is set.
    """
    budget = limited(cluster.budget, schedule.limits, trigger, moves_lately)
    cluster = with_cooldowns(replace(cluster, budget=budget), cooldowns)
    prepare(params, num_hosts=len(cluster.hosts))
    result = solve(
        cluster,
        forecasted.scenarios,
        replace(params, migration=migration, was_acting=was_acting),
        cancel=stop,
    )
    return Made(
        result=result,
        expected=expect(cluster, forecasted, result.plan),
        held_back=_held_back(result, schedule, trigger),
        loads=tuple(predicted_loads(cluster, forecasted.fresh, result.plan)),
    )


def document_of(
    made: Made,
    *,
    trigger: Trigger,
    schedule: Schedule,
    forecaster: str,
    objections: tuple[str, ...],
    asked_by: str,
    reason: str,
) -> dict[str, object]:
    """Return the document of a plan that was made."""
    document = made_document(
        made.result,
        reason=reason or _reason(made, trigger),
        automation=schedule.automation.value,
        forecaster=forecaster,
        expected=made.expected,
        asked_by=asked_by,
    )
    document["loads"] = [dict(item) for item in made.loads]
    return document | ({"objections": list(objections)} if objections else {})


def goes_by_itself(schedule: Schedule, *, objections: tuple[str, ...], made: Made) -> bool:
    """Tell whether a plan is begun without being asked for approval."""
    return (
        schedule.automation is Automation.AUTOMATIC
        and not schedule.paused
        and not objections
        and bool(made.plan.steps)
        and not made.held_back
    )


def limited(budget: MoveBudget, limits: Limits, trigger: Trigger, moves_lately: int) -> MoveBudget:
    """Return the budget of one plan: the cluster's own, and no more than the limits leave.

    A host that has to be emptied is emptied whatever was moved today.
    """
    if trigger is Trigger.DRAIN:
        return budget
    left = None if limits.moves_per_window is None else limits.moves_per_window - moves_lately
    return replace(
        budget,
        max_moves=_least(budget.max_moves, None if left is None else max(0, left)),
        max_moves_per_host=_least(budget.max_moves_per_host, limits.moves_per_host),
    )


def expect(cluster: Cluster, forecasted: Forecasted, plan: Plan) -> Expectation:
    """Return what the next hour costs without and with a plan, on paths the solver never saw."""
    without, with_plan = score_plan(cluster, forecasted.fresh, Weights(), plan)
    return Expectation(
        without_host_s=to_host_s(without),
        with_host_s=to_host_s(with_plan),
        minutes=forecasted.fresh.horizon_seconds / 60,
        num_paths=forecasted.fresh.num_scenarios,
    )


def no_longer_fits(cluster: Cluster, plan: Plan) -> str:
    """Return why a plan does not fit the cluster as it is now; empty if it does.

    Parameters
    ----------
    cluster
        As it is now, with all that is wanted of it.
    """
    where = {vm.id: vm.host_id for vm in cluster.vms}
    hosts = {host.id: host for host in cluster.hosts}
    begun = set()
    for step in plan.steps:
        if step.vm_id not in where:
            return f"VM {step.vm_id!r} is gone"
        if step.destination_id not in hosts:
            return f"host {step.destination_id!r} is gone"
        if hosts[step.destination_id].state is not HostState.UP:
            state = hosts[step.destination_id].state.value
            return f"host {step.destination_id!r} is in state {state}"
        if step.vm_id not in begun and where[step.vm_id] != step.source_id:
            there = where[step.vm_id]
            return f"VM {step.vm_id!r} is on {there!r}, the plan has it on {step.source_id!r}"
        begun.add(step.vm_id)
    # What guests hold resident changes from minute to minute: a step that sends more or less than
    # was planned breaks nothing. Whether there is room for it is looked at all the same.
    broken = check_plan(cluster, plan, least_sent=0.0)
    return f"it would now break a rule or a capacity: {broken[0].message}" if broken else ""


def to_be_emptied(cluster: Cluster) -> frozenset[HostId]:
    """Return the hosts in maintenance on which VMs still stand."""
    closed = {host.id for host in cluster.hosts if host.state is HostState.MAINTENANCE}
    return frozenset(vm.host_id for vm in cluster.vms if vm.host_id in closed and vm.host_id)


def num_done(states: list[str]) -> int:
    """Return how many steps were made, of their states."""
    return sum(state == MoveState.DONE.value for state in states)


def _held_back(result: Result, schedule: Schedule, trigger: Trigger) -> str:
    least = schedule.limits.min_benefit_host_s
    benefit = benefit_host_s(result)
    if trigger in (Trigger.MANUAL, Trigger.DRAIN) or benefit >= least or not result.plan.steps:
        return ""
    if result.before.repair > result.after.repair:
        return ""
    return f"it saves {benefit:.1f} host-seconds, at least {least:g} wanted"


def _reason(made: Made, trigger: Trigger) -> str:
    if not made.plan.steps:
        return f"nothing worth moving ({made.result.status.value.replace('_', ' ')})"
    expected = made.expected
    moves = len(made.plan.steps)
    what = "a host is to be emptied; " if trigger is Trigger.DRAIN else ""
    return (
        f"{what}{moves} move{'s' if moves > 1 else ''}: expected shortfall of the next hour "
        f"{expected.without_host_s:.1f} host-seconds without, {expected.with_host_s:.1f} with them"
    )


def _least(*amounts: int | None) -> int | None:
    given = [amount for amount in amounts if amount is not None]
    return min(given) if given else None
