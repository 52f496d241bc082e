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
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pulp

from solver.capacity.mip import MipStatus, solve_mip, whole_below
from solver.capacity.need import Needs, compile_needs, future_demand, overload_ppm
from solver.capacity.packing import pack, survives_any_loss
from solver.capacity.question import CapacityStatus, HostsNeeded, HostType, require_target
from solver.domain.cluster import VM, Host, require_unique
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.score import UNLIMITED
from solver.domain.units import HostId

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

HEAD_ROOM: Final = (1.0, 1.01, 1.02, 1.04, 1.07, 1.1, 1.15, 1.22, 1.35, 1.5, 1.8, 2.5, 4.0)
"""Factors on needs with which numbers of hosts are asked for until the VMs are seen to fit."""

MOST_CLASSES: Final = 64
"""Size classes of VMs told apart by the program; more make it slower and hardly sharper."""

MOST_HOSTS: Final = 10_000
"""No answer has more hosts: beyond it something is wrong with the units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Numbers:
    """An answer of the program: hosts of each type and the scenarios honoured."""

    counts: IntArray
    honoured: BoolArray


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
    program = _Program(types, needs, scenarios.probability_ppm, target_ppm, survive_loss)
    misfit = program.misfit(vms)
    if misfit:
        return HostsNeeded(status=CapacityStatus.INFEASIBLE, limits=misfit)
    bound = 0
    prices = np.array([kind.price for kind in types], dtype=np.int64)
    best: tuple[IntArray, IntArray] | None = None
    last: _Numbers | None = None
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
            numbers = _Numbers(counts=program.all_hosts, honoured=last.honoured)
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


class _Program:
    """The relaxation: numbers of hosts, of VMs by class and type, and scenarios given up.

    Every packing keeps each of its rows, so its optimum is a lower bound:

    - on the hosts of a type, the least reservations of the VMs there fit in the sum of the hosts;
    - what all VMs want in an honoured scenario fits in the sum of all hosts, and in what is left
      when a host of any type in use is lost;
    - a host holds at most ``m`` VMs that each reserve more than ``1/(m+1)`` of it.
    """

    def __init__(
        self,
        types: Sequence[HostType],
        needs: Needs,
        probability_ppm: Sequence[int],
        target_ppm: int,
        survive_loss: bool,
    ) -> None:
        self._types = types
        self._needs = needs
        self._probability_ppm = probability_ppm
        self._target_ppm = target_ppm
        self._survive_loss = survive_loss
        self._reserving = np.flatnonzero(needs.scenario_of < 0)
        self._class_of, self._members = _size_classes(needs, self._reserving)
        self.binding = ""
        """What the last numbers hang on."""

    @property
    def all_hosts(self) -> IntArray | None:
        """How many hosts of each type can be had; ``None`` if any number of some."""
        if any(kind.max_count is None for kind in self._types):
            return None
        return np.array([_most(kind) for kind in self._types], dtype=np.int64)

    def misfit(self, vms: Sequence[VM]) -> str:
        """Return why some VM fits on no type at all by its reservation; empty when all do."""
        needs = self._needs
        own = needs.need[needs.host_class][:, :, self._reserving]
        fits = (own <= needs.room[:, None, self._reserving]).all(axis=2)
        fits &= np.array([kind.max_count != 0 for kind in self._types])[:, None]
        alone = np.flatnonzero(~fits.any(axis=0))
        if not alone.size:
            return ""
        return f"VM {vms[int(alone[0])].id!r} fits on no host type, even alone"

    def solve(self, factor: float, limit_s: float) -> tuple[_Numbers | None, MipStatus, int]:
        """Return numbers for needs times a factor, how good they are, and a bound on the price."""
        needs, types = self._needs, self._types
        program = pulp.LpProblem("hosts", pulp.LpMinimize)
        number = [
            program.add_variable(f"n{t}", 0, _most(kind), cat=pulp.LpInteger)
            for t, kind in enumerate(types)
        ]
        program.setObjective(
            pulp.LpAffineExpression([(n, k.price) for n, k in zip(number, types, strict=True)])
        )
        given_up = [
            program.add_variable(f"y{k}", cat=pulp.LpBinary) if p <= self._target_ppm else 0
            for k, p in enumerate(self._probability_ppm)
        ]
        program += (
            pulp.lpSum(p * y for p, y in zip(self._probability_ppm, given_up, strict=True))
            <= self._target_ppm
        )
        program += pulp.lpSum(number) >= 1
        used = self._add_use(program, number) if self._survive_loss else []
        self._add_reservations(program, number, factor)
        wanted = np.rint(needs.need.min(axis=0).sum(axis=0) * factor).astype(np.int64)
        room = np.minimum(needs.room, wanted)
        for d in _worth_a_row(wanted, needs.room, needs.scenario_of):
            k = int(needs.scenario_of[d])
            short = 0 if k < 0 else given_up[k] * int(wanted[d])
            own = [float(a) for a in room[:, d]]
            has = pulp.LpAffineExpression(list(zip(number, own, strict=True)))
            if not used:
                program += has + short >= int(wanted[d])
            for t, use in enumerate(used):
                program += has + short - own[t] * use >= int(wanted[d])
        outcome = solve_mip(program, limit_s=limit_s)
        if not outcome.found:
            least = 0 if outcome.status is MipStatus.INFEASIBLE else whole_below(outcome.bound)
            return None, outcome.status, least
        counts = np.array([round(n.value()) for n in number], dtype=np.int64)
        honoured = np.array(
            [not (isinstance(y, pulp.LpVariable) and y.value() > 0.5) for y in given_up]
        )
        self.binding = self._tightest(counts, honoured, wanted)
        return (
            _Numbers(counts=counts, honoured=honoured),
            outcome.status,
            whole_below(outcome.bound),
        )

    def shortage(self) -> str:
        """Return what all hosts that can be had lack together."""
        needs = self._needs
        most = np.array([_most(kind) for kind in self._types], dtype=np.float64)
        wanted = needs.need.min(axis=0).sum(axis=0)
        has = most @ needs.room.astype(np.float64)
        short = np.flatnonzero((wanted > has) & (needs.scenario_of < 0))
        if short.size:
            return "all hosts that can be had do not hold the reservations of the VMs"
        if self._survive_loss:
            return "all hosts that can be had do not hold the VMs once one of them is lost"
        return "all hosts that can be had do not carry the VMs at the target overload"

    def _add_use(
        self, program: pulp.LpProblem, number: list[pulp.LpVariable]
    ) -> list[pulp.LpVariable]:
        """Return whether each type is in use at all."""
        used = []
        for t, kind in enumerate(self._types):
            use = program.add_variable(f"u{t}", cat=pulp.LpBinary)
            program += number[t] <= _most(kind) * use
            used.append(use)
        return used

    def _add_reservations(
        self, program: pulp.LpProblem, number: list[pulp.LpVariable], factor: float
    ) -> None:
        """Add classes of VMs on types: how many fit by reservation, per resource and by size."""
        needs = self._needs
        sizes = self._members
        on: dict[tuple[int, int], pulp.LpVariable] = {}
        for c, size in enumerate(sizes.tolist()):
            for t in range(len(self._types)):
                on[c, t] = program.add_variable(f"x{c}_{t}", 0, size)
            program += pulp.lpSum(on[c, t] for t in range(len(self._types))) == size
        for t, n in enumerate(number):
            own = needs.need[needs.host_class[t]][:, self._reserving]
            least = np.array([own[self._class_of == c].min(axis=0) for c in range(len(sizes))])
            room = needs.room[t, self._reserving]
            for c in np.flatnonzero((least > room).any(axis=1)).tolist():
                on[c, t].upBound = 0
            whole = np.ceil(least.T @ sizes * factor)
            for r in np.flatnonzero((room != UNLIMITED) & (whole > 0)).tolist():
                row = [(on[c, t], float(least[c, r]) * factor) for c in range(len(sizes))]
                share = min(float(room[r]), float(whole[r]))
                program += pulp.LpAffineExpression([*row, (n, -share)]) <= 0
                for m in (1, 2, 3):
                    large = np.flatnonzero(least[:, r] * (m + 1) > room[r]).tolist()
                    if large:
                        row = [(on[c, t], 1.0) for c in large]
                        program += pulp.LpAffineExpression([*row, (n, -float(m))]) <= 0

    def _tightest(self, counts: IntArray, honoured: BoolArray, wanted: IntArray) -> str:
        """Return a sentence about the resource that the hosts have least of to spare."""
        needs = self._needs
        kept = np.flatnonzero((needs.scenario_of < 0) | honoured[needs.scenario_of])
        bound = (needs.room[:, kept] != UNLIMITED).all(axis=0)
        kept = kept[bound]
        if not kept.size:
            return "nothing limits"
        has = np.maximum(1, counts @ needs.room[:, kept])
        d = int(kept[(wanted[kept] / has).argmax()])
        return str(needs.name_of[d])


def _most(kind: HostType) -> int:
    return MOST_HOSTS if kind.max_count is None else min(MOST_HOSTS, kind.max_count)


def _worth_a_row(wanted: IntArray, room: IntArray, scenario_of: IntArray) -> list[int]:
    """Return entries that any type may be short of, without those another of its future covers.

    Of entries of one scenario with the same room, the one that wants most says it all.
    """
    best: dict[tuple[int, bytes], int] = {}
    for d in np.flatnonzero((room < wanted).any(axis=0)).tolist():
        key = int(scenario_of[d]), room[:, d].tobytes()
        if key not in best or wanted[d] > wanted[best[key]]:
            best[key] = d
    return sorted(best.values())


def _size_classes(needs: Needs, reserving: IntArray) -> tuple[IntArray, IntArray]:
    """Return the class of each VM by its reservations, and how many are in each class.

    VMs that reserve the same are one class; where there are too many classes, neighbours in the
    order of size are put together.
    """
    own = needs.need[:, :, reserving].transpose(1, 0, 2).reshape(needs.need.shape[1], -1)
    _, class_of = np.unique(own, axis=0, return_inverse=True)
    class_of = class_of.reshape(-1)
    num_classes = int(class_of.max()) + 1
    if num_classes > MOST_CLASSES:
        class_of = class_of * MOST_CLASSES // num_classes
    _, class_of, sizes = np.unique(class_of, return_inverse=True, return_counts=True)
    return class_of.reshape(-1).astype(np.int64), sizes.astype(np.int64)
