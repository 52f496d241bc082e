"""The cluster snapshot of what was seen: hosts and VMs as ``solver.domain.cluster`` has them.

What a VM needs of a host (machine type, networks, storage, kind of processor, a free name) becomes
names that it requires and hosts provide, so that no plan sends it where it cannot run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from executor.kvm import preflight
from executor.kvm.api import RunState
from executor.kvm.config import KvmConfig, VmPolicy
from executor.kvm.domain_xml import Domain
from executor.kvm.host_xml import Pool
from executor.kvm.inventory import HostView, Inventory, SeenVm
from solver.domain.cluster import VM, Cluster, Host, HostState
from solver.domain.units import Amounts, HostId, Limits, VmId

POWERED_OFF: Final = "powered off"

Taken = Mapping[VmId, Mapping[HostId, str]]
"""Hosts on which a VM's name or UUID belongs to another domain, and in words which."""


def make_snapshot(inventory: Inventory, config: KvmConfig, observed_at: datetime) -> Cluster:
    """Return the cluster as last seen; rules about VMs that do not exist are left out."""
    seen = inventory.vms()
    taken = find_taken(seen, inventory)
    wanted = {vm.id: wanted_names(vm, inventory, config) for vm in seen}
    kinds = {(wanted[vm.id], vm.copy.domain.memory_mib): vm.copy.domain for vm in seen}
    held: defaultdict[HostId, set[str]] = defaultdict(set)
    for vm in seen:
        held[vm.host_id] |= wanted[vm.id]
    vms = tuple(_vm(vm, inventory, config, wanted[vm.id], vm.id in taken) for vm in seen)
    known = {vm.id for vm in vms}
    left = (rule.restricted_to(known) for rule in config.rules)
    return Cluster(
        observed_at=observed_at,
        hosts=tuple(
            _host(
                view,
                held[view.config.id]
                | _provided(view, inventory, kinds)
                | {_free_name(v) for v, at in taken.items() if view.config.id not in at},
            )
            for view in inventory.views.values()
        ),
        vms=vms,
        network=config.network,
        rules=tuple(rule for rule in left if rule is not None),
        budget=config.budget,
    )


def wanted_names(vm: SeenVm, inventory: Inventory, config: KvmConfig) -> frozenset[str]:
    """Return the names a VM requires of a host."""
    return preflight.requirements(vm.copy.domain, _pools(vm, inventory), config.migration)


def ties(vm: SeenVm, inventory: Inventory, config: KvmConfig) -> str:
    """Return what forbids to move a VM at all, in words; empty if nothing does."""
    domain, state = vm.copy.domain, vm.copy.record.state
    if state is RunState.OFF:
        return POWERED_OFF
    if state in (RunState.PAUSED, RunState.LEFT_PAUSED):
        return "paused"
    if vm.elsewhere:
        return f"runs on {vm.host_id!r} and on {', '.join(map(repr, vm.elsewhere))} at once"
    if domain.owner and not config.move_foreign:
        return f"managed by {domain.owner}"
    local = preflight.local_disks(domain, _pools(vm, inventory), config.migration)
    tied = preflight.ties(domain, vm.copy.record.num_snapshots)
    return ", ".join(filter(None, (tied, local)))


def obstacle(vm: SeenVm, view: HostView, inventory: Inventory, config: KvmConfig) -> str:
    """Return why a host would not take a VM, in words; empty if nothing is known against it."""
    domain = vm.copy.domain
    wanted = wanted_names(vm, inventory, config)
    reasons = [find_taken([vm], inventory).get(vm.id, {}).get(view.config.id, "")]
    if view.facts is not None:
        lacking = wanted - _provided(view, inventory, {(wanted, domain.memory_mib): domain})
        reasons.extend(f"lacks {name}" for name in sorted(lacking))
    return ", ".join(filter(None, reasons))


def find_taken(seen: Iterable[SeenVm], inventory: Inventory) -> Taken:
    """Return where the names and UUIDs of VMs are taken by other domains."""
    by_name: defaultdict[str, list[tuple[HostId, str]]] = defaultdict(list)
    by_uuid: defaultdict[str, list[tuple[HostId, str]]] = defaultdict(list)
    for host_id, view in inventory.views.items():
        for uuid, copy in view.copies.items():
            by_name[copy.record.name].append((host_id, uuid))
            by_uuid[uuid].append((host_id, copy.record.name))
    taken: dict[VmId, dict[HostId, str]] = {}
    for vm in seen:
        name, uuid = vm.copy.record.name, vm.copy.record.uuid
        words = {
            h: f"another domain is named {name!r} there" for h, u in by_name[name] if u != uuid
        }
        words |= {h: f"its UUID is that of {n!r} there" for h, n in by_uuid[uuid] if n != name}
        if words:
            taken[vm.id] = words
    return taken


def footprint_mib(memory_mib: int, stats: Mapping[str, int | str]) -> int:
    """Return what a migration has to copy: what QEMU has resident, at most the guest's memory.

    Pages that the guest has freed stay resident until a balloon takes them, and are sent. Where the
    resident size is not told, it is what the balloon leaves to the guest.
    """
    told = stats.get("balloon.rss", stats.get("balloon.current"))
    return memory_mib if told is None else min(memory_mib, -(-int(told) // 1024))


def dirty_mib_per_s(stats: Mapping[str, int | str]) -> int:
    """Return the rate at which the guest was last seen to rewrite its memory; 0 if not measured."""
    return int(stats.get("dirtyrate.megabytes_per_second", 0))


def _pools(vm: SeenVm, inventory: Inventory) -> tuple[Pool, ...]:
    facts = inventory.views[vm.host_id].facts
    return () if facts is None else tuple(facts.pools.values())


def _free_name(vm_id: VmId) -> str:
    return f"free-name:{vm_id}"


def _provided(
    view: HostView,
    inventory: Inventory,
    kinds: Mapping[tuple[frozenset[str], int], Domain],
) -> set[str]:
    """Return what a host provides of the names that kinds of VMs require."""
    provided: set[str] = set()
    if view.facts is None:
        return provided
    for (wanted, _), domain in kinds.items():
        provided |= wanted & preflight.provisions(domain, view.facts)
        processor = preflight.processor(domain)
        if processor and inventory.fits(view.config.id, processor):
            provided.add(processor)
    return provided


def _vm(
    seen: SeenVm, inventory: Inventory, config: KvmConfig, wanted: Iterable[str], contested: bool
) -> VM:
    domain, stats = seen.copy.domain, seen.copy.record.stats
    policy = config.vms.get(seen.id, VmPolicy())
    off = seen.copy.record.state is RunState.OFF
    requires = {*wanted, _free_name(seen.id)} if contested else {*wanted}
    return VM(
        id=seen.id,
        allocation=Amounts(
            cpu_millicores=domain.vcpus * 1000, memory_mib=0 if off else domain.memory_mib
        ),
        host_id=seen.host_id,
        memory_footprint_mib=0 if off else footprint_mib(domain.memory_mib, stats),
        dirty_mib_per_s=0 if off else dirty_mib_per_s(stats),
        priority=policy.priority,
        group=policy.group,
        app_type=policy.app_type,
        labels={**policy.labels, "uuid": domain.uuid},
        not_migratable_reason=ties(seen, inventory, config),
        requires=tuple(sorted(requires)),
    )


def _host(view: HostView, provides: Iterable[str]) -> Host:
    config, facts = view.config, view.facts
    memory_mib, cpu_millicores = config.memory_mib, config.cpu_millicores
    if facts is not None:
        memory_mib = facts.memory_mib if memory_mib is None else memory_mib
        cpu_millicores = facts.num_cpus * 1000 if cpu_millicores is None else cpu_millicores
    return Host(
        id=config.id,
        # A host that was never seen and whose size nobody told takes nothing.
        capacity=Limits(
            cpu_millicores=cpu_millicores or 0,
            memory_mib=memory_mib or 0,
            disk_io_kib_per_s=config.disk_io_kib_per_s,
            net_io_kib_per_s=config.net_io_kib_per_s,
        ),
        reserve=config.reserve,
        overcommit=config.overcommit,
        zone=config.zone,
        rack=config.rack,
        labels=config.labels,
        cpu_model="" if facts is None else facts.cpu_model,
        state=config.state if view.reachable else HostState.UNREACHABLE,
        migration_bandwidth_mib_per_s=config.migration_bandwidth_mib_per_s,
        max_vms=config.max_vms,
        provides=tuple(sorted(provides)),
    )
