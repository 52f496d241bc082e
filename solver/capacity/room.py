"""How many more VMs of a flavour fit in a cluster as it stands, and where they would go.

Nobody is moved for them. For each future a host has room for a whole number of them, so all that is
left to decide is which futures to give up within the target, and, when a loss has to be survived,
who would go where: a small program, solved exactly.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pulp

from solver.capacity.mip import MipStatus, solve_mip, whole_above
from solver.capacity.need import Needs, compile_needs, overload_ppm
from solver.capacity.question import CapacityStatus, Flavour, Room, require_target
from solver.capacity.survival import survival
from solver.domain.cluster import VM, Cluster, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import VmId
from solver.domain.weights import objective_steps

IntArray = npt.NDArray[np.int64]

MOST_PER_HOST: Final = 100_000
"""Room of a host that nothing limits: beyond it a number says nothing."""


def room_for(
    cluster: Cluster,
    scenarios: ScenarioSet,
    flavour: Flavour,
    *,
    target_ppm: int,
    survive_loss: bool = False,
    limit_s: float = 10.0,
) -> Room:
    """Return how many more VMs of a flavour fit, all other VMs staying where they are.

    They go to hosts that are up and that the flavour allows; reservations fit; and the fleet's
    overload on the scenarios is at most the target. If asked, the loss of any one host is survived
    by reservations and rules (see :func:`solver.capacity.survival.survival`).

    Parameters
    ----------
    scenarios
        Demand of at least the cluster's VMs, in the order of futures of the flavour's.
    target_ppm
        Largest probability, in parts per million, that any host is short of anything.
    limit_s
        Wall seconds.

    Raises
    ------
    InvalidInputError
        If the flavour's demand is of other scenarios, or names an unknown host.
    """
    require_target(target_ppm)
    ends_s = time.monotonic() + limit_s
    scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    _require_fitting(cluster, scenarios, flavour)
    more = _compile(cluster, scenarios, flavour)
    numbers, status, bound, overloaded = _most(more, scenarios.probability_ppm, target_ppm, limit_s)
    if overloaded:
        return Room(
            status=CapacityStatus.INFEASIBLE,
            number=0,
            bound=0,
            overload_ppm=overloaded,
            limits="the cluster as it is exceeds the target overload",
        )
    limits = _limiting(more, numbers)
    survives: bool | None = None
    if survive_loss:
        most = numbers
        numbers, survives, exact = _thinned(cluster, flavour, numbers, ends_s)
        if not survives:
            lost = survives is False
            return Room(
                status=CapacityStatus.INFEASIBLE if lost else CapacityStatus.UNKNOWN,
                number=0,
                bound=0 if lost else bound,
                overload_ppm=overload_ppm(more.needs, more.taken, scenarios.probability_ppm),
                survives_loss=survives,
                limits=(
                    "the cluster as it is does not survive the loss of any one host"
                    if lost
                    else "whether the cluster survives the loss of any one host is not known"
                ),
            )
        if not exact:
            status = CapacityStatus.FEASIBLE
        if numbers.sum() < most.sum():
            limits = "the loss of a host has to be survived"
    taken = more.taken + numbers[:, None] * more.own
    return Room(
        status=status,
        number=int(numbers.sum()),
        bound=bound,
        by_host={host.id: n for host, n in zip(cluster.hosts, numbers.tolist(), strict=True) if n},
        overload_ppm=overload_ppm(more.needs, taken, scenarios.probability_ppm),
        survives_loss=survives,
        limits=limits,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _More:
    """The cluster as it is, and one VM of the flavour on each host.

    Parameters
    ----------
    taken
        Load of each host, shape ``(H, D)``.
    own
        What one more VM takes on each host, shape ``(H, D)``.
    open_to
        Hosts that may take any, shape ``(H,)``.
    most
        How many each may take by count alone, shape ``(H,)``.
    """

    needs: Needs
    taken: IntArray
    own: IntArray
    open_to: npt.NDArray[np.bool_]
    most: int


def _require_fitting(cluster: Cluster, scenarios: ScenarioSet, flavour: Flavour) -> None:
    expected = scenarios.demand.shape[0], *scenarios.demand.shape[2:]
    if flavour.demand.shape != expected:
        raise InvalidInputError(
            f"flavour {flavour.template.id!r}: expected demand of shape {expected}, as the "
            f"scenarios have, got {flavour.demand.shape}",
            path="demand",
        )
    known = {host.id for host in cluster.hosts}
    for host_id in flavour.host_ids:
        if host_id not in known:
            raise InvalidInputError(
                f"flavour {flavour.template.id!r} names unknown host {host_id!r}", path="host_ids"
            )


def _compile(cluster: Cluster, scenarios: ScenarioSet, flavour: Flavour) -> _More:
    position = {host.id: h for h, host in enumerate(cluster.hosts)}
    demand = np.concatenate([scenarios.demand, flavour.demand[:, None]], axis=1)
    needs = compile_needs(
        cluster.hosts, (*cluster.vms, flavour.template), demand[..., objective_steps(scenarios)]
    )
    hosts = [-1 if vm.host_id is None else position[vm.host_id] for vm in cluster.vms]
    named = set(flavour.host_ids)
    return _More(
        needs=needs,
        taken=needs.loads(np.array([*hosts, -1], dtype=np.int64)),
        own=needs.need[needs.host_class, -1],
        open_to=np.array(
            [
                host.state is HostState.UP and (not named or host.id in named)
                for host in cluster.hosts
            ]
        ),
        most=MOST_PER_HOST if flavour.max_per_host is None else flavour.max_per_host,
    )


def _fitting(more: _More, entries: IntArray) -> IntArray:
    """Return how many each host has room for by some entries alone, shape ``(H,)``."""
    left = np.maximum(0, more.needs.room - more.taken)[:, entries]
    own = more.own[:, entries]
    each = np.where(own > 0, left // np.maximum(1, own), more.most)
    room = np.minimum(each.min(axis=1, initial=more.most), more.most)
    return np.where(more.open_to, room, 0)


def _most(
    more: _More, probability_ppm: tuple[int, ...], target_ppm: int, limit_s: float
) -> tuple[IntArray, CapacityStatus, int, int]:
    """Return the most VMs per host, how good that is, a bound, and the overload if it is too much.

    A future is given up as a whole: it is one in which some host is short.
    """
    needs = more.needs
    already = overload_ppm(needs, more.taken, probability_ppm)
    if already > target_ppm:
        return np.zeros(len(needs.room), dtype=np.int64), CapacityStatus.INFEASIBLE, 0, already
    lost = set(needs.scenario_of[(more.taken > needs.room).any(axis=0)].tolist())
    reserved = _fitting(more, np.flatnonzero(needs.scenario_of < 0))
    by_future = {
        k: _fitting(more, np.flatnonzero(needs.scenario_of == k))
        for k in range(len(probability_ppm))
        if k not in lost
    }
    binding = {k: room for k, room in by_future.items() if (room < reserved).any()}
    spare_ppm = target_ppm - already
    if all(probability_ppm[k] > spare_ppm for k in binding):
        numbers = np.minimum.reduce([reserved, *binding.values()])
        return numbers, CapacityStatus.OPTIMAL, int(numbers.sum()), 0
    program = pulp.LpProblem("room", pulp.LpMaximize)
    given_up = {k: program.add_variable(f"y{k}", cat=pulp.LpBinary) for k in binding}
    number = [program.add_variable(f"m{h}", 0, int(n)) for h, n in enumerate(reserved)]
    program.setObjective(pulp.lpSum(number))
    program += pulp.lpSum(probability_ppm[k] * y for k, y in given_up.items()) <= spare_ppm
    for k, room in binding.items():
        for h in np.flatnonzero(room < reserved).tolist():
            slack = int(reserved[h] - room[h])
            program += number[h] <= int(room[h]) + slack * given_up[k]
    outcome = solve_mip(program, limit_s=limit_s)
    kept = [k for k in binding if not (outcome.found and given_up[k].value() > 0.5)]
    numbers = np.minimum.reduce([reserved, *(binding[k] for k in kept)])
    if outcome.status is MipStatus.OPTIMAL:
        return numbers, CapacityStatus.OPTIMAL, int(numbers.sum()), 0
    bound = int(reserved.sum())
    if np.isfinite(outcome.bound):
        bound = min(bound, whole_above(outcome.bound))
    return numbers, CapacityStatus.FEASIBLE, bound, 0


def _thinned(
    cluster: Cluster, flavour: Flavour, numbers: IntArray, ends_s: float
) -> tuple[IntArray, bool | None, bool]:
    """Return numbers with which any loss is survived, whether one is, and whether they are most.

    Hosts are filled to one level, the highest that stands the loss; then one by one beyond it.
    """

    def stands(some: IntArray) -> bool | None:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            return None
        return survival(_with(cluster, flavour, some), limit_s=left_s).survives

    if stands(numbers):
        return numbers, True, True
    none = np.zeros_like(numbers)
    verdict = stands(none)
    if not verdict:
        return none, verdict, True
    low, high = 0, int(numbers.max(initial=0))
    while high - low > 1:
        level = (low + high) // 2
        low, high = (level, high) if stands(np.minimum(numbers, level)) else (low, level)
    chosen = np.minimum(numbers, low)
    for h in np.flatnonzero(numbers > low).tolist():
        more = chosen.copy()
        more[h] += 1
        if stands(more):
            chosen = more
    return chosen, True, False


def _with(cluster: Cluster, flavour: Flavour, numbers: IntArray) -> Cluster:
    """Return the cluster with so many VMs of the flavour on each host."""
    named = flavour.template
    taken = {vm.id for vm in cluster.vms}
    prefix = named.id
    while any(vm_id.startswith(f"{prefix}#") for vm_id in taken):
        prefix = VmId(f"{prefix}#")
    added: list[VM] = [
        replace(named, id=VmId(f"{prefix}#{host.id}#{i}"), host_id=host.id)
        for host, n in zip(cluster.hosts, numbers.tolist(), strict=True)
        for i in range(n)
    ]
    return replace(cluster, vms=(*cluster.vms, *added))


def _limiting(more: _More, numbers: IntArray) -> str:
    """Return what keeps one more from most of the hosts that may take any."""
    if not more.open_to.any():
        return "no host that the flavour allows is up"
    after = more.taken + (numbers[:, None] + 1) * more.own
    short = (after > more.needs.room) & more.open_to[:, None]
    if not short.any():
        return "the number per host"
    counts = short.sum(axis=0)
    d = int(counts.argmax())
    return f"{more.needs.name_of[d]}, on {counts[d]} of {int(more.open_to.sum())} hosts"
