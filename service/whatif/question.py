"""What is asked of a what-if: plain data, any combination of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from solver.capacity.question import HostType
from solver.domain.cluster import VM, Host
from solver.domain.errors import InvalidInputError
from solver.domain.rules import PlacementRule
from solver.domain.units import Amounts, HostId, VmId


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedHosts:
    """More hosts like one.

    Parameters
    ----------
    template
        Each of them; its id is what their ids begin with.
    """

    template: Host
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedVms:
    """More VMs like one, to be started.

    Parameters
    ----------
    template
        Each of them; its id is what their ids begin with.
    like_vm_id
        VM of the cluster whose demand each has; ``None`` for none.
    usage
        What each needs all the time, where it is like no VM; ``None`` for its allocation.
    apart
        Whether no two of them may share a host.
    """

    template: VM
    count: int
    like_vm_id: VmId | None = None
    usage: Amounts | None = None
    apart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandFactor:
    """More demand, or less.

    Parameters
    ----------
    factor
        On all resources of a VM, as if it were large enough for it.
    group, vm_id
        Whose; all VMs where both are empty.
    """

    factor: float
    group: str = ""
    vm_id: str = ""

    def __post_init__(self) -> None:
        if self.group and self.vm_id:
            raise InvalidInputError("expected a group or a VM, got both", path="vm_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsQuestion:
    """How many hosts of which types would carry all VMs.

    Parameters
    ----------
    target_ppm
        Largest probability that any host is overloaded.
    """

    types: tuple[HostType, ...]
    target_ppm: int = 10_000
    survive_loss: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomQuestion:
    """How many more VMs of a kind would fit; parameters are those of added VMs and hosts."""

    vms: AddedVms
    target_ppm: int = 10_000
    survive_loss: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """All changes at once; without any, the cluster as it is.

    Parameters
    ----------
    lost_host_ids
        Gone without warning: their VMs have to be started elsewhere.
    maintenance_host_ids, removed_host_ids
        To be empty for a while, or for good: their VMs migrate first.
    rules
        Added, in place of those of the same id.
    """

    lost_host_ids: tuple[HostId, ...] = ()
    maintenance_host_ids: tuple[HostId, ...] = ()
    removed_host_ids: tuple[HostId, ...] = ()
    added_hosts: tuple[AddedHosts, ...] = ()
    removed_vm_ids: tuple[VmId, ...] = ()
    added_vms: tuple[AddedVms, ...] = ()
    demand_factors: tuple[DemandFactor, ...] = ()
    priorities: Mapping[VmId, int] = field(default_factory=dict)
    rules: tuple[PlacementRule, ...] = ()
    removed_rule_ids: tuple[str, ...] = ()
    room: RoomQuestion | None = None
    hosts_needed: HostsQuestion | None = None

    @property
    def emptied_host_ids(self) -> tuple[HostId, ...]:
        """Hosts that VMs leave in an orderly manner."""
        return (*self.maintenance_host_ids, *self.removed_host_ids)
