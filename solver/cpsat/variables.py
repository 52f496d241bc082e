"""Decision variables: which VM is on which host, within a scope; hints in, placements out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.sat.python import cp_model

from solver.problem import NOWHERE, Problem

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scope:
    """What one model decides; everything else stays as it is.

    Parameters
    ----------
    base
        A placement that keeps what is allowed: the hint, and where VMs outside the scope are;
        shape ``(V,)``.
    vms
        Positions of the VMs that are decided, shape ``(n,)``.
    destinations
        Where each of them may be, shape ``(n, H)``: a part of ``Problem.allowed``, their base
        host among it.
    """

    base: IntArray
    vms: IntArray
    destinations: BoolArray

    @classmethod
    def everything(cls, problem: Problem, base: IntArray) -> Scope:
        """Return the scope of every VM that may be anywhere else: nothing is left out."""
        choices = problem.num_choices() + (problem.start == NOWHERE)
        vms = np.flatnonzero(choices > 1)
        return cls(base=base, vms=vms, destinations=problem.allowed_hosts(vms))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """Where the VMs of a group are or may be, by cells of hosts.

    Parameters
    ----------
    free
        Variables of members in each cell; cells that none may be in are left out.
    fixed
        Members outside the scope in each cell, shape ``(num_cells,)``.
    running
        Members that run if none stays idle, whether in a cell or in none.
    idle
        Variables of those that may stay idle.
    """

    free: dict[int, list[cp_model.IntVar]]
    fixed: IntArray
    running: int
    idle: list[cp_model.IntVar]


class Variables:
    """Boolean ``x[v, h]`` for each VM of the scope and each of its destinations.

    A VM that ran nowhere at the start may also stay so.
    """

    def __init__(self, model: cp_model.CpModel, problem: Problem, scope: Scope) -> None:
        self.model = model
        self.problem = problem
        self.scope = scope
        self.at: dict[tuple[int, int], cp_model.IntVar] = {}
        self.nowhere: dict[int, cp_model.IntVar] = {}
        self.guests: dict[int, list[int]] = {}
        """VMs of the scope that may be on a host, by host."""
        self.destinations: dict[int, list[int]] = {}
        """Hosts on which a VM of the scope may be, by VM."""
        for i, v in enumerate(scope.vms.tolist()):
            choices = []
            self.destinations[v] = np.flatnonzero(scope.destinations[i]).tolist()
            for h in self.destinations[v]:
                self.at[v, h] = model.new_bool_var(f"x_{v}_{h}")
                self.guests.setdefault(h, []).append(v)
                choices.append(self.at[v, h])
            if problem.start[v] == NOWHERE:
                self.nowhere[v] = model.new_bool_var(f"nowhere_{v}")
                choices.append(self.nowhere[v])
            model.add_exactly_one(choices)
        self.free = frozenset(scope.vms.tolist())
        self.fixed = scope.base.copy()
        """Where the VMs outside the scope are; those inside are ``NOWHERE``."""
        self.fixed[scope.vms] = NOWHERE

    def on(self, h: int) -> list[cp_model.IntVar]:
        """Return the variables of the scope's VMs on a host, in the order of ``guests``."""
        return [self.at[v, h] for v in self.guests.get(h, ())]

    def cells_of(self, v: int, cell_of: IntArray) -> dict[int, list[cp_model.IntVar]]:
        """Return the variables of a VM of the scope by cell of their hosts."""
        found: dict[int, list[cp_model.IntVar]] = {}
        for h in self.destinations[v]:
            if cell_of[h] >= 0:
                found.setdefault(int(cell_of[h]), []).append(self.at[v, h])
        return found

    def members(self, vms: IntArray, cell_of: IntArray) -> Members:
        """Return where some VMs are or may be, by cells of hosts."""
        free: dict[int, list[cp_model.IntVar]] = {}
        deciding = [v for v in vms.tolist() if v in self.free]
        for v in deciding:
            for cell, here in self.cells_of(v, cell_of).items():
                free.setdefault(cell, []).extend(here)
        where = self.fixed[vms]
        where = where[where != NOWHERE]
        cells = cell_of[where]
        return Members(
            free=free,
            fixed=np.bincount(cells[cells >= 0], minlength=int(cell_of.max(initial=-1)) + 1),
            running=len(where) + len(deciding),
            idle=[self.nowhere[v] for v in deciding if v in self.nowhere],
        )

    def moved(self) -> list[tuple[int, int, cp_model.IntVar]]:
        """Return ``(v, h, x[v, h])`` for each migration of the scope."""
        start = self.problem.start
        return [(v, h, x) for (v, h), x in self.at.items() if start[v] not in (NOWHERE, h)]

    def fixed_moved(self) -> IntArray:
        """Return the VMs outside the scope that have migrated already."""
        start = self.problem.start
        moved: IntArray = np.flatnonzero(
            (self.fixed != NOWHERE) & (start != NOWHERE) & (self.fixed != start)
        )
        return moved

    def hint(self) -> None:
        """Tell the solver the base placement."""
        for (v, h), x in self.at.items():
            self.model.add_hint(x, bool(self.scope.base[v] == h))
        for v, x in self.nowhere.items():
            self.model.add_hint(x, bool(self.scope.base[v] == NOWHERE))

    def placement(self, solver: cp_model.CpSolver) -> IntArray:
        """Return the host position of every VM in the solution found, shape ``(V,)``."""
        hosts = self.fixed.copy()
        for (v, h), x in self.at.items():
            if solver.boolean_value(x):
                hosts[v] = h
        return hosts
