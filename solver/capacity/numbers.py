"""The program over numbers behind ``hosts_needed``: what any answer costs at least.

How VMs are packed onto single hosts is not its business; ``solver.capacity.hosts`` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pulp

from solver.capacity.mip import MipStatus, solve_mip, whole_below
from solver.capacity.need import Needs
from solver.capacity.question import HostType
from solver.domain.cluster import VM
from solver.domain.score import UNLIMITED

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

MOST_CLASSES: Final = 64
"""Size classes of VMs told apart by the program; more make it slower and hardly sharper."""

MOST_HOSTS: Final = 10_000
"""No answer has more hosts: beyond it something is wrong with the units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """An answer of the program: hosts of each type and the scenarios honoured."""

    counts: IntArray
    honoured: BoolArray


class NumbersProgram:
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

    def solve(self, factor: float, limit_s: float) -> tuple[Numbers | None, MipStatus, int]:
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
            Numbers(counts=counts, honoured=honoured),
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
