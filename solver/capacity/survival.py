"""N+1: when a host is lost, do its VMs fit on the others, everybody else staying where they are?

What must fit is reservations, and what must be kept is each hard rule of the lost VMs: pins, bans,
anti-affinity (even where it was broken before), affinity (where it held). A way out that breaks a
rule of another kind is told as unknown. First a greedy packing, which proves that they fit; where
it leaves some out, a program that leaves out as few as can be, and so proves that they do not.
"""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import numpy.typing as npt
import pulp

from solver.capacity.mip import MipStatus, solve_mip, whole_below
from solver.capacity.need import Needs, compile_needs
from solver.capacity.packing import NOWHERE
from solver.capacity.question import Loss, Survival
from solver.domain.check import check_placement, new_or_worse
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import (
    Affinity,
    AntiAffinity,
    Ban,
    Dependency,
    HostRule,
    Pin,
    PlacementRule,
    Split,
)
from solver.domain.units import NUM_RESOURCES, HostId, VmId

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DEFAULT_LIMIT_S: Final = 10.0


def survival(cluster: Cluster, *, limit_s: float = DEFAULT_LIMIT_S) -> Survival:
    """Return what the loss of each host that is up and holds VMs does.

    VMs go to hosts that are up only: those in maintenance are on their way out, unreachable ones
    cannot be asked.

    Parameters
    ----------
    limit_s
        Wall seconds for all hosts together; a loss not settled by then is told as unknown.
    """
    ends_s = time.monotonic() + limit_s
    judge = _Judge(cluster)
    return Survival(
        losses=tuple(
            judge.loss(h, ends_s)
            for h, host in enumerate(cluster.hosts)
            if host.state is HostState.UP and (judge.hosts == h).any()
        )
    )


class _Judge:
    """A cluster's reservations and rules, ready to lose any host."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        position = {host.id: h for h, host in enumerate(cluster.hosts)}
        self.hosts = np.array(
            [NOWHERE if vm.host_id is None else position[vm.host_id] for vm in cluster.vms],
            dtype=np.int64,
        )
        nothing = np.zeros((1, len(cluster.vms), NUM_RESOURCES, 0), dtype=np.int64)
        self._needs: Needs = compile_needs(cluster.hosts, cluster.vms, nothing)
        self._left = self._needs.room - self._needs.loads(self.hosts)
        self._before = check_placement(cluster, cluster.placement)
        self._index = {vm.id: v for v, vm in enumerate(cluster.vms)}
        self._allowed = self._allowed_hosts(position)
        self._apart = self._members(AntiAffinity)
        self._together = self._members(Affinity)

    def loss(self, lost: int, ends_s: float) -> Loss:
        """Return what the loss of one host does."""
        vms = np.flatnonzero(self.hosts == lost)
        allowed = self._open_to(lost, vms)
        targets = self._by_hand(vms, allowed)
        proven = True
        if (targets == NOWHERE).any():
            better, proven = self._by_program(vms, allowed, ends_s - time.monotonic())
            if better is not None:
                targets = better
        left_out = [int(v) for v in vms[targets == NOWHERE]]
        ids = self.cluster.vms
        if not left_out:
            broken = self._broken_by(vms, targets)
            if broken:
                return Loss(
                    host_id=self.cluster.hosts[lost].id,
                    survived=None,
                    lacks=f"room is there, but as found it breaks {broken}",
                )
        return Loss(
            host_id=self.cluster.hosts[lost].id,
            survived=True if not left_out else (False if proven else None),
            placement={
                ids[v].id: self.cluster.hosts[h].id
                for v, h in zip(vms.tolist(), targets.tolist(), strict=True)
                if h != NOWHERE
            },
            left_out=tuple(ids[v].id for v in left_out),
            lacks=self._lacks(vms, allowed, left_out) if left_out else "",
        )

    def _broken_by(self, vms: IntArray, targets: IntArray) -> str:
        """Return a hard rule of a kind not packed by that a way out breaks; empty for none."""
        lost = {self.cluster.vms[v].id for v in vms.tolist()}
        kinds = Pin, Ban, AntiAffinity, Affinity
        if not any(
            rule.hard and not isinstance(rule, kinds) and lost & {*rule.vm_ids, *_others(rule)}
            for rule in self.cluster.rules
        ):
            return ""
        placement = self.cluster.placement
        for v, h in zip(vms.tolist(), targets.tolist(), strict=True):
            placement[self.cluster.vms[v].id] = self.cluster.hosts[h].id
        worse = new_or_worse(self._before, check_placement(self.cluster, placement))
        return "; ".join(violation.message for violation in worse)

    def _allowed_hosts(self, position: dict[HostId, int]) -> BoolArray:
        """Return where hard pins and bans and the states of hosts let each VM go."""
        up = np.array([host.state is HostState.UP for host in self.cluster.hosts])
        allowed = np.tile(up, (len(self.cluster.vms), 1))
        for rule in self.cluster.rules:
            if isinstance(rule, HostRule) and rule.hard:
                named = np.zeros(len(up), dtype=np.bool_)
                named[[position[host_id] for host_id in rule.host_ids]] = True
                rows = [self._index[vm_id] for vm_id in rule.vm_ids]
                if isinstance(rule, Pin):
                    allowed[rows] &= named
                elif isinstance(rule, Ban):
                    allowed[rows] &= ~named
        return allowed

    def _members(self, kind: type[AntiAffinity] | type[Affinity]) -> list[IntArray]:
        return [
            np.array([self._index[vm_id] for vm_id in rule.vm_ids], dtype=np.int64)
            for rule in self.cluster.rules
            if isinstance(rule, kind) and rule.hard
        ]

    def _open_to(self, lost: int, vms: IntArray) -> BoolArray:
        """Return where each lost VM may go, given all that stay, shape ``(n, H)``."""
        allowed = self._allowed[vms].copy()
        allowed[:, lost] = False
        for group in self._apart:
            mine = np.isin(vms, group)
            staying = self.hosts[group]
            staying = staying[(staying != lost) & (staying != NOWHERE)]
            allowed[np.ix_(mine, np.unique(staying))] = False
        return allowed

    def _by_hand(self, vms: IntArray, allowed: BoolArray) -> IntArray:
        """Return where lost VMs fit, units of affine VMs at once, the largest unit first."""
        left = self._left.copy()
        scale = np.maximum(1, self._needs.room).astype(np.float64)
        open_to = allowed.copy()
        targets = np.full(len(vms), NOWHERE, dtype=np.int64)
        units = self._units(vms)
        wanted = [self._needs.need[:, vms[unit]].sum(axis=1) for unit in units]
        sizes = [float((w[0] / scale.mean(axis=0)).max(initial=0.0)) for w in wanted]
        for i in sorted(range(len(units)), key=lambda i: -sizes[i]):
            unit = units[i]
            after = left - wanted[i][self._needs.host_class]
            fits = ((after >= 0) | (wanted[i][self._needs.host_class] == 0)).all(axis=1)
            fits &= open_to[unit].all(axis=0)
            if not fits.any():
                continue
            spare = (after / scale).min(axis=1, initial=1.0)
            h = int(np.where(fits, spare, np.inf).argmin())
            targets[unit] = h
            left[h] = after[h]
            for group in self._apart:
                if np.isin(vms[unit], group).any():
                    open_to[np.isin(vms, group), h] = False
        return targets

    def _units(self, vms: IntArray) -> list[list[int]]:
        """Return positions in ``vms`` that hard affinities bind together."""
        unit_of = list(range(len(vms)))
        for group in self._together:
            mine = np.flatnonzero(np.isin(vms, group)).tolist()
            bound = {unit_of[i] for i in mine}
            if len(mine) == len(group):
                unit_of = [min(bound) if u in bound else u for u in unit_of]
        return [[i for i, u in enumerate(unit_of) if u == unit] for unit in sorted(set(unit_of))]

    def _by_program(
        self, vms: IntArray, allowed: BoolArray, limit_s: float
    ) -> tuple[IntArray | None, bool]:
        """Return where lost VMs go so that fewest are left out, and whether some must be."""
        if limit_s <= 0:
            return None, False
        needs = self._needs
        units = self._units(vms)
        program = pulp.LpProblem("loss", pulp.LpMinimize)
        at: dict[tuple[int, int], pulp.LpVariable] = {}
        out = [program.add_variable(f"out{i}", 0, 1) for i in range(len(units))]
        for i, unit in enumerate(units):
            for h in np.flatnonzero(allowed[unit].all(axis=0)).tolist():
                at[i, h] = program.add_variable(f"x{i}_{h}", cat=pulp.LpBinary)
        by_unit: dict[int, list[int]] = {}
        by_host: dict[int, list[int]] = {}
        for i, h in at:
            by_unit.setdefault(i, []).append(h)
            by_host.setdefault(h, []).append(i)
        program.setObjective(
            pulp.LpAffineExpression([(o, len(u)) for o, u in zip(out, units, strict=True)])
        )
        for i in range(len(units)):
            program += pulp.lpSum(at[i, h] for h in by_unit.get(i, ())) + out[i] == 1
        for h, guests in by_host.items():
            wanted = np.array(
                [needs.need[needs.host_class[h], vms[units[i]]].sum(axis=0) for i in guests]
            )
            for r in np.flatnonzero(wanted.sum(axis=0) > self._left[h]).tolist():
                row = [(at[i, h], int(w)) for i, w in zip(guests, wanted[:, r], strict=True) if w]
                program += pulp.LpAffineExpression(row) <= max(0, int(self._left[h, r]))
            for group in self._apart:
                rivals = [i for i in guests if np.isin(vms[units[i]], group).any()]
                if len(rivals) > 1:
                    program += pulp.lpSum(at[i, h] for i in rivals) <= 1
        outcome = solve_mip(program, limit_s=limit_s)
        proven = outcome.status is MipStatus.OPTIMAL or whole_below(outcome.bound) >= 1
        if not outcome.found:
            return None, proven
        targets = np.full(len(vms), NOWHERE, dtype=np.int64)
        for (i, h), x in at.items():
            if x.value() > 0.5:
                targets[units[i]] = h
        return targets, proven

    def _lacks(self, vms: IntArray, allowed: BoolArray, left_out: list[int]) -> str:
        """Return a sentence about what keeps the VMs left out from every host."""
        needs = self._needs
        nowhere = [v for v in left_out if not allowed[vms == v].any()]
        if nowhere:
            return f"rules leave no host for VM {self.cluster.vms[nowhere[0]].id!r}"
        receivers = np.flatnonzero(allowed.any(axis=0))
        has = [sum(max(0, a) for a in column) for column in self._left[receivers].T.tolist()]
        wanted = needs.need[:, vms].min(axis=0).sum(axis=0).tolist()
        for name, want, room in zip(needs.name_of.tolist(), wanted, has, strict=True):
            if want > room:
                return f"{name}: {want - room} short on all other hosts together"
        return "enough is free in all, but in pieces too small, or on hosts the rules forbid"


def _others(rule: PlacementRule) -> tuple[VmId, ...]:
    """Return the second group of VMs of a rule that has one."""
    if isinstance(rule, Dependency):
        return rule.on_vm_ids
    return rule.other_vm_ids if isinstance(rule, Split) else ()
