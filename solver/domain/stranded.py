"""Stranded capacity: free CPU that no free memory goes with, or the reverse.

A host that is full of one resource is closed to most VMs, however much of the other it has left.
Both are measured in reference hosts (the mean of the hosts that count), so that a host strands
nothing when what is free on it is in the proportion of a whole host. As the sum of what is free
does not depend on the placement, keeping little stranded is keeping room for VMs of that shape.

Free CPU is the capacity without the expected demand, free memory what may still be promised: the
capacity times its over-commit without the allocations. That is what bars a host to further VMs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import Cluster, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import Resource
from solver.domain.weights import MAX_COST, UNITS_PER_HOST_S, Weights

IntArray = npt.NDArray[np.int64]

SCALE: Final = 10**6
"""Parts of a reference host in which both resources are counted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stranding:
    """What decides how much is stranded where.

    With ``x`` the sum of ``demand`` over the VMs on host ``h``, less ``threshold[h]``, the host
    strands ``x`` of CPU if that is positive and ``-x`` of memory if it is negative.

    Parameters
    ----------
    demand
        Memory less CPU of each VM, in parts per million of a reference host; shape ``(V,)``.
    threshold
        Memory less CPU of each host, shape ``(H,)``; 0 where ``counted`` says no.
    counted
        Hosts that are up and limit both resources, shape ``(H,)``. What is free on others is not
        there for VMs, or has no end.
    price
        Cost units for one part per million stranded over the horizon.
    """

    demand: IntArray
    threshold: IntArray
    counted: npt.NDArray[np.bool_]
    price: int

    def cost(self, load: IntArray) -> IntArray:
        """Return the cost of each host from the sum of ``demand`` on it, shape ``(H,)``."""
        cost: IntArray = np.where(self.counted, np.abs(load - self.threshold), 0) * self.price
        return cost


def stranding(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights, expected: IntArray
) -> Stranding:
    """Return what decides how much is stranded where; its price is 0 if the weight is.

    Parameters
    ----------
    scenarios
        Only their horizon is used.
    expected
        Mean demand of every VM, shape ``(V, resources)``.

    Raises
    ------
    InvalidInputError
        If all that could be stranded would cost more than ``MAX_COST``.
    """
    sizes = np.zeros((len(cluster.hosts), 2), dtype=np.int64)
    counted = np.zeros(len(cluster.hosts), dtype=np.bool_)
    for h, host in enumerate(cluster.hosts):
        cpu, memory = host.usable()[: Resource.MEMORY + 1]
        if host.state is HostState.UP and cpu and memory:
            sizes[h] = cpu, int(memory * host.overcommit.memory)
            counted[h] = True
    reference = np.maximum(1, sizes.sum(axis=0) // max(1, int(counted.sum())))
    promised = np.array([vm.allocation.memory_mib for vm in cluster.vms], dtype=np.int64)
    wanted = np.column_stack([expected[:, Resource.CPU], promised])
    demand = _memory_less_cpu(wanted, reference)
    threshold = _memory_less_cpu(sizes, reference)
    seconds = max(1, scenarios.num_steps) * scenarios.step_seconds
    price = round(weights.stranded * seconds * UNITS_PER_HOST_S / SCALE)
    most = sum(float(np.abs(parts).sum(dtype=np.float64)) for parts in (demand, threshold))
    if price * max(1.0, most) > MAX_COST:
        raise InvalidInputError(
            f"all that hosts and VMs have of one resource and not of the other would cost "
            f"{price * most:.3g} if it were stranded, at most {MAX_COST:.3g} fit; expected a "
            "smaller weight, or amounts in the right units",
            path="weights.stranded",
        )
    return Stranding(demand=demand, threshold=threshold, counted=counted, price=price)


def _memory_less_cpu(amounts: IntArray, reference: IntArray) -> IntArray:
    """Return the difference in parts of the reference; amounts fit 31 bits, their parts 51."""
    parts = amounts * SCALE // reference
    difference: IntArray = parts[:, 1] - parts[:, 0]
    return difference
