"""Which of some hard rules no placement keeps together: the fewest, found with CP-SAT.

Every rule can be switched off in the model. Sets of rules that can be kept together show what any
contradiction has to contain one of: the rest. The cheapest set that contains one of each rest is
either kept by some placement, which shows another rest, or is the smallest contradiction [1]_.

References
----------
.. [1] Ignatiev, Previti, Liffiton and Marques-Silva (2015). Smallest MUS Extraction with Minimal
   Hitting Set Dualization. CP 2015. DOI 10.1007/978-3-319-23219-5_13
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ortools.sat.python import cp_model

from solver.domain.checking.counts import CellOf, Cells
from solver.domain.cluster import Host
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Ban,
    Dependency,
    LicenceLimit,
    PerHostLimit,
    Pin,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId

SHARE_OF_LIMIT: Final = 0.25
"""Most of what time is left that one solve may take, so that there is always some left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found out about rules.

    Parameters
    ----------
    core
        Positions of rules that contradict each other; empty when none were found.
    smallest
        Whether no cheaper ones do.
    decided
        Whether, where there is no core, some placement is known to keep all the rules.
    """

    core: tuple[int, ...] = ()
    smallest: bool = False
    decided: bool = True


def find_core(
    rules: Sequence[PlacementRule],
    costs: Sequence[int],
    hosts: Sequence[Host],
    cells: Cells,
    *,
    limit_s: float,
) -> Verdict:
    """Return the cheapest of the rules that no placement on the hosts keeps together.

    Every VM that a rule names has to be on one of the hosts; how many fit there is not asked.

    Parameters
    ----------
    costs
        What it costs to name each rule; positive.
    limit_s
        Seconds after which the least set found so far is returned.
    """
    deadline = time.monotonic() + limit_s
    model = _Model(rules, hosts, cells)
    everything = frozenset(range(len(rules)))
    rests: list[frozenset[int]] = []
    while (left_s := deadline - time.monotonic()) > 0:
        chosen = _cheapest_hitting(costs, rests)
        status, kept = model.most_kept(chosen, costs, SHARE_OF_LIMIT * left_s)
        if status == cp_model.INFEASIBLE:
            return Verdict(core=tuple(sorted(chosen)), smallest=True)
        if kept == everything:
            return Verdict()
        if status == cp_model.UNKNOWN:
            break
        rests.append(everything - kept)
    return _by_deletion(model, costs, limit_s=limit_s / 4)


def _cheapest_hitting(costs: Sequence[int], sets: Sequence[frozenset[int]]) -> frozenset[int]:
    """Return the cheapest positions of which every set contains one."""
    model = cp_model.CpModel()
    taken = [model.new_bool_var("") for _ in costs]
    for members in sets:
        model.add_bool_or(taken[i] for i in members)
    model.minimize(cp_model.LinearExpr.weighted_sum(taken, costs))
    solver = _solver(float("inf"))
    solver.solve(model)
    return frozenset(i for i, variable in enumerate(taken) if solver.boolean_value(variable))


def _by_deletion(model: _Model, costs: Sequence[int], *, limit_s: float) -> Verdict:
    """Return what is left once each rule is gone without which the others contradict each other.

    The dearest go first. Without time for a proof that they do contradict, nothing is known.
    """
    deadline = time.monotonic() + limit_s
    core = frozenset(range(len(costs)))
    if not model.cannot_keep(core, limit_s / 4):
        return Verdict(decided=False)
    for i in sorted(core, key=lambda i: -costs[i]):
        if model.cannot_keep(core - {i}, (deadline - time.monotonic()) / 4):
            core -= {i}
    return Verdict(core=tuple(sorted(core)))


class _Model:
    """Every VM on one host, and every rule with a switch."""

    def __init__(self, rules: Sequence[PlacementRule], hosts: Sequence[Host], cells: Cells) -> None:
        self._model = cp_model.CpModel()
        vm_ids = {vm_id for rule in rules for ids in rule.named_vm_ids.values() for vm_id in ids}
        self._on: dict[VmId, dict[HostId, cp_model.IntVar]] = {}
        for vm_id in sorted(vm_ids):
            self._on[vm_id] = {host.id: self._model.new_bool_var("") for host in hosts}
            self._model.add_exactly_one(self._on[vm_id].values())
        self._switches = [self._model.new_bool_var("") for _ in rules]
        for rule, switch in zip(rules, self._switches, strict=True):
            self._add(rule, switch, cells.of_rule(rule))

    def most_kept(
        self, chosen: Collection[int], costs: Sequence[int], limit_s: float
    ) -> tuple[cp_model.CpSolverStatus, frozenset[int]]:
        """Return the dearest rules found that some placement keeps together with the chosen ones.

        There are none when no placement keeps the chosen ones, or when the time was too short.
        """
        model = self._with(chosen)
        model.maximize(cp_model.LinearExpr.weighted_sum(self._switches, costs))
        solver = _solver(limit_s)
        status = solver.solve(model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            return status, frozenset()
        on = (i for i, switch in enumerate(self._switches) if solver.boolean_value(switch))
        return status, frozenset(on)

    def cannot_keep(self, chosen: Collection[int], limit_s: float) -> bool:
        """Return whether it is proven that no placement keeps the chosen rules together."""
        return _solver(limit_s).solve(self._with(chosen)) == cp_model.INFEASIBLE

    def _with(self, chosen: Collection[int]) -> cp_model.CpModel:
        model = self._model.clone()
        for i in chosen:
            model.add_bool_or(model.get_bool_var_from_proto_index(self._switches[i].index))
        return model

    def _add(self, rule: PlacementRule, switch: cp_model.IntVar, cell_of: CellOf) -> None:
        """Add that a rule is kept where its switch is on."""
        on = [self._on[vm_id] for vm_id in rule.vm_ids]
        hosts = list(on[0])
        match rule:
            case Pin() | Ban():
                named = set(rule.host_ids)
                for places in on:
                    share = _sum(x for host_id, x in places.items() if host_id in named)
                    wanted = 1 if isinstance(rule, Pin) else 0
                    self._require(share, wanted, wanted, switch)
            case Affinity():
                for first, second in itertools.pairwise(on):
                    for host_id in hosts:
                        self._require(first[host_id] - second[host_id], 0, 0, switch)
            case AntiAffinity() | PerHostLimit():
                most = rule.max_vms if isinstance(rule, PerHostLimit) else 1
                for host_id in hosts:
                    if host_id in cell_of:
                        self._require(_sum(places[host_id] for places in on), 0, most, switch)
            case Among():
                chosen = self._cells(cell_of, hosts)
                self._model.add_bool_or(chosen.values()).only_enforce_if(switch)
                for places in on:
                    for cell, here in _by_cell(places, cell_of).items():
                        self._model.add_bool_or(here).only_enforce_if(switch, chosen[cell])
            case Spread():
                reached = self._cells(cell_of, hosts)
                everywhere = [_by_cell(places, cell_of) for places in on]
                for cell, is_reached in reached.items():
                    here = [x for places in everywhere for x in places.get(cell, ())]
                    self._model.add_bool_or(*here, ~is_reached)
                least = min(rule.min_domains, len(on))
                self._require(_sum(reached.values()), least, len(reached), switch)
            case Dependency():
                needed = [self._on[vm_id] for vm_id in rule.on_vm_ids]
                provided = [_by_cell(places, cell_of) for places in needed]
                for places in on:
                    for host_id, x in places.items():
                        cell = cell_of[host_id]
                        there = [y for cells in provided for y in cells[cell]]
                        self._model.add_bool_or(*there, ~x).only_enforce_if(switch)
            case Split():
                others = [self._on[vm_id] for vm_id in rule.other_vm_ids]
                for host_id in hosts:
                    theirs = self._model.new_bool_var("")
                    for places in on:
                        self._model.add_implication(places[host_id], ~theirs).only_enforce_if(
                            switch
                        )
                    for places in others:
                        self._model.add_implication(places[host_id], theirs).only_enforce_if(switch)
            case LicenceLimit():
                licensed = [self._model.new_bool_var("") for _ in hosts]
                for places in on:
                    for x, used in zip(places.values(), licensed, strict=True):
                        self._model.add_implication(x, used)
                self._require(_sum(licensed), 0, rule.max_hosts, switch)
            case _:
                raise AssertionError(f"rule {rule.id!r} of kind {rule.kind!r} has no encoding")

    def _require(
        self, total: cp_model.LinearExprT, least: int, most: int, switch: cp_model.IntVar
    ) -> None:
        self._model.add_linear_constraint(total, least, most).only_enforce_if(switch)

    def _cells(self, cell_of: CellOf, hosts: Sequence[HostId]) -> dict[str, cp_model.IntVar]:
        """Return a variable for each cell that some host is in."""
        cells = dict.fromkeys(cell_of[host_id] for host_id in hosts if host_id in cell_of)
        return {cell: self._model.new_bool_var("") for cell in cells}


def _by_cell(
    places: Mapping[HostId, cp_model.IntVar], cell_of: CellOf
) -> dict[str, list[cp_model.IntVar]]:
    """Return a VM's variables by cell; those of hosts in no cell are left out."""
    found: dict[str, list[cp_model.IntVar]] = defaultdict(list)
    for host_id, x in places.items():
        if host_id in cell_of:
            found[cell_of[host_id]].append(x)
    return found


def _sum(variables: Iterable[cp_model.IntVar]) -> cp_model.LinearExprT:
    return cp_model.LinearExpr.sum(list(variables))


def _solver(limit_s: float) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.catch_sigint_signal = False
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 0
    solver.parameters.max_time_in_seconds = max(0.0, limit_s)
    return solver
