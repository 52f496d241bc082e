"""The textbook predictive rule, one VM at a time: what joint optimisation is compared with.

Every host whose contention score, over the same joint futures as foreswap sees, is above the
threshold is relieved, worst first: of its VMs those with high expected demand and low priority are
candidates; of the candidates and the hosts that would stay below the threshold with them, the pair
with the lowest migration cost moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.replay.ledger import FloatArray, IntArray, Ledger, relieve_worst
from solver.contention import DEFAULT_ACT_HOST_S
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.score import Contention, expected_demand, pair_costs
from solver.domain.units import HostId, Resource, VmId
from solver.domain.weights import Weights, reference_amounts, to_units


@dataclass(frozen=True, slots=True, kw_only=True)
class TextbookParams:
    """Settings of the textbook rule.

    Parameters
    ----------
    threshold_host_s
        Contention score above which a host is relieved, and up to which one may be filled.
    num_candidates
        VMs of a host that are looked at.
    max_moves
        Moves per plan at most.
    """

    threshold_host_s: float = DEFAULT_ACT_HOST_S
    num_candidates: int = 5
    max_moves: int = 40

    def __post_init__(self) -> None:
        if not self.threshold_host_s > 0:
            raise InvalidInputError(
                f"expected a positive score, got {self.threshold_host_s}", path="threshold_host_s"
            )


def relieve(
    cluster: Cluster, scenarios: ScenarioSet, weights: Weights, params: TextbookParams
) -> dict[VmId, HostId | None]:
    """Return the placement the rule wants.

    Parameters
    ----------
    scenarios
        In the cluster's order of VMs.
    """
    return _Rule(cluster, scenarios, weights, params).run()


class _Rule:
    """The moves so far, and the contention they lead to."""

    def __init__(
        self, cluster: Cluster, scenarios: ScenarioSet, weights: Weights, params: TextbookParams
    ) -> None:
        self._cluster, self._scenarios, self._weights = cluster, scenarios, weights
        self._params = params
        self._threshold = to_units(params.threshold_host_s)
        self._contention = Contention(cluster, scenarios, weights)
        demand = expected_demand(scenarios)
        self._ledger = Ledger(cluster, demand)
        share = (demand / np.array(reference_amounts(cluster)))[:, [Resource.CPU, Resource.MEMORY]]
        omega = np.array([weights.omega(vm.priority) for vm in cluster.vms])
        self._attraction: FloatArray = share.max(axis=1) / omega

    def run(self) -> dict[VmId, HostId | None]:
        relieve_worst(
            self._scores,
            self._move_cheapest,
            threshold=self._threshold,
            max_moves=self._params.max_moves,
        )
        return self._ledger.placement

    def _scores(self) -> IntArray:
        cost, _ = self._contention.of_all(self._ledger.host_of)
        return np.asarray(cost.sum(axis=1), dtype=np.int64)

    def _move_cheapest(self, source: int) -> bool:
        guests = self._ledger.guests(source)
        order = np.argsort(-self._attraction[guests], kind="stable")
        candidates = guests[order][: self._params.num_candidates]
        found: list[tuple[int, int, int]] = []
        for vm in candidates:
            room = self._ledger.with_room(int(vm))
            room = room[self._score_with(int(vm), room) <= self._threshold]
            if room.size:
                cost = pair_costs(
                    self._cluster, self._scenarios, self._weights, np.array([vm]), room[None]
                )
                found += [
                    (int(c), int(vm), int(h)) for c, h in zip(cost.total[0], room, strict=True)
                ]
        return self._ledger.move_first((vm, host) for _, vm, host in sorted(found))

    def _score_with(self, vm: int, hosts: IntArray) -> IntArray:
        """Return the contention scores of hosts if a VM were added to each."""
        where = np.full(len(self._cluster.hosts) + 1, -1)
        where[hosts] = np.arange(len(hosts))
        vms = np.append(np.arange(len(self._cluster.vms)), np.full(len(hosts), vm))
        placed = np.append(where[self._ledger.host_of], np.arange(len(hosts)))
        cost, _ = self._contention.of_some(hosts, vms, placed)
        return np.asarray(cost.sum(axis=1), dtype=np.int64)
