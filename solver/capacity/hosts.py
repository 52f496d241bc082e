"""How many hosts of which types carry a set of VMs, at the least price.

Two halves that meet. A program over *numbers* says what any answer costs at least: hosts of each
type, VMs of each size class on each type, and which scenarios are given up. A packing over *VMs*
says what can be done. The program leaves out that a VM is on one host, so its numbers may be a
little too few; they are then asked for with some head room until the VMs are seen to fit, and hosts
that turn out not to be needed are dropped.

An answer made from few scenarios flatters itself, so it is judged on fresh ones, and sized with a
margin on demand until it stands them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
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


MARGINS: Final = (1.0, 1.03, 1.07, 1.12, 1.2, 1.3, 1.45, 1.65, 2.0)
"""Factors on demand with which hosts are sized until fresh scenarios meet the target as well.

An answer fits the scenarios it is made from as closely as it can, so others overload it more often.
"""


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

    With fresh scenarios, demand is sized with a growing margin until the overload on them is at
    most the target, too. Where it does not come to that, the answer with the least is returned,
    and says so.

    Parameters
    ----------
    scenarios
        Joint demand of at least the VMs.
    target_ppm
        Largest probability, in parts per million, that any host is short of anything.
    survive_loss
        Whether the loss of any one host has to be survived (N+1).
    fresh
        Scenarios to judge the answer by that it is not made from; many more than 1 in the target.
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
    vm_ids = tuple(vm.id for vm in vms)
    sizing = _Sizing(
        vms=vms,
        types=types,
        scenarios=scenarios.for_vms(vm_ids),
        fresh=None if fresh is None else fresh.for_vms(vm_ids),
        target_ppm=target_ppm,
        survive_loss=survive_loss,
        ends_s=time.monotonic() + limit_s,
    )
    if not vms:
        return HostsNeeded(
            status=CapacityStatus.OPTIMAL,
            target_ppm=target_ppm,
            survives_loss=True if survive_loss else None,
            fresh_overload_ppm=None if fresh is None else 0,
            limits="there is no VM to carry",
        )
    best = sizing.answer(1.0)
    for margin in MARGINS[1:]:
        if best.meets_target is not False:
            return best
        wider = sizing.answer(margin, bound=best.bound)
        if not wider.hosts:
            break
        best = min(wider, best, key=lambda answer: (answer.fresh_overload_ppm, answer.price))
    return best


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizing:
    """One question, to be answered with one margin or another."""

    vms: Sequence[VM]
    types: Sequence[HostType]
    scenarios: ScenarioSet
    fresh: ScenarioSet | None
    target_ppm: int
    survive_loss: bool
    ends_s: float

    def answer(self, margin: float, *, bound: int | None = None) -> HostsNeeded:
        """Return the cheapest hosts found for demand times a margin.

        Parameters
        ----------
        bound
            What any answer without margin costs at least; found out when left out.
        """
        types, survive_loss, ends_s = self.types, self.survive_loss, self.ends_s
        templates = [kind.template for kind in types]
        demand = np.ceil(future_demand(self.scenarios) * margin).astype(np.int64)
        needs = compile_needs(templates, self.vms, demand)
        program = NumbersProgram(
            types, needs, self.scenarios.probability_ppm, self.target_ppm, survive_loss
        )
        misfit = program.misfit(self.vms)
        if misfit:
            return self._none(CapacityStatus.INFEASIBLE, misfit)
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
                    return self._none(CapacityStatus.INFEASIBLE, program.shortage())
                bound = max(0, least) if bound is None else bound
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
            limits = "no packing was found with the hosts that can be had, or in the time given"
            return self._none(CapacityStatus.UNKNOWN, limits, bound or 0)
        return self._packed(best, bound or 0, margin, program.binding)

    def _none(self, status: CapacityStatus, limits: str, bound: int = 0) -> HostsNeeded:
        return HostsNeeded(status=status, bound=bound, target_ppm=self.target_ppm, limits=limits)

    def _packed(
        self, best: tuple[IntArray, IntArray], bound: int, margin: float, limits: str
    ) -> HostsNeeded:
        """Return hosts and packing as an answer, judged by demand as it is."""
        chosen, packed = best
        hosts: list[Host] = []
        counts: dict[str, int] = {}
        for kind in chosen.tolist():
            name = self.types[kind].template.id
            counts[name] = counts.get(name, 0) + 1
            hosts.append(replace(self.types[kind].template, id=HostId(f"{name}-{counts[name]}")))
        price = sum(self.types[kind].price for kind in chosen.tolist())

        def judged(futures: ScenarioSet) -> int:
            whole = compile_needs(hosts, self.vms, future_demand(futures))
            return overload_ppm(whole, whole.loads(packed), futures.probability_ppm)

        return HostsNeeded(
            status=CapacityStatus.OPTIMAL if price == bound else CapacityStatus.FEASIBLE,
            counts=counts,
            price=price,
            bound=bound,
            hosts=tuple(hosts),
            placement={vm.id: hosts[h].id for vm, h in zip(self.vms, packed.tolist(), strict=True)},
            target_ppm=self.target_ppm,
            margin=margin,
            overload_ppm=judged(self.scenarios),
            fresh_overload_ppm=None if self.fresh is None else judged(self.fresh),
            survives_loss=True if self.survive_loss else None,
            limits=limits,
        )


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
