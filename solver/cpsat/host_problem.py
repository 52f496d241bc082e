"""One host alone: which VMs it had best hold when every VM brings a gain.

The part of the joint problem that a decomposition by hosts solves again and again. Of the many
columns of a problem (scenarios × steps × resources × bands) few ever bind on one host: a model
starts with those that bound before, and what its answer goes above is added until there is no
more. What is left out can only cost, so that a bound of the smaller model bounds the whole one.

Rules that look beyond a host enter as far as they bind within one; the rest is left out, which
again can only lower the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from ortools.sat.python import cp_model

from solver.cpsat.local_rules import LocalRules
from solver.cpsat.objective import Objective
from solver.cpsat.rules.capacity import limit_host
from solver.cpsat.runs import bound_below, new_solver
from solver.problem import NOWHERE, BoolArray, IntArray, Problem

COLUMNS_AT_ONCE: Final = 6
"""Columns added when an answer goes above some; more make larger models, fewer more rounds."""

WORK_PER_SOLVE: Final = 0.05
"""Deterministic seconds after which a solve stops with the bound it has."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostAnswer:
    """What a host had best hold.

    Parameters
    ----------
    vms
        All VMs on the host, in order.
    bound
        No allowed choice is worth less: cost less gains, in cost units.
    work
        Deterministic seconds used.
    """

    vms: IntArray
    bound: int
    work: float


class HostProblem:
    """The choice of VMs for one host.

    Parameters
    ----------
    problem
        What is minimised.
    rules
        What its rules say within a host.
    movable
        Which VMs may be anywhere else than at their start, shape ``(V,)``.
    relief
        The most that each VM's negative demand can save, shape ``(V,)``.
    h
        Position of the host.
    """

    def __init__(
        self, problem: Problem, rules: LocalRules, movable: BoolArray, relief: IntArray, h: int
    ) -> None:
        self.problem = problem
        self.h = h
        self._rules = rules
        self._relief = relief
        home = problem.start == h
        self._home = np.flatnonzero(home & movable)
        self.fixed = np.flatnonzero(home & ~movable)
        """VMs that are here whatever is decided."""
        self._over = self._loads(self.fixed) - problem.future.threshold[h]
        reserved = problem.reserved[problem.host_class[h]]
        self._reserved = np.where(problem.held & home[:, None], 0, reserved)
        self._used = np.where(problem.held, reserved[home].sum(0), reserved[self.fixed].sum(0))
        self.binding = np.zeros(problem.future.prices.shape, dtype=np.bool_)
        """Columns by band that some answer went above, shape ``(B, C)``."""

    def cost(self, vms: IntArray) -> int:
        """Return what the host pays for what is above thresholds and capacities.

        Parameters
        ----------
        vms
            All VMs on it.
        """
        free = np.setdiff1d(vms, self.fixed)
        used = self._used + self._reserved[free].sum(axis=0)
        short = self._short(free)
        return int(short.sum()) + int(self.problem.capacity_repair(used, self.h))

    def best(self, gains: IntArray, allowed: BoolArray, *, tolerance: int, seed: int) -> HostAnswer:
        """Return the best choice found, and a bound on any.

        Parameters
        ----------
        gains
            What each VM being here is worth in cost units, negative if it costs; shape ``(V,)``.
        allowed
            Which VMs may be here, shape ``(V,)``.
        tolerance
            Cost units by which the choice may be worse than the bound.
        """
        vms = self._worth_asking(gains, allowed)
        model = _HostModel(self, vms, gains)
        chosen = self._home
        bound, work = -int(np.maximum(0, gains[vms] + self._relief[vms]).sum()), 0.0
        while True:
            answer = model.solve(chosen, tolerance, seed)
            work += answer.work
            bound = max(bound, answer.bound)
            chosen = answer.vms
            short = self._short(chosen)
            short[self.binding] = 0
            if int(short.sum()) <= tolerance:
                break
            for i in np.argsort(short, axis=None)[: -COLUMNS_AT_ONCE - 1 : -1].tolist():
                b, c = divmod(i, short.shape[1])
                if short[b, c]:
                    self.binding[b, c] = True
                    model.add_column(b, c)
        return HostAnswer(
            vms=np.sort(np.concatenate([self.fixed, chosen])),
            bound=bound - int(gains[self.fixed].sum()),
            work=work,
        )

    def _worth_asking(self, gains: IntArray, allowed: BoolArray) -> IntArray:
        """Return the VMs of this host, and those that might be worth having."""
        hopes = gains + self._relief
        asked = allowed & (hopes > 0)
        for tie in self._rules.ties:
            asked[tie] = allowed[tie].all() and int(hopes[tie].sum()) > 0
        asked[self._home] = True
        asked[self.fixed] = False
        found: IntArray = np.flatnonzero(asked)
        return found

    def _short(self, free: IntArray) -> IntArray:
        """Return the cost of every column by band with some VMs beside the fixed ones."""
        over = self._over + self._loads(free)
        short: IntArray = np.maximum(0, over) * self.problem.future.prices
        return short

    def _loads(self, vms: IntArray) -> IntArray:
        """Return the demand of some VMs by bands and columns, shape ``(B, C)``."""
        problem = self.problem
        loads = np.zeros(problem.future.prices.shape, dtype=np.int64)
        for b in range(problem.num_bands):
            loads[b] = problem.future.demand[vms[problem.band[vms] >= b]].sum(axis=0)
        return loads


class _HostModel:
    """The model of one choice; columns are added as they turn out to bind."""

    def __init__(self, host: HostProblem, vms: IntArray, gains: IntArray) -> None:
        self._host = host
        self._vms = vms
        self._model = cp_model.CpModel()
        self._x = [self._model.new_bool_var("") for _ in vms]
        self._objective = Objective()
        for x, gain in zip(self._x, gains[vms].tolist(), strict=True):
            self._objective.add(x, -gain)
        limit_host(
            self._model,
            self._objective,
            host.problem,
            host.h,
            self._x,
            host._reserved[vms],
            host._used,
        )
        self._add_rules()
        self._add_budget()
        for b, c in zip(*(axis.tolist() for axis in host.binding.nonzero()), strict=True):
            self.add_column(b, c)

    def add_column(self, b: int, c: int) -> None:
        """Price what is above the threshold of a column in a band."""
        problem = self._host.problem
        demand = problem.future.demand[self._vms, c] * (problem.band[self._vms] >= b)
        over = int(self._host._over[b, c])
        most = over + int(np.maximum(0, demand).sum())
        if most <= 0:
            return
        short = self._model.new_int_var(0, most, "")
        using = np.flatnonzero(demand)
        self._model.add(
            cp_model.LinearExpr.weighted_sum(
                [*(self._x[i] for i in using.tolist()), short], [*demand[using].tolist(), -1]
            )
            <= -over
        )
        self._objective.add(short, int(problem.future.prices[b, c]), most)

    def solve(self, hint: IntArray, tolerance: int, seed: int) -> HostAnswer:
        """Return the VMs chosen beside the fixed ones, and a bound, with the columns there are."""
        model = self._model
        self._objective.minimise(model, 1)
        model.clear_hints()  # type: ignore[no-untyped-call]  # the library forgot to say None
        for x, there in zip(self._x, np.isin(self._vms, hint).tolist(), strict=True):
            model.add_hint(x, there)
        solver = new_solver(limit_s=math.inf, work_limit=WORK_PER_SOLVE, seed=seed, presolve=False)
        solver.parameters.absolute_gap_limit = float(tolerance)
        status = solver.solve(model)
        if status == cp_model.UNKNOWN:
            chosen = hint
        elif status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            there = [solver.boolean_value(x) for x in self._x]
            chosen = self._vms[np.array(there, dtype=np.bool_)]
        else:
            raise RuntimeError(f"model of a host {solver.status_name(status)}: {model.validate()}")
        return HostAnswer(
            vms=chosen,
            bound=bound_below(solver.best_objective_bound),
            work=solver.response_proto.deterministic_time,
        )

    def _add_rules(self) -> None:
        h, rules = self._host.h, self._host._rules
        for vms, most, cell_of in rules.crowds:
            here, fixed = self._members(vms)
            if cell_of[h] >= 0 and len(here) + fixed > most:
                self._model.add(cp_model.LinearExpr.sum(here) <= most - fixed)
        for vms in rules.ties:
            here, fixed = self._members(vms)
            for x in here:
                self._model.add(x == (1 if fixed else here[0]))
        for vms, others, cell_of in rules.splits:
            if cell_of[h] < 0:
                continue
            theirs = self._model.new_bool_var("")
            for group, excluded in ((vms, theirs), (others, ~theirs)):
                here, fixed = self._members(group)
                for x in here:
                    self._model.add_implication(excluded, ~x)
                if fixed:
                    self._model.add_bool_or(~excluded)

    def _add_budget(self) -> None:
        """Limit the migrations into and out of the host together."""
        problem, h = self._host.problem, self._host.h
        if problem.max_moves_per_host is None:
            return
        start = problem.start[self._vms]
        sign = np.where(start == h, -1, np.where(start == NOWHERE, 0, 1))
        moves = cp_model.LinearExpr.weighted_sum(self._x, sign.tolist())
        self._model.add(moves <= problem.max_moves_per_host - int((start == h).sum()))

    def _members(self, vms: IntArray) -> tuple[list[cp_model.IntVar], int]:
        """Return the variables of a group, and how many more of it are fixed here."""
        here = np.flatnonzero(np.isin(self._vms, vms)).tolist()
        return [self._x[i] for i in here], int(np.isin(self._host.fixed, vms).sum())
