"""What VMs need and hosts have, as one vector per VM and host: reservations, then every future.

A VM on a host needs its reservation of each resource, and its demand for each resource in each
scenario and step. It fits where no entry is exceeded. All that packing knows is such vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import VM, Host, reserved_amounts
from solver.domain.scenario import ScenarioSet
from solver.domain.score import UNLIMITED
from solver.domain.units import FIELDS, NUM_RESOURCES
from solver.domain.weights import objective_steps

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Needs:
    """Vectors of a set of VMs on a set of hosts.

    Parameters
    ----------
    room
        What each host has, shape ``(H, D)``; ``UNLIMITED`` where nothing binds.
    host_class
        Hosts that reserve alike are of one class, shape ``(H,)``.
    need
        What each VM takes on a host of a class, shape ``(classes, V, D)``.
    scenario_of
        Scenario of each entry, ``-1`` for what holds in all, shape ``(D,)``.
    name_of
        What each entry is about, in words, shape ``(D,)``.
    """

    room: IntArray
    host_class: IntArray
    need: IntArray
    scenario_of: IntArray
    name_of: npt.NDArray[np.str_]

    def honouring(self, scenarios: BoolArray) -> Needs:
        """Return the entries of reservations and of some scenarios, shape of those ``(K,)``."""
        kept = (self.scenario_of < 0) | scenarios[self.scenario_of]
        return Needs(
            room=self.room[:, kept],
            host_class=self.host_class,
            need=self.need[:, :, kept],
            scenario_of=self.scenario_of[kept],
            name_of=self.name_of[kept],
        )

    def of_hosts(self, hosts: IntArray) -> Needs:
        """Return the same VMs on hosts of the kinds at some positions, repeats allowed."""
        return Needs(
            room=self.room[hosts],
            host_class=self.host_class[hosts],
            need=self.need,
            scenario_of=self.scenario_of,
            name_of=self.name_of,
        )

    def loads(self, hosts: IntArray) -> IntArray:
        """Return what is taken on each host when VM ``v`` is on ``hosts[v]``, shape ``(H, D)``.

        A VM at -1 takes nothing.
        """
        taken = np.zeros_like(self.room)
        placed = np.flatnonzero(hosts >= 0)
        where = hosts[placed]
        np.add.at(taken, where, self.need[self.host_class[where], placed])
        return taken


def compile_needs(hosts: Sequence[Host], vms: Sequence[VM], demand: IntArray) -> Needs:
    """Return the vectors of VMs on hosts.

    Beside amounts, the largest number of VMs of a host is an entry of which each VM takes one, and
    what VMs require is an entry each, of which a host has none or plenty.

    Parameters
    ----------
    demand
        Shape ``(num_scenarios, V, num_resources, num_steps)``: the steps that count, see
        :func:`future_demand`.
    """
    usable = np.array([_or_unlimited(host.usable()) for host in hosts], dtype=np.int64)
    limited = np.flatnonzero((usable != UNLIMITED).any(axis=0))
    kinds = list(dict.fromkeys(host.overcommit for host in hosts))
    alike = {host.overcommit: host for host in hosts}
    reserved = np.array(
        [[reserved_amounts(vm, alike[kind]) for vm in vms] for kind in kinds], dtype=np.int64
    ).reshape(len(kinds), len(vms), NUM_RESOURCES)[:, :, limited]
    features = list(dict.fromkeys(name for vm in vms for name in vm.requires))
    asked = np.array(
        [[1, *(name in vm.requires for name in features)] for vm in vms], dtype=np.int64
    ).reshape(len(vms), 1 + len(features))
    granted = np.array(
        [
            [
                *_or_unlimited((host.max_vms,)),
                *(UNLIMITED if name in host.provides else 0 for name in features),
            ]
            for host in hosts
        ],
        dtype=np.int64,
    )
    num_scenarios, num_vms, _, num_steps = demand.shape
    repeats = num_scenarios * num_steps
    wanted = demand[:, :, limited].transpose(1, 0, 3, 2).reshape(num_vms, repeats * limited.size)
    fixed = np.concatenate([asked, wanted], axis=1)
    names = [FIELDS[r] for r in limited.tolist()]
    return Needs(
        room=np.concatenate(
            [usable[:, limited], granted, np.tile(usable[:, limited], (1, repeats))], axis=1
        ),
        host_class=np.array([kinds.index(host.overcommit) for host in hosts], dtype=np.int64),
        need=np.concatenate([reserved, np.broadcast_to(fixed, (len(kinds), *fixed.shape))], axis=2),
        scenario_of=np.concatenate(
            [
                np.full(limited.size + asked.shape[1], -1),
                np.repeat(np.arange(num_scenarios), num_steps * limited.size),
            ]
        ),
        name_of=np.array(
            [
                *(f"reservations of {name}" for name in names),
                "the number of VMs per host",
                *(f"hosts that provide {name}" for name in features),
                *(f"demand for {name}" for name in names * repeats),
            ]
        ),
    )


def _or_unlimited(limits: Sequence[int | None]) -> list[int]:
    return [UNLIMITED if limit is None else limit for limit in limits]


def future_demand(scenarios: ScenarioSet) -> IntArray:
    """Return the demand at the steps that count: the future ones, else the present."""
    demand: IntArray = scenarios.demand[..., objective_steps(scenarios)]
    return demand


def overload_ppm(needs: Needs, taken: IntArray, probability_ppm: Sequence[int]) -> int:
    """Return the probability that any host is short of anything, in parts per million.

    Parameters
    ----------
    taken
        Load of each host, of :meth:`Needs.loads`.
    """
    short = needs.scenario_of[(taken > needs.room).any(axis=0)]
    return sum(probability_ppm[k] for k in set(short[short >= 0].tolist()))
