"""The cluster snapshot of what was seen: hosts and VMs as ``solver.domain.cluster`` has them.

What a VM needs of a host (machine type, networks, storage, kind of processor, a free name) becomes
names that it requires and hosts provide, so that no plan sends it where it cannot run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from executor.kvm import preflight
from executor.kvm.api import RunState
from executor.kvm.config import KvmConfig, VmPolicy
from executor.kvm.inventory import HostView, Inventory, SeenVm
from solver.domain.cluster import VM, Cluster, Host, HostState
from solver.domain.errors import PermanentError
from solver.domain.units import Amounts, HostId, Limits, VmId

POWERED_OFF: Final = "powered off"
HOLD: Final = "hold"
"""Label by which an operator keeps a VM where it is; its value says why."""

RESERVE_FRACTION: Final = 0.05
RESERVE_MIB: Final = 1024
"""Kept from VMs where the operator names neither a reserve nor a size: host, page cache, and what
QEMU needs for itself beside its guests' memory."""

Taken = Mapping[VmId, Mapping[HostId, str]]
"""Hosts on which a VM's name or UUID belongs to another domain, and in words which."""


def make_snapshot(inventory: Inventory, config: KvmConfig, observed_at: datetime) -> Cluster:
    """Return the cluster as last seen; rules about VMs that do not exist are left out.

    Raises
    ------
    PermanentError
        If the operator's rules or priorities name a VM of which there are several.
    """
    seen = inventory.vms()
    _require_unambiguous(inventory, config)
    taken = find_taken(seen, inventory)
    wanted = {vm.id: wanted_names(vm, inventory, config) for vm in seen}
    everything = frozenset(name for names in wanted.values() for name in names)
    held: defaultdict[HostId, set[str]] = defaultdict(set)
    for vm in seen:
        held[vm.host_id] |= wanted[vm.id]
    vms = tuple(_vm(vm, inventory, config, wanted[vm.id], vm.id in taken) for vm in seen)
    known = {vm.id for vm in vms}
    left = (rule.restricted_to(known) for rule in config.rules)
    return Cluster(
        observed_at=observed_at,
        hosts=tuple(
            make_host(
                view,
                held[view.config.id]
                | _provided(view, inventory, everything)
                | {_free_name(v) for v, at in taken.items() if view.config.id not in at},
            )
            for view in inventory.views.values()
        ),
        vms=vms,
        network=config.network,
        rules=tuple(rule for rule in left if rule is not None),
        budget=config.budget,
    )


def _require_unambiguous(inventory: Inventory, config: KvmConfig) -> None:
    named = {v for rule in config.rules for ids in rule.named_vm_ids.values() for v in ids}
    for name in sorted(inventory.ambiguous() & ({*config.vms} | named)):
        raise PermanentError(
            f"VM {name!r} is named by a rule or has a priority, and there are several domains of "
            "this name: say which one is meant by its label 'uuid'",
            vm_id=name,
        )


def wanted_names(vm: SeenVm, inventory: Inventory, config: KvmConfig) -> frozenset[str]:
    """Return the names a VM requires of a host, the operator's own among them."""
    facts = inventory.views[vm.host_id].facts
    own = config.vms.get(vm.id, VmPolicy()).requires
    if facts is None:
        return frozenset(own)
    return preflight.requirements(vm.copy.domain, facts, config.migration) | frozenset(own)


def ties(vm: SeenVm, inventory: Inventory, config: KvmConfig) -> str:
    """Return what forbids to move a VM at all, in words; empty if nothing does."""
    domain, state = vm.copy.domain, vm.copy.record.state
    if state is RunState.OFF:
        return POWERED_OFF
    if state is RunState.BROKEN:
        return "stopped by a post-copy that broke"
    if state in (RunState.PAUSED, RunState.LEFT_PAUSED):
        return "paused"
    if vm.elsewhere:
        return f"runs on {vm.host_id!r} and on {', '.join(map(repr, vm.elsewhere))} at once"
    if domain.owner and not config.move_foreign:
        return f"managed by {domain.owner}"
    hold = config.vms.get(vm.id, VmPolicy()).labels.get(HOLD)
    held = f"held by the operator: {hold}" if hold else ""
    tied = preflight.ties(domain, vm.copy.record.num_snapshots)
    local = copied_disks(vm, inventory, config)
    tying = local and not config.migration.copy_storage
    alone = f"disk {', '.join(local)} on storage of its host alone" if tying else ""
    return ", ".join(filter(None, (held, tied, alone)))


def copied_disks(vm: SeenVm, inventory: Inventory, config: KvmConfig) -> tuple[str, ...]:
    """Return the targets of the disks that have to be copied if a VM moves."""
    facts = inventory.views[vm.host_id].facts
    if facts is None:
        return ()
    return preflight.local_disks(vm.copy.domain, facts, config.migration)


def obstacle(vm: SeenVm, view: HostView, inventory: Inventory, config: KvmConfig) -> str:
    """Return why a host would not take a VM, in words; empty if nothing is known against it."""
    wanted = wanted_names(vm, inventory, config)
    reasons = [find_taken([vm], inventory).get(vm.id, {}).get(view.config.id, "")]
    if view.facts is not None:
        lacking = wanted - _provided(view, inventory, wanted)
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


def _free_name(vm_id: VmId) -> str:
    return f"free-name:{vm_id}"


def _provided(view: HostView, inventory: Inventory, wanted: Iterable[str]) -> set[str]:
    """Return which of the names that VMs require a host provides."""
    if view.facts is None:
        return set()
    names = set(wanted)
    processors = {name for name in names if name.startswith("processor:")}
    return (
        preflight.provided(names - processors, view.facts)
        | {name for name in processors if inventory.fits(view.config.id, name)}
        | (names & set(view.config.provides))
    )


def sized_vm(seen: SeenVm) -> VM:
    """Return a VM with what it takes of a host, and nothing else."""
    domain, stats = seen.copy.domain, seen.copy.record.stats
    off = seen.copy.record.state is RunState.OFF
    return VM(
        id=seen.id,
        allocation=Amounts(
            cpu_millicores=domain.vcpus * 1000, memory_mib=0 if off else domain.memory_mib
        ),
        host_id=seen.host_id,
        memory_footprint_mib=0 if off else footprint_mib(domain.memory_mib, stats),
    )


def _vm(
    seen: SeenVm, inventory: Inventory, config: KvmConfig, wanted: Iterable[str], contested: bool
) -> VM:
    policy = config.vms.get(seen.id, VmPolicy())
    requires = {*wanted, _free_name(seen.id)} if contested else {*wanted}
    return replace(
        sized_vm(seen),
        dirty_mib_per_s=inventory.dirty_mib_per_s(seen.copy.record),
        priority=policy.priority,
        group=policy.group,
        app_type=policy.app_type,
        not_before_at=policy.not_before_at,
        labels={**policy.labels, "uuid": seen.copy.domain.uuid},
        not_migratable_reason=ties(seen, inventory, config),
        requires=tuple(sorted(requires)),
    )


def make_host(view: HostView, provides: Iterable[str] = ()) -> Host:
    """Return a host as last seen."""
    config, facts = view.config, view.facts
    memory_mib, cpu_millicores = config.memory_mib, config.cpu_millicores
    reserve = config.reserve or Amounts()
    if facts is not None:
        if config.reserve is None and memory_mib is None:
            reserve = Amounts(memory_mib=RESERVE_MIB + round(RESERVE_FRACTION * facts.memory_mib))
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
        reserve=reserve,
        overcommit=config.overcommit,
        zone=config.zone,
        rack=config.rack,
        labels=config.labels
        if facts is None
        else {"threads_per_core": str(facts.threads_per_core), **config.labels},
        cpu_model="" if facts is None else facts.cpu_model,
        state=config.state if view.reachable else HostState.UNREACHABLE,
        migration_bandwidth_mib_per_s=config.migration_bandwidth_mib_per_s,
        max_vms=config.max_vms,
        provides=tuple(sorted(provides)),
    )
