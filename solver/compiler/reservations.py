"""What must be there for each VM on each host: memory and CPU promised, and its place as a VM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from solver.domain.check import SEVERITY_BROKEN
from solver.domain.cluster import Cluster, Overcommit, reserved_amounts
from solver.domain.score import UNLIMITED, capacity_array
from solver.domain.units import FIELDS, NUM_RESOURCES
from solver.domain.weights import reference_amounts
from solver.problem import NOWHERE, IntArray, frozen

VM_COUNT: Final = "vm_count"
"""Name of the resource of which every VM takes one: a host's limit on the number of VMs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reservations:
    """Reservations against capacities; fields as in ``solver.problem.Problem``."""

    resource_names: tuple[str, ...]
    capacity: IntArray
    host_class: IntArray
    reserved: IntArray
    reserved_limit: IntArray
    reference: IntArray
    broken_ppm: IntArray


def compile_reservations(cluster: Cluster, limited: IntArray, start: IntArray) -> Reservations:
    """Return reservations of the limited resources, and of places where hosts limit their VMs.

    Parameters
    ----------
    limited
        Positions of the resources that some host limits.
    """
    host_class, reserved = _by_class(cluster)
    reserved = reserved[:, :, limited]
    capacity = capacity_array(cluster)[:, limited]
    reference = np.array(reference_amounts(cluster), dtype=np.int64)[limited]
    broken_ppm = np.full(len(limited), SEVERITY_BROKEN, dtype=np.int64)
    names = tuple(FIELDS[r] for r in limited.tolist())
    most_vms = [host.max_vms for host in cluster.hosts]
    if any(most is not None for most in most_vms):
        places = np.array([UNLIMITED if most is None else most for most in most_vms])
        capacity = np.column_stack([capacity, places])
        one = np.ones((*reserved.shape[:2], 1), dtype=np.int64)
        reserved = np.concatenate([reserved, one], axis=2)
        # One VM too many is as severe as one VM in a wrong place.
        reference = np.append(reference, 1)
        broken_ppm = np.append(broken_ppm, 0)
        names = (*names, VM_COUNT)
    used = np.zeros_like(capacity)
    running = np.flatnonzero(start != NOWHERE)
    np.add.at(used, start[running], reserved[host_class[start[running]], running])
    return Reservations(
        resource_names=names,
        capacity=frozen(capacity),
        host_class=frozen(host_class),
        reserved=frozen(np.ascontiguousarray(reserved)),
        reserved_limit=frozen(np.maximum(capacity, used)),
        reference=frozen(reference),
        broken_ppm=frozen(broken_ppm),
    )


def _by_class(cluster: Cluster) -> tuple[IntArray, IntArray]:
    """Return the class of every host by over-commit, and what each VM reserves there."""
    classes: dict[Overcommit, int] = {}
    tables: list[IntArray] = []
    host_class = np.zeros(len(cluster.hosts), dtype=np.int64)
    for h, host in enumerate(cluster.hosts):
        host_class[h] = classes.setdefault(host.overcommit, len(classes))
        if host_class[h] == len(tables):
            rows = [reserved_amounts(vm, host) for vm in cluster.vms]
            tables.append(np.array(rows, dtype=np.int64).reshape(len(rows), NUM_RESOURCES))
    return host_class, np.stack(tables)
