"""What hosts must not hold: too much, too many, anything in maintenance, what does not fit them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from solver.domain.checking.violation import SEVERITY_ONE, Violation, capacity_severity_ppm
from solver.domain.cluster import VM, Host, HostState
from solver.domain.units import FIELDS, VmId


def host_violations(
    host: Host, used: Sequence[int], guest_ids: Sequence[VmId], references: Sequence[int]
) -> Iterator[Violation]:
    """Yield what a host is broken by.

    Parameters
    ----------
    used
        Sum of what its guests reserve, per resource.
    guest_ids
        VMs it holds, those under way from or to it included.
    references
        Capacity of the reference host, per resource.
    """
    guests = tuple(guest_ids)
    for field, amount, usable, reference in zip(
        FIELDS, used, host.usable(), references, strict=True
    ):
        if usable is not None and amount > usable:
            yield Violation(
                key=("capacity", host.id, field),
                amount=amount - usable,
                severity_ppm=capacity_severity_ppm(amount - usable, reference),
                message=f"host {host.id!r}: {amount} {field} reserved, at most {usable} fit",
                vm_ids=guests,
                host_ids=(host.id,),
            )
    if host.max_vms is not None and len(guests) > host.max_vms:
        excess = len(guests) - host.max_vms
        yield Violation(
            key=("vm_count", host.id),
            amount=excess,
            severity_ppm=excess * SEVERITY_ONE,
            message=f"host {host.id!r} holds {len(guests)} VMs, at most {host.max_vms} allowed",
            vm_ids=guests,
            host_ids=(host.id,),
        )
    if host.state is HostState.MAINTENANCE and guests:
        yield Violation(
            key=("maintenance", host.id),
            amount=len(guests),
            severity_ppm=len(guests) * SEVERITY_ONE,
            message=f"host {host.id!r} is in maintenance and holds {len(guests)} VMs",
            vm_ids=guests,
            host_ids=(host.id,),
        )


def compatibility_violations(vm: VM, held: Iterable[Host]) -> Iterator[Violation]:
    """Yield what a VM requires and one of its hosts does not provide: the worst of its hosts."""
    worst: tuple[str, ...] = ()
    worst_host: Host | None = None
    for host in held:
        missing = tuple(name for name in vm.requires if name not in host.provides)
        if len(missing) > len(worst):
            worst, worst_host = missing, host
    if worst_host is not None:
        yield Violation(
            key=("compatibility", vm.id),
            amount=len(worst),
            severity_ppm=len(worst) * SEVERITY_ONE,
            message=(
                f"VM {vm.id!r} requires {', '.join(worst)}, "
                f"which host {worst_host.id!r} does not provide"
            ),
            vm_ids=(vm.id,),
            host_ids=(worst_host.id,),
        )
