"""The answer to a what-if: can it be, what would it take, what would be left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.whatif.change import Changed, change, flavour_demand
from service.whatif.measure import Headroom, Measure, headroom, measure
from service.whatif.question import HostsQuestion, Question, RoomQuestion
from solver.capacity.hosts import hosts_needed
from solver.capacity.question import Flavour, HostsNeeded, Room, Survival
from solver.capacity.room import room_for
from solver.capacity.survival import survival
from solver.domain.check import new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.result import Result
from solver.domain.scenario import ScenarioSet
from solver.params import SolveParams
from solver.portfolio import Answer
from solver.solve import solve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WhatIf:
    """A cluster as it would be.

    Parameters
    ----------
    feasible
        Whether every VM runs and nothing hard is broken that is not broken as things are.
    blocked_by
        What is in the way, one sentence each; empty if it is feasible.
    before
        As things are.
    unmoved
        After the change, if nothing were moved or started.
    after
        After the change and the moves.
    result
        The moves: plan, reasons, refusals.
    headroom
        What would be left, by resource.
    survival
        Whether the loss of any one host more would be survived, host by host.
    room, needed
        Answers to the questions of how many VMs fit and how many hosts are needed; ``None`` where
        they were not asked.
    """

    feasible: bool
    blocked_by: tuple[str, ...]
    before: Measure
    unmoved: Measure
    after: Measure
    changed: Changed
    result: Result
    headroom: dict[str, Headroom]
    survival: Survival
    room: Room | None = None
    needed: HostsNeeded | None = None


def answer(
    cluster: Cluster,
    question: Question,
    futures: ScenarioSet,
    params: SolveParams | None = None,
    *,
    cancel: threading.Event | None = None,
    on_progress: Callable[[Answer], None] = lambda answer: None,
) -> WhatIf:
    """Return what a question comes to.

    Parameters
    ----------
    futures
        Demand of at least the cluster's VMs.
    params
        How to find the moves; each further question gets as much time as the search does.

    Raises
    ------
    InvalidInputError
        If something is named that is not there, or the rules would contradict one another.
    """
    params = params or SolveParams()
    changed = change(cluster, futures, question)
    result = solve(
        changed.cluster, changed.scenarios, params, cancel=cancel, on_progress=on_progress
    )
    before = measure(cluster, futures, params.weights, cluster.placement)
    after = measure(changed.cluster, changed.scenarios, params.weights, result.placement)
    blocked_by = _blocked_by(before, after, result)
    moved = changed.cluster.with_placement(result.placement)
    return WhatIf(
        feasible=not blocked_by,
        blocked_by=blocked_by,
        before=before,
        unmoved=measure(
            changed.cluster, changed.scenarios, params.weights, changed.cluster.placement
        ),
        after=after,
        changed=changed,
        result=result,
        headroom=headroom(moved, changed.scenarios, result.placement),
        survival=survival(moved, limit_s=params.limit_s),
        room=_room(cluster, futures, moved, changed, question.room, params.limit_s),
        needed=_needed(changed, question.hosts_needed, params.limit_s),
    )


def _blocked_by(before: Measure, after: Measure, result: Result) -> tuple[str, ...]:
    """Return what is hard and newly broken, with why it cannot be mended where that is known."""
    reasons = {refusal.subject: refusal.sentence for refusal in result.refusals}
    return tuple(
        reasons.get(":".join(violation.key), violation.message)
        for violation in new_or_worse(before.violations, after.violations)
    )


def _room(
    cluster: Cluster,
    futures: ScenarioSet,
    moved: Cluster,
    changed: Changed,
    asked: RoomQuestion | None,
    limit_s: float,
) -> Room | None:
    if asked is None:
        return None
    futures = futures.for_vms(tuple(vm.id for vm in cluster.vms))
    flavour = Flavour(
        template=asked.vms.template,
        demand=flavour_demand(cluster, futures, asked.vms),
        max_per_host=1 if asked.vms.apart else None,
    )
    return room_for(
        moved,
        changed.scenarios,
        flavour,
        target_ppm=asked.target_ppm,
        survive_loss=asked.survive_loss,
        limit_s=limit_s,
    )


def _needed(changed: Changed, asked: HostsQuestion | None, limit_s: float) -> HostsNeeded | None:
    if asked is None:
        return None
    found = hosts_needed(
        changed.cluster.vms,
        changed.scenarios,
        asked.types,
        target_ppm=asked.target_ppm,
        survive_loss=asked.survive_loss,
        limit_s=limit_s,
    )
    if not changed.cluster.rules:
        return found
    # Rules name hosts and zones that the hosts to be bought do not have yet.
    unseen = f"the cluster's rules ({len(changed.cluster.rules)}) are not looked at"
    return replace(found, limits=f"{found.limits}; {unseen}" if found.limits else unseen)
