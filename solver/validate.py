"""Which hard rules contradict each other: no placement at all keeps the ones named.

Asked before solving, because the solver never answers "infeasible": it keeps what is broken as
little broken as it can, and would not tell that no placement could do better.

What counts is what does not pass: the rules, what VMs require and hosts provide, and that some VMs
cannot be migrated as long as they run. Hosts in maintenance or out of reach, cool-downs, budgets
and capacities do not: what they hinder is a violation that remains for now.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from solver.domain.check import Violation, check_placement
from solver.domain.checking.counts import Cells
from solver.domain.cluster import VM, Cluster, Host
from solver.domain.rules import (
    RULES,
    Among,
    Ban,
    Dependency,
    HostRule,
    PerHostLimit,
    Pin,
    PlacementRule,
    Spread,
)
from solver.domain.units import HostId, VmId

MAX_CHOICES = 50_000
"""Most pairs of VM and host looked at together; of more rules, those around a broken one are."""

FIRST_SCOPE = 60
"""Rules and facts that are searched at once; of a larger group, four times as many follow."""

FEW_ALIKE = 4
"""Hosts that are alike to every rule that a first try is made with."""

_RULE_KINDS = frozenset(kind.kind for kind in RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Hard rules that no placement keeps together.

    Parameters
    ----------
    rule_ids
        The rules; every one of them is needed for the contradiction.
    facts
        What about VMs is needed for it as well, a phrase each.
    smallest
        Whether it is proven that no fewer rules, and then facts, contradict each other here.
    vm_ids
        The VMs that rules and facts name.
    """

    rule_ids: tuple[str, ...]
    facts: tuple[str, ...] = ()
    smallest: bool = True
    vm_ids: frozenset[VmId] = field(default=frozenset(), compare=False)

    def concerns(self, violation: Violation) -> bool:
        """Whether it says that the violation, or another like it, cannot be done without."""
        kind, name = violation.key[:2]
        if kind in ("compatibility", "not_running"):
            return name in self.vm_ids
        return name in self.rule_ids and kind in _RULE_KINDS

    @property
    def message(self) -> str:
        """One sentence that names rules and facts."""
        names = _joined([repr(rule_id) for rule_id in self.rule_ids])
        given = f", given that {_joined(self.facts)}" if self.facts else ""
        doubt = "" if self.smallest else " (there may be a smaller set)"
        if not self.rule_ids:
            return f"no placement is possible{given}{doubt}"
        if len(self.rule_ids) == 1:
            return f"no placement keeps hard rule {names}{given}{doubt}"
        return f"no placement keeps hard rules {names} together{given}{doubt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What was found out about a cluster's hard rules.

    Parameters
    ----------
    contradictions
        None of them shares a rule or fact with another.
    undecided
        Rules of which the time was too short to say, one tuple for each group that hangs together.
    """

    contradictions: tuple[Contradiction, ...] = ()
    undecided: tuple[tuple[str, ...], ...] = ()


def find_contradictions(
    cluster: Cluster, *, group_limit_s: float = 5.0, limit_s: float = 60.0
) -> Validation:
    """Return the smallest sets of hard rules that no placement keeps together.

    Rules that share VMs hang together in a group, and are searched together. A group that is kept
    as things are now has no contradiction and needs no search.

    Parameters
    ----------
    group_limit_s, limit_s
        Seconds for one search and for all of them.
    """
    deadline = time.monotonic() + limit_s
    cells = Cells(cluster)
    found: list[Contradiction] = []
    undecided: list[tuple[str, ...]] = []
    for group in _broken_groups(cluster):
        certain = True
        while group.broken:
            if time.monotonic() > deadline:
                certain = False
                break
            limit_now_s = min(group_limit_s, deadline - time.monotonic())
            search = _search_around_broken(cluster, cells, group, limit_now_s)
            if search.core:
                found.append(search.told())
            certain &= bool(search.core) or search.decided
            group = group.without(search.core, seen=() if search.core else search.scope)
        if not certain:
            undecided.append(tuple(s.rule.id for s in group.statements if not s.fact))
    return Validation(contradictions=tuple(found), undecided=tuple(undecided))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Statement:
    """A hard rule, or a fact about a VM put as one."""

    rule: PlacementRule
    fact: str = ""

    @property
    def vm_ids(self) -> frozenset[VmId]:
        return frozenset().union(*self.rule.named_vm_ids.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Statements that hang together, and those of them that are not kept now, yet to be seen."""

    statements: tuple[_Statement, ...]
    broken: tuple[_Statement, ...]

    def without(self, core: Sequence[_Statement], seen: Sequence[_Statement]) -> _Group:
        """Return the group without a contradiction, and with fewer statements to be seen."""
        known = {*core, *seen}
        return _Group(
            statements=tuple(s for s in self.statements if s not in core),
            broken=tuple(s for s in self.broken if s not in known),
        )


def _broken_groups(cluster: Cluster) -> Iterator[_Group]:
    """Yield the groups of which something is not kept now, in the order of their first VM."""
    rules = {rule.id: rule for rule in cluster.rules if rule.hard}
    broken_vms = {vm.id for vm in cluster.vms if vm.host_id is None}
    broken_rules: set[str] = set()
    for violation in check_placement(cluster, cluster.placement):
        kind, name = violation.key[:2]
        if kind == "compatibility":
            broken_vms.update(violation.vm_ids)
        elif name in rules and rules[name].kind == kind:
            broken_rules.add(name)
    statements = [_Statement(rule=rule) for rule in rules.values()]
    hanging_together = _united([statement.vm_ids for statement in statements], cluster)
    by_group: dict[VmId, list[_Statement]] = defaultdict(list)
    suspicious = {hanging_together[vm_id] for vm_id in broken_vms}
    for statement in statements:
        group = hanging_together[next(iter(statement.vm_ids))]
        by_group[group].append(statement)
        if statement.rule.id in broken_rules:
            suspicious.add(group)
    for fact in _facts(
        cluster, [vm for vm in cluster.vms if hanging_together[vm.id] in suspicious]
    ):
        by_group[hanging_together[fact.rule.vm_ids[0]]].append(fact)
    for vm in cluster.vms:
        if vm.id in suspicious:
            members = tuple(by_group[vm.id])
            yield _Group(
                statements=members,
                broken=tuple(
                    s for s in members if s.rule.id in broken_rules or s.vm_ids & broken_vms
                ),
            )


def _united(sets: Iterable[frozenset[VmId]], cluster: Cluster) -> dict[VmId, VmId]:
    """Return for every VM one that stands for all those that sets tie it to."""
    parent = {vm.id: vm.id for vm in cluster.vms}

    def root(vm_id: VmId) -> VmId:
        while parent[vm_id] != vm_id:
            parent[vm_id] = parent[parent[vm_id]]
            vm_id = parent[vm_id]
        return vm_id

    for together in sets:
        first, *others = together
        for vm_id in others:
            parent[root(vm_id)] = root(first)
    return {vm_id: root(vm_id) for vm_id in parent}


def _facts(cluster: Cluster, vms: Iterable[VM]) -> Iterator[_Statement]:
    """Yield where VMs can be at all, put as pins: what they require, and where they have to stay.

    A VM that has to stay is where it is whatever it requires.
    """
    host_ids = tuple(host.id for host in cluster.hosts)
    providers: dict[tuple[str, ...], tuple[HostId, ...]] = {}
    for vm in vms:
        name = f"what is known about {vm.id}"
        if vm.host_id is not None and not vm.migratable:
            reason = f"VM {vm.id!r} cannot be migrated from {vm.host_id!r}"
            fact = f"{reason} ({vm.not_migratable_reason})"
            pin = Pin(id=name, vm_ids=(vm.id,), host_ids=(vm.host_id,))
            yield _Statement(rule=pin, fact=fact)
        elif vm.requires:
            if vm.requires not in providers:
                providers[vm.requires] = tuple(
                    host.id for host in cluster.hosts if not set(vm.requires) - set(host.provides)
                )
            right = providers[vm.requires]
            rule: HostRule = Ban(id=name, vm_ids=(vm.id,), host_ids=host_ids)
            if right:
                rule = Pin(id=name, vm_ids=(vm.id,), host_ids=right)
            yield _Statement(rule=rule, fact=f"VM {vm.id!r} requires {_joined(vm.requires)}")


def _scope(
    cluster: Cluster, cells: Cells, group: _Group, num_statements: int
) -> tuple[tuple[_Statement, ...], bool]:
    """Return what hangs most closely together with what is broken first, and whether it is all.

    That is as many statements as asked for, or fewer where that would be too much to search.
    """
    nearest = _by_distance(group, num_statements)
    num_reached = len(nearest)
    while len(nearest) > 1:
        num_vms = len(_vm_ids(nearest))
        if num_vms * min(num_vms, len(cluster.hosts)) <= MAX_CHOICES:
            hosts = _unlike_hosts(cluster, cells, nearest, num_vms)
            if num_vms * len(hosts) <= MAX_CHOICES:
                break
        nearest = nearest[: len(nearest) // 2]
    near = frozenset(nearest)
    scope = tuple(statement for statement in group.statements if statement in near)
    return scope, len(scope) == num_reached < num_statements


def _vm_ids(statements: Iterable[_Statement]) -> frozenset[VmId]:
    return frozenset().union(*(statement.vm_ids for statement in statements))


def _by_distance(group: _Group, most: int) -> tuple[_Statement, ...]:
    """Return some statements of a group, those first that share VMs with the first broken one."""
    of_vm: dict[VmId, list[_Statement]] = defaultdict(list)
    for statement in group.statements:
        for vm_id in statement.vm_ids:
            of_vm[vm_id].append(statement)
    reached = {group.broken[0]: None}
    seen: set[VmId] = set()
    queue = deque(reached)
    while queue and len(reached) < most:
        for vm_id in sorted(queue.popleft().vm_ids - seen):
            seen.add(vm_id)
            for statement in of_vm[vm_id]:
                if statement not in reached:
                    reached[statement] = None
                    queue.append(statement)
    return tuple(reached)[:most]


def _unlike_hosts(
    cluster: Cluster, cells: Cells, statements: Sequence[_Statement], most_alike: int
) -> tuple[Host, ...]:
    """Return the hosts, of those that are alike to every rule only so many.

    With as many as there are VMs, whatever can be kept on all the hosts can be kept on these.
    """
    divisions: dict[int, Mapping[HostId, str]] = {}
    for statement in statements:
        rule = statement.rule
        if isinstance(rule, HostRule | PerHostLimit):
            divisions[len(divisions)] = dict.fromkeys(rule.host_ids, "named")
        elif isinstance(rule, Among) or (
            isinstance(rule, Spread | Dependency) and rule.level != "host"
        ):
            cell_of = cells.of_rule(rule)
            divisions[-id(cell_of)] = cell_of
    seen: Counter[tuple[str | None, ...]] = Counter()
    kept = []
    for host in cluster.hosts:
        alike = tuple(division.get(host.id) for division in divisions.values())
        seen[alike] += 1
        if seen[alike] <= most_alike:
            kept.append(host)
    return tuple(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What was searched, the contradiction found, and whether that says all there is to say."""

    scope: tuple[_Statement, ...]
    core: tuple[_Statement, ...]
    smallest: bool
    decided: bool

    def told(self) -> Contradiction:
        """Return the contradiction in words."""
        return Contradiction(
            rule_ids=tuple(statement.rule.id for statement in self.core if not statement.fact),
            facts=tuple(statement.fact for statement in self.core if statement.fact),
            smallest=self.smallest,
            vm_ids=_vm_ids(self.core),
        )


def _search_around_broken(cluster: Cluster, cells: Cells, group: _Group, limit_s: float) -> _Search:
    """Search what is near the first broken statement, then further away, up to the whole group."""
    # Loading CP-SAT costs a second, which clusters that keep their rules need not pay.
    from solver.cpsat.contradiction import find_core

    deadline = time.monotonic() + limit_s
    num_statements = FIRST_SCOPE
    while True:
        scope, whole = _scope(cluster, cells, group, num_statements)
        # Fewest rules first, then fewest facts.
        rule_cost = 1 + sum(bool(statement.fact) for statement in scope)
        rules = [statement.rule for statement in scope]
        costs = [1 if statement.fact else rule_cost for statement in scope]
        # What can be kept on a few hosts of each sort can be kept; what cannot takes them all.
        for most_alike in (FEW_ALIKE, len(_vm_ids(scope))):
            hosts = _unlike_hosts(cluster, cells, scope, most_alike)
            limit_now_s = (deadline - time.monotonic()) / 2
            verdict = find_core(rules, costs, hosts, cells, limit_s=limit_now_s)
            if verdict.decided and not verdict.core:
                break
        if verdict.core or not verdict.decided or len(scope) < num_statements or whole:
            return _Search(
                scope=scope,
                core=tuple(scope[i] for i in verdict.core),
                smallest=verdict.smallest and whole,
                decided=verdict.decided and whole,
            )
        num_statements *= 4


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
