"""The judge written plainly: every host and every rule counted anew at every instant.

It says in the words of the catalogue what ``solver.domain.check`` keeps up from event to event,
and is far too slow for anything but tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from solver.domain.check import Violation, check_moves, check_placement
from solver.domain.checking.moves import budget_violations, move_violations, taking_part
from solver.domain.cluster import Cluster, Host, HostState, Placement, reserved_amounts
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Ban,
    Dependency,
    GroupRule,
    LicenceLimit,
    PerHostLimit,
    Pin,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import FIELDS, HostId, VmId

Key = tuple[str, ...]
Occupancy = Mapping[VmId, tuple[HostId, ...]]


def amounts_at_rest(cluster: Cluster, placement: Placement) -> dict[Key, int]:
    """Return how broken everything is in a placement at rest."""
    occupancy = _occupancy(cluster, placement)
    found = _of_hosts_and_vms(cluster, occupancy)
    for rule in cluster.rules:
        found |= _of_rule(cluster, rule, occupancy)
    found |= {("not_running", vm_id): 1 for vm_id, held in occupancy.items() if not held}
    return {key: amount for key, amount in found.items() if amount}


def replay(cluster: Cluster, plan: Plan) -> dict[Key, tuple[int, int | None]]:
    """Return what a well-formed plan makes new or worse: the amount and the first instant.

    The instant is ``None`` for what is wrong with a step or with the end of the plan.
    """
    before = amounts_at_rest(cluster, cluster.placement)
    occupancy = dict(_occupancy(cluster, cluster.placement))
    soft = {rule.id for rule in cluster.rules if not rule.hard}
    found: dict[Key, tuple[int, int | None]] = {}
    for instant_ms in sorted({t for step in plan.steps for t in (step.start_ms, step.end_ms)}):
        for step in plan.steps:
            if step.end_ms == instant_ms:
                occupancy[step.vm_id] = (step.destination_id,)
        for step in plan.steps:
            if step.start_ms == instant_ms:
                occupancy[step.vm_id] = (*occupancy[step.vm_id], step.destination_id)
        now = _of_hosts_and_vms(cluster, occupancy)
        for rule in cluster.rules:
            if rule.hard and (rule.continuous if isinstance(rule, GroupRule) else True):
                now |= {} if isinstance(rule, Affinity) else _of_rule(cluster, rule, occupancy)
        running = [step for step in plan.steps if step.start_ms <= instant_ms < step.end_ms]
        now |= _of_wire(cluster, running)
        for key, amount in now.items():
            if amount > before.get(key, 0):
                found.setdefault(key, (amount, instant_ms))
    after = plan.placement_after(cluster.placement)
    for key, amount in amounts_at_rest(cluster, after).items():
        if amount > before.get(key, 0) and not (len(key) > 1 and key[1] in soft):
            found.setdefault(key, (amount, None))
    for violation in _of_moves(cluster, plan, after):
        found.setdefault(violation.key, (violation.amount, None))
    return found


def _occupancy(cluster: Cluster, placement: Placement) -> dict[VmId, tuple[HostId, ...]]:
    found: dict[VmId, tuple[HostId, ...]] = {}
    for vm in cluster.vms:
        host_id = placement[vm.id]
        found[vm.id] = () if host_id is None else (host_id,)
    return found


def _of_hosts_and_vms(cluster: Cluster, occupancy: Occupancy) -> dict[Key, int]:
    found: dict[Key, int] = {}
    hosts = {host.id: host for host in cluster.hosts}
    for host in cluster.hosts:
        guests = [vm for vm in cluster.vms if host.id in occupancy[vm.id]]
        reserved = [reserved_amounts(vm, host) for vm in guests]
        for r, usable in enumerate(host.usable()):
            if usable is not None:
                used = sum(amounts[r] for amounts in reserved)
                found["capacity", host.id, FIELDS[r]] = max(0, used - usable)
        if host.max_vms is not None:
            found["vm_count", host.id] = max(0, len(guests) - host.max_vms)
        if host.state is HostState.MAINTENANCE:
            found["maintenance", host.id] = len(guests)
    for vm in cluster.vms:
        missing = [set(vm.requires) - set(hosts[h].provides) for h in occupancy[vm.id]]
        found["compatibility", vm.id] = max(map(len, missing), default=0)
    return found


def _of_rule(cluster: Cluster, rule: PlacementRule, occupancy: Occupancy) -> dict[Key, int]:
    if isinstance(rule, Pin):
        return {
            ("pin", rule.id, vm_id): int(not set(occupancy[vm_id]) <= set(rule.host_ids))
            for vm_id in rule.vm_ids
        }
    if isinstance(rule, Ban):
        return {
            ("ban", rule.id, vm_id): int(bool(set(occupancy[vm_id]) & set(rule.host_ids)))
            for vm_id in rule.vm_ids
        }
    return {(rule.kind, rule.id): amount(cluster, rule, occupancy)}


def amount(cluster: Cluster, rule: PlacementRule, occupancy: Occupancy) -> int:
    """Return how broken a rule about a group is, as the catalogue defines it."""
    hosts = {host.id: host for host in cluster.hosts}

    def held(vm_ids: Iterable[VmId]) -> list[Host]:
        return [hosts[host_id] for vm_id in vm_ids for host_id in occupancy[vm_id]]

    def sources(vm_ids: Iterable[VmId]) -> list[Host]:
        return [hosts[occupancy[vm_id][0]] for vm_id in vm_ids if occupancy[vm_id]]

    on_host = Counter(host.id for host in held(rule.vm_ids))
    match rule:
        case Affinity():
            return on_host.total() - max(on_host.values(), default=0)
        case AntiAffinity():
            return sum(max(0, n - 1) for n in on_host.values())
        case Among():
            parts = [set(part) for part in rule.parts]
            if not rule.parts:
                zones = {host.zone for host in cluster.hosts}
                parts = [{h.id for h in cluster.hosts if h.zone == zone} for zone in zones]
            return on_host.total() - max(sum(on_host[h] for h in part) for part in parts)
        case Spread():
            present = sources(rule.vm_ids)
            domains = {_domain(host, rule.level) for host in present}
            return max(0, min(rule.min_domains, len(present)) - len(domains))
        case Dependency():
            needing = {_domain(host, rule.level) for host in held(rule.vm_ids)}
            return len(needing - {_domain(host, rule.level) for host in sources(rule.on_vm_ids)})
        case Split():
            others = Counter(host.id for host in held(rule.other_vm_ids))
            return sum(min(on_host[h], others[h]) for h in on_host)
        case PerHostLimit():
            named = set(rule.host_ids) or set(hosts)
            return sum(max(0, n - rule.max_vms) for h, n in on_host.items() if h in named)
        case LicenceLimit():
            return max(0, len(on_host) - rule.max_hosts)
    raise AssertionError(f"rule of kind {rule.kind!r} is not in the catalogue")


def _domain(host: Host, level: str) -> str:
    return {"host": host.id, "rack": host.rack, "zone": host.zone}[level]


def _of_wire(cluster: Cluster, running: list[Step]) -> dict[Key, int]:
    hosts = {host.id: host for host in cluster.hosts}
    budget = cluster.budget
    moves = [step for step in running if step.kind is StepKind.MIGRATE]
    found: dict[Key, int] = {("parallel", "the cluster"): len(moves) - budget.max_parallel}
    for host in cluster.hosts:
        out = [step for step in moves if step.source_id == host.id]
        into = [step for step in moves if step.destination_id == host.id]
        rate = sum(step.bandwidth_mib_per_s for step in (*out, *into))
        found["parallel_out", host.id] = len(out) - budget.max_parallel_out_per_host
        found["parallel_in", host.id] = len(into) - budget.max_parallel_in_per_host
        found["bandwidth", host.id] = rate - host.migration_bandwidth_mib_per_s
    for step in moves:
        assert step.source_id is not None
        link = cluster.network.link(hosts[step.source_id], hosts[step.destination_id])
        key = "link", f"{step.source_id} to {step.destination_id}"
        excess = step.bandwidth_mib_per_s - link.bandwidth_mib_per_s
        found[key] = max(found.get(key, 0), excess)
    return found


def _of_moves(cluster: Cluster, plan: Plan, after: Placement) -> Iterable[Violation]:
    """Yield what is wrong with going to the end, with each step, and with all of them."""
    yield from check_moves(cluster, after)
    hosts = {host.id: host for host in cluster.hosts}
    vms = {vm.id: vm for vm in cluster.vms}
    exempt = taking_part(check_placement(cluster, cluster.placement))
    for step in plan.steps:
        yield from move_violations(
            cluster, hosts, vms[step.vm_id], step.source_id, step.destination_id, exempt
        )
    moves = [(s.source_id, s.destination_id) for s in plan.steps if s.source_id is not None]
    yield from budget_violations(cluster, moves)
