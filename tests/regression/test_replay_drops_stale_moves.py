"""A long plan must not go on after the next decision is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from executor.simulation.workload import TraceWorkload
from service.cooldown import CooldownParams
from service.replay.config import ReplayConfig
from service.replay.loop import LoopParams, run_policy
from service.replay.policies import Decision
from solver.domain.cluster import Cluster
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.sequencing.order import sequence
from tests.builders import NOW, make_cluster, make_host, make_vm


class EverythingAway:
    """Wants every VM on the other host, and notes when it was asked and what it saw."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime]] = []

    def decide(self, cluster: Cluster, at: datetime) -> Decision:
        """Return a plan that takes far longer than the interval."""
        self.asked.append((at, cluster.observed_at))
        wanted: dict[VmId, HostId | None] = {vm.id: HostId("h2") for vm in cluster.vms}
        return Decision(plan=sequence(cluster, wanted, urgency={}).plan, seconds=0.0)


def test_what_has_not_begun_is_dropped_when_the_next_decision_is_due() -> None:
    """Twenty VMs of 100 GiB are minutes of wire each; plans come every five minutes.

    Polls fall on even seconds and so on the very instant the next decision is due. The comparison
    that was to end the old plan was strict on both sides and never true then: the decision of
    00:05 saw the cluster of 00:15, after the whole stale plan had run.
    """
    hosts = [make_host("h1", memory_gib=4000), make_host("h2", memory_gib=4000)]
    vms = [make_vm(f"v{i}", "h1", memory_gib=100) for i in range(20)]
    cluster = make_cluster(hosts, vms)
    num_bins = 3
    workload = TraceWorkload(
        vm_ids=tuple(vm.id for vm in vms),
        start_at=NOW,
        readings=np.ones((4, len(vms), num_bins), dtype=np.float32),
        state=np.zeros((len(vms), num_bins), dtype=np.uint8),
    )
    config = ReplayConfig(
        trace=Path("none"),
        num_hosts=2,
        host_cores=10,
        host_memory_gib=4000,
        from_at=NOW,
        until_at=NOW + timedelta(minutes=15),
        interval_minutes=5,
        policies=("none",),
    )
    policy = EverythingAway()
    figures = run_policy(
        policy,
        config=config,
        start=cluster,
        workload=workload,
        params=LoopParams(weights=Weights(), cooldown=CooldownParams()),
    )
    assert [at - NOW for at, _ in policy.asked] == [timedelta(minutes=m) for m in (0, 5, 10)]
    # What was under way is brought home first: two moves of 100 GiB share the link.
    late = [seen - at for at, seen in policy.asked]
    assert max(late) < timedelta(minutes=4)
    assert figures.dropped_moves > 0
    assert figures.violations == 0
