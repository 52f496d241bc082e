"""N+1: what the loss of a host leaves out, against every way out tried."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from solver.capacity.survival import survival
from solver.domain.check import check_placement, new_or_worse
from solver.domain.cluster import Cluster, Host, HostState
from solver.domain.errors import InvalidInputError
from solver.domain.rules import Affinity, AntiAffinity, Ban, Pin, PlacementRule, Spread
from solver.domain.units import HostId, VmId
from tests.builders import make_cluster, make_host, make_vm


def random_cluster(seed: int) -> Cluster | None:
    """Return a small cluster that breaks nothing, or ``None`` if the seed gave another."""
    rng = np.random.default_rng(seed)
    hosts = [make_host(f"h{i}", memory_gib=int(rng.choice([8, 12, 16]))) for i in range(4)]
    vms = [
        make_vm(f"v{i}", f"h{rng.integers(4)}", memory_gib=int(rng.choice([2, 3, 5])))
        for i in range(8)
    ]
    names = [VmId(f"v{i}") for i in rng.permutation(8)]
    host_ids = tuple(HostId(f"h{i}") for i in rng.permutation(4))
    drawn: list[PlacementRule] = [
        AntiAffinity(id="apart", vm_ids=tuple(names[:3])),
        Affinity(id="together", vm_ids=tuple(names[3:5])),
        Pin(id="pin", vm_ids=tuple(names[4:6]), host_ids=host_ids[:3]),
        Ban(id="ban", vm_ids=tuple(names[6:]), host_ids=host_ids[3:]),
    ]
    rules = tuple(rule for rule in drawn if rng.random() < 0.5)
    try:
        cluster = make_cluster(hosts, vms, rules=rules)
    except InvalidInputError:
        return None
    return None if check_placement(cluster, cluster.placement) else cluster


def can_be_placed(cluster: Cluster, lost: Host) -> bool:
    """Return whether any of all ways out breaks nothing, by the checker."""
    vms = [vm.id for vm in cluster.vms if vm.host_id == lost.id]
    others = [host.id for host in cluster.hosts if host is not lost]
    return any(
        not check_placement(cluster, {**cluster.placement, **dict(zip(vms, targets, strict=True))})
        for targets in itertools.product(others, repeat=len(vms))
    )


def test_every_verdict_is_that_of_trying_all_ways_out() -> None:
    """On small clusters with rules; the way out shown breaks nothing, by the checker."""
    seen: dict[bool, int] = {True: 0, False: 0}
    for seed in range(600):
        cluster = random_cluster(seed)
        if cluster is None:
            continue
        for loss in survival(cluster).losses:
            lost = next(host for host in cluster.hosts if host.id == loss.host_id)
            expected = can_be_placed(cluster, lost)
            assert loss.survived is expected, (seed, loss)
            seen[expected] += 1
            after = {**cluster.placement, **loss.placement}
            assert not new_or_worse((), check_placement(cluster, after)), (seed, loss)
            assert loss.host_id not in loss.placement.values()
            assert bool(loss.left_out) is bool(loss.lacks) is not expected
    assert min(seen.values()) >= 30, seen


def test_the_worst_loss_and_what_lacks_are_named() -> None:
    """Two hosts of 10 GiB: the fuller one leaves more out, and memory is what lacks."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=10), make_host("h2", memory_gib=10)],
        [make_vm("v1", "h1"), make_vm("v2", "h1"), make_vm("v3", "h2")],
    )
    answer = survival(cluster)
    assert answer.survives is False
    assert answer.worst is not None
    assert answer.worst.host_id == "h1"
    assert len(answer.worst.left_out) == 1
    assert answer.worst.lacks == (
        "reservations of memory_mib: 2048 short on all other hosts together"
    )


def test_hosts_that_are_not_up_take_nothing() -> None:
    """Maintenance and unreachable hosts are no way out, and their loss is not asked about."""
    for state in (HostState.MAINTENANCE, HostState.UNREACHABLE):
        cluster = make_cluster([make_host("h1"), make_host("h2", state=state)], [make_vm()])
        answer = survival(cluster)
        assert [loss.host_id for loss in answer.losses] == ["h1"]
        assert answer.survives is False


def test_number_of_vms_and_what_they_require_count() -> None:
    """A host that is full by number, and one that lacks what the VM needs, are no way out."""
    hosts = [make_host("h1", provides=("gpu",)), make_host("h2", max_vms=1), make_host("h3")]
    vms = [make_vm("v1", "h1", requires=("gpu",)), make_vm("v2", "h2")]
    answer = survival(make_cluster(hosts, vms))
    assert {loss.host_id: loss.survived for loss in answer.losses} == {"h1": False, "h2": True}


def test_a_rule_that_is_not_packed_by_is_never_broken_in_silence() -> None:
    """Spread over two zones: the only way out breaks it, so the loss is not called survived."""
    cluster = make_cluster(
        [make_host("h1", zone="a"), make_host("h2", zone="b")],
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
        rules=(Spread(id="s", vm_ids=(VmId("v1"), VmId("v2")), min_domains=2),),
    )
    answer = survival(cluster)
    assert answer.survives is None
    assert "'s'" in answer.losses[0].lacks


@pytest.mark.parametrize("limit_s", [0.0])
def test_no_time_is_told_as_unknown(limit_s: float) -> None:
    """What greedy cannot place is not called impossible without a proof."""
    cluster = make_cluster([make_host("h1")], [make_vm()])
    assert survival(cluster, limit_s=limit_s).survives is None
