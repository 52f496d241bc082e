"""Why a host stays hot, a rule stays broken, a wish stays unmet: what blocks whoever could help."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from solver.contention import hot_hosts
from solver.domain.check import Violation
from solver.domain.cluster import Cluster
from solver.domain.result import Refusal, Unmet
from solver.domain.rules import HostRule
from solver.domain.score import HostContention
from solver.domain.units import VmId
from solver.explain.after_move import amounts_after_move
from solver.explain.obstacles import find_obstacles, host_s
from solver.explain.places import Places
from solver.problem import NOWHERE, BoolArray, GroupRule, IntArray, Problem

Candidates = Iterator[tuple[int, BoolArray]]
"""VMs, each with the places where it would help."""


def explain_refusals(
    cluster: Cluster,
    problem: Problem,
    hosts: IntArray,
    *,
    contention: Sequence[HostContention],
    violations: Sequence[Violation],
    hot_host_s: float,
    cut_off: Mapping[VmId, str],
    contradictions: Mapping[tuple[str, ...], str],
    out_of_time: Callable[[], bool] = lambda: False,
) -> tuple[Refusal, ...]:
    """Return what is still wrong after the answer, and what blocks it.

    Parameters
    ----------
    hosts
        The answer: host position of every VM, shape ``(V,)``.
    contention, violations
        Contention and violations, hard and soft, after the answer.
    hot_host_s
        Contention score in host-seconds above which a host counts as left hot.
    cut_off
        VMs that no safe order could bring to where they should be, with the reason.
    contradictions
        By the key of a violation, why no placement at all does without it, as far as is known.
    out_of_time
        Asked again and again; once true, the rest is told without what blocks it.
    """
    helpers = _Helpers(Places(cluster, problem, hosts, out_of_time=out_of_time))
    found = [
        Refusal(
            unmet=Unmet.CUT_OFF,
            subject=vm_id,
            sentence=f"VM {vm_id!r} stays where it is: {reason}",
        )
        for vm_id, reason in cut_off.items()
    ]
    broken = [violation for violation in violations if violation.hard]
    wishes = [violation for violation in violations if not violation.hard]
    found += [helpers.unmet(Unmet.BROKEN, v, contradictions) for v in broken]
    score = {host.host_id: host for host in contention}
    found += [helpers.hot(score[host_id]) for host_id in hot_hosts(contention, hot_host_s)]
    found += [helpers.unmet(Unmet.WISH, v, contradictions) for v in wishes]
    return tuple(found)


class _Helpers:
    """Which VMs could help against something by a move of their own, and where."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._cluster = cluster = places.cluster
        self._hosts = places.hosts
        problem = places.problem
        self._vm_position = {vm_id: v for v, vm_id in enumerate(problem.vm_ids)}
        self._rules = {rule.id: rule for rule in cluster.rules}
        self._groups = {rule.rule_id: rule for rule in problem.group_rules}

    def hot(self, host: HostContention) -> Refusal:
        """Return why a host stays hot."""
        h = self._places.problem.host_ids.index(host.host_id)
        refusal = Refusal(
            unmet=Unmet.HOT_HOST,
            subject=host.host_id,
            sentence=(
                f"host {host.host_id!r} stays contended ({host_s(host.total)}, overload "
                f"probability {host.overload_ppm / 10_000:.0f} %)"
            ),
        )
        return self._completed(refusal, self.leaving(np.flatnonzero(self._hosts == h)), ": ")

    def unmet(
        self, unmet: Unmet, violation: Violation, contradictions: Mapping[tuple[str, ...], str]
    ) -> Refusal:
        """Return why something stays broken; short where no placement could do without it."""
        refusal = Refusal(
            unmet=unmet,
            subject=":".join(violation.key),
            sentence=violation.message,
            contradiction=contradictions.get(violation.key, ""),
        )
        if refusal.contradiction:
            return replace(refusal, sentence=f"{violation.message}; {refusal.contradiction}")
        return self._completed(refusal, self.mending(violation), "; ")

    def _completed(self, refusal: Refusal, candidates: Candidates, separator: str) -> Refusal:
        """Return a refusal with what blocks it."""
        if self._places.tired:
            clause = f"what blocks it was not looked into, {self._places.tired}"
            return replace(refusal, sentence=f"{refusal.sentence}; {clause}")
        obstacles, best, clause = find_obstacles(self._places, candidates)
        sentence = f"{refusal.sentence}{separator}{clause}"
        return replace(refusal, obstacles=obstacles, best=best, sentence=sentence)

    def leaving(self, vms: IntArray) -> Candidates:
        """Yield VMs with all hosts but their own."""
        for v in vms.tolist():
            elsewhere = np.ones(len(self._cluster.hosts), dtype=np.bool_)
            if self._hosts[v] != NOWHERE:
                elsewhere[self._hosts[v]] = False
            yield v, elsewhere

    def mending(self, violation: Violation) -> Candidates:
        """Yield VMs with the hosts on which a violation would be less."""
        kind, name = violation.key[:2]
        group = self._groups.get(name) if name in self._rules else None
        if group is not None and self._rules[name].kind == kind:
            return self._lessening(group, violation.amount)
        vms = np.array([self._vm_position[vm_id] for vm_id in violation.vm_ids], dtype=np.int64)
        rule = self._rules.get(name)
        if isinstance(rule, HostRule) and rule.kind == kind:
            right = self._places.right_hosts(rule)
            return ((v, elsewhere & right) for v, elsewhere in self.leaving(vms))
        if kind == "compatibility":
            return self._providing(vms, violation.amount)
        if kind == "capacity":
            return self._leaving_room(vms, violation.key[2])
        return self.leaving(vms)

    def _lessening(self, rule: GroupRule, amount: int) -> Candidates:
        for v in (*rule.vms.tolist(), *rule.others.tolist()):
            if self._hosts[v] != NOWHERE:
                yield v, amounts_after_move(rule, self._hosts, v) < amount

    def _leaving_room(self, vms: IntArray, resource: str) -> Candidates:
        problem = self._places.problem
        reserved = problem.reserved[
            problem.host_class[self._hosts[vms]], vms, problem.resource_names.index(resource)
        ]
        return self.leaving(vms[reserved > 0])

    def _providing(self, vms: IntArray, amount: int) -> Candidates:
        for v, elsewhere in self.leaving(vms):
            missing = self._places.missing(self._cluster.vms[v])
            fewer = np.array([phrase.count(",") + bool(phrase) < amount for phrase in missing])
            yield v, elsewhere & fewer
