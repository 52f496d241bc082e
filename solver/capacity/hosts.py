"""How many hosts of which types carry a set of VMs, at the least price.

Two halves that meet. A program over *numbers* says what any answer costs at least: hosts of each
type, VMs of each size class on each type, and which scenarios are given up. A packing over *VMs*
says what can be done. The program leaves out that a VM is on one host, so its numbers may be a
little too few; they are then asked for with some head room until the VMs are seen to fit, and hosts
that turn out not to be needed are dropped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.capacity.mip import MipStatus
from solver.capacity.need import Needs, compile_needs, future_demand, overload_ppm
from solver.capacity.numbers import Numbers, NumbersProgram
from solver.capacity.packing import pack, survives_any_loss
from solver.capacity.question import CapacityStatus, HostsNeeded, HostType, require_target
from solver.domain.cluster import VM, Host, require_unique
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import HostId

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HEAD_ROOM: Final = (1.0, 1.01, 1.02, 1.04, 1.07, 1.1, 1.15, 1.22, 1.35, 1.5, 1.8, 2.5, 4.0)
"""Factors on needs with which numbers of hosts are asked for until the VMs are seen to fit."""


def hosts_needed(
    vms: Sequence[VM],
    scenarios: ScenarioSet,
    types: Sequence[HostType],
    *,
    target_ppm: int,
    survive_loss: bool = False,
    fresh: ScenarioSet | None = None,
    limit_s: float = 10.0,
) -> HostsNeeded:
    """Return the cheapest hosts found that carry the VMs, and what any others cost at least.

    Reservations fit on every host; the fleet's overload on the scenarios is at most the target;
    and, if asked, when any one host is lost its VMs fit on the others, reservations and honoured
    scenarios alike. VMs go to hosts that provide what they require; rules and zones are not
    looked at.

    Parameters
    ----------
    scenarios
        Joint demand of at least the VMs.
    target_ppm
        Largest probability, in parts per million, that any host is short of anything.
    survive_loss
        Whether the loss of any one host has to be survived (N+1).
    fresh
        Scenarios to judge the answer by that it is not made from.
    limit_s
        Wall seconds.

    Raises
    ------
    InvalidInputError
        If there is no host type, an id stands twice, or a VM has no demand.
    """
    if not types:
        raise InvalidInputError("expected at least one host type, got none", path="types")
    require_unique((kind.template.id for kind in types), "types")
    require_unique((vm.id for vm in vms), "vms")
    require_target(target_ppm)
    if not vms:
        return HostsNeeded(
            status=CapacityStatus.OPTIMAL,
            survives_loss=True if survive_loss else None,
            fresh_overload_ppm=None if fresh is None else 0,
            limits="there is no VM to carry",
        )
    ends_s = time.monotonic() + limit_s
    vm_ids = tuple(vm.id for vm in vms)
    scenarios = scenarios.for_vms(vm_ids)
    templates = [kind.template for kind in types]
    needs = compile_needs(templates, vms, future_demand(scenarios))
    program = NumbersProgram(types, needs, scenarios.probability_ppm, target_ppm, survive_loss)
    misfit = program.misfit(vms)
    if misfit:
        return HostsNeeded(status=CapacityStatus.INFEASIBLE, limits=misfit)
    bound = 0
    prices = np.array([kind.price for kind in types], dtype=np.int64)
    best: tuple[IntArray, IntArray] | None = None
    last: Numbers | None = None
    for factor in HEAD_ROOM:
        left_s = ends_s - time.monotonic()
        if left_s <= 0:
            break
        numbers, status, least = program.solve(factor, left_s / 2)
        if factor == 1.0:
            if status is MipStatus.INFEASIBLE:
                return HostsNeeded(status=CapacityStatus.INFEASIBLE, limits=program.shortage())
            bound = max(0, least)
        if numbers is None:
            # So much head room is not to be had: what is, is the last to be tried.
            if last is None or status is not MipStatus.INFEASIBLE or program.all_hosts is None:
                break
            numbers = Numbers(counts=program.all_hosts, honoured=last.honoured)
        chosen = np.repeat(np.arange(len(types)), numbers.counts)
        honoured = needs.honouring(numbers.honoured)
        found = _carry(honoured, chosen, survive_loss)
        if found is not None:
            best = _drop_unneeded(honoured, chosen, found, prices, survive_loss, ends_s)
        if found is not None or status is MipStatus.INFEASIBLE:
            break
        last = numbers
    if best is None:
        return HostsNeeded(
            status=CapacityStatus.UNKNOWN,
            bound=bound,
            limits="no packing was found with the hosts that can be had, or in the time given",
        )
    return _answer(vms, types, scenarios, fresh, best, bound, survive_loss, program.binding)


def _carry(needs: Needs, chosen: IntArray, survive_loss: bool) -> IntArray | None:
    """Return a packing onto hosts of the chosen types, or ``None`` if none was found."""
    if not chosen.size:
        return None
    hosts = needs.of_hosts(chosen)
    for level in (True,) if survive_loss else (False, True):
        found = pack(hosts, level=level)
        if found is not None and (not survive_loss or survives_any_loss(hosts, found)):
            return found
    return None


def _drop_unneeded(
    needs: Needs,
    chosen: IntArray,
    found: IntArray,
    prices: IntArray,
    survive_loss: bool,
    ends_s: float,
) -> tuple[IntArray, IntArray]:
    """Return hosts and packing after taking hosts away, the dearest types first, while it works."""
    for kind in np.argsort(-prices, kind="stable").tolist():
        while (chosen == kind).any() and time.monotonic() < ends_s:
            fewer = np.delete(chosen, np.flatnonzero(chosen == kind)[-1])
            packed = _carry(needs, fewer, survive_loss)
            if packed is None:
                break
            chosen, found = fewer, packed
    return chosen, found


def _answer(
    vms: Sequence[VM],
    types: Sequence[HostType],
    scenarios: ScenarioSet,
    fresh: ScenarioSet | None,
    best: tuple[IntArray, IntArray],
    bound: int,
    survive_loss: bool,
    limits: str,
) -> HostsNeeded:
    chosen, packed = best
    hosts: list[Host] = []
    counts: dict[str, int] = {}
    for kind in chosen.tolist():
        name = types[kind].template.id
        counts[name] = counts.get(name, 0) + 1
        hosts.append(replace(types[kind].template, id=HostId(f"{name}-{counts[name]}")))
    price = sum(types[kind].price for kind in chosen.tolist())

    def judged(futures: ScenarioSet) -> int:
        whole = compile_needs(hosts, vms, future_demand(futures))
        return overload_ppm(whole, whole.loads(packed), futures.probability_ppm)

    return HostsNeeded(
        status=CapacityStatus.OPTIMAL if price == bound else CapacityStatus.FEASIBLE,
        counts=counts,
        price=price,
        bound=bound,
        hosts=tuple(hosts),
        placement={vm.id: hosts[h].id for vm, h in zip(vms, packed.tolist(), strict=True)},
        overload_ppm=judged(scenarios),
        fresh_overload_ppm=(
            None if fresh is None else judged(fresh.for_vms(tuple(vm.id for vm in vms)))
        ),
        survives_loss=True if survive_loss else None,
        limits=limits,
    )
