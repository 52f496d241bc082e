"""What was decoded of a cluster is taken over where it is as it was, and is the same as anew."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.inventory import effective
from service.inventory.clusters import delete_cluster, keep_snapshot, put_cluster
from service.inventory.effective import Inventory, Seen, look_up
from service.inventory.latest import Latest
from service.inventory.maintenance import set_maintenance
from service.inventory.marks import MAX_EDITS
from service.inventory.policies import ClusterSettings, Maintenance, VmPolicy
from service.inventory.priorities import Wanted, set_priorities, set_priority
from service.inventory.rules import put_rule
from service.inventory.vm_policies import set_policy
from service.store.base import Store, Transaction
from solver.domain.cluster import Cluster
from solver.domain.rules import Affinity
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.inventories import ADMIN, CLUSTER, small_cluster

PATIENCE_S = 30.0
V1, V2, V3, V4 = (VmId(f"v{i}") for i in (1, 2, 3, 4))


@contextmanager
def another_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the block know nothing of what was decoded here, nor leave anything behind."""
    inventories: Latest[Any] = Latest()
    snapshots: Latest[Seen] = Latest()
    with monkeypatch.context() as patch:
        patch.setattr(effective, "_INVENTORIES", inventories)
        patch.setattr(effective, "_SNAPSHOTS", snapshots)
        yield


def slowed(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let reading a cluster begin and then wait; return both as events."""
    begun, go_on = threading.Event(), threading.Event()
    lay_over = effective._laid_over

    def slowly(*arguments: Any) -> Any:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return lay_over(*arguments)

    monkeypatch.setattr(effective, "_laid_over", slowly)
    return begun, go_on


def known(store: Store) -> Inventory:
    """Return the cluster with its policies."""
    with store.begin(read_only=True) as tx:
        return look_up(tx, CLUSTER)


def require_same_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare what is taken over with what somebody finds who knows nothing."""
    here = known(store)
    with another_process(monkeypatch):
        anew = known(store)
    assert here.cluster == anew.cluster
    assert here.vm_policies == anew.vm_policies
    assert here.maintenance == anew.maintenance
    assert here.rules == anew.rules


def see(store: Store, cluster: Cluster, minutes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the driver of another process see the cluster some minutes later."""
    seen = replace(cluster, observed_at=NOW + timedelta(minutes=minutes))
    with another_process(monkeypatch), store.begin() as tx:
        assert keep_snapshot(tx, CLUSTER, seen, now=NOW)


def prefer(tx: Transaction, vm_id: VmId, priority: int | None) -> None:
    """Set a priority."""
    wanted = Wanted(vm_id=vm_id, priority=priority)
    set_priority(tx, ADMIN, CLUSTER, wanted, expected_revision=None, now=NOW)


def test_an_edit_makes_one_vm_anew(store: Store) -> None:
    """All others are the very objects of before: ten thousand of them took a second."""
    first = known(store)
    with store.begin() as tx:
        prefer(tx, V4, 7)
    second = known(store)
    assert second.cluster.vms[3].priority == 7
    assert [a is b for a, b in zip(first.cluster.vms, second.cluster.vms, strict=True)] == [
        True,
        True,
        True,
        False,
    ]
    assert second.vm_policies[V1] is first.vm_policies[V1]


def test_a_snapshot_makes_those_vms_anew_that_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Policies are not read again, and VMs that stand as they stood are not validated again."""
    see(store, small_cluster(), 1, monkeypatch)
    first = known(store)
    cluster = small_cluster()
    moved = [replace(vm, host_id=HostId("h3")) if vm.id == V2 else vm for vm in cluster.vms]
    gone = [vm for vm in moved if vm.id != V3]
    see(store, make_cluster(cluster.hosts, [*gone, make_vm("v9", "h2")]), 2, monkeypatch)
    second = known(store)
    assert [vm.id for vm in second.cluster.vms] == ["v1", "v2", "v4", "v9"]
    assert second.vms[V1] is first.vms[V1]
    assert second.vms[V2].host_id == "h3"
    assert second.vm_policies[V1] is first.vm_policies[V1]
    require_same_anew(store, monkeypatch)


def test_an_edit_that_is_undone_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was decoded within it is built upon by nobody."""

    def fail() -> None:
        with store.begin() as tx:
            prefer(tx, V4, 7)
            assert look_up(tx, CLUSTER).vms[V4].priority == 7
            raise RuntimeError("a failure after the change")

    known(store)
    with pytest.raises(RuntimeError):
        fail()
    with store.begin() as tx:
        prefer(tx, V1, 2)
    assert known(store).vms[V4].priority == 5
    require_same_anew(store, monkeypatch)


def test_what_was_seen_before_will_do_while_another_reads(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may lag is answered at once; all others wait, and nobody misses an edit."""
    before = known(store)
    reading, go_on = slowed(monkeypatch)
    later = replace(small_cluster(), observed_at=NOW + timedelta(minutes=1))
    with store.begin() as tx:
        keep_snapshot(tx, CLUSTER, later, now=NOW)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(known, store)
        assert reading.wait(PATIENCE_S)
        with store.begin(read_only=True) as tx:
            assert look_up(tx, CLUSTER, may_lag=True) is before
        second = pool.submit(known, store)
        assert not first.done()
        go_on.set()
        assert second.result(PATIENCE_S) is first.result(PATIENCE_S)
    assert first.result().cluster.observed_at == later.observed_at
    with store.begin() as tx:
        prefer(tx, V4, 2)
    with store.begin(read_only=True) as tx:
        assert look_up(tx, CLUSTER, may_lag=True).vms[V4].priority == 2


def test_an_edit_is_waited_for_by_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stood before an edit is answered to nobody, whoever reads the edit."""
    known(store)
    reading, go_on = slowed(monkeypatch)

    def lagging() -> Inventory:
        with store.begin(read_only=True) as tx:
            return look_up(tx, CLUSTER, may_lag=True)

    with store.begin() as tx:
        prefer(tx, V4, 2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(known, store)
        assert reading.wait(PATIENCE_S)
        second = pool.submit(lagging)
        go_on.set()
        assert second.result(PATIENCE_S).vms[V4].priority == 2
        assert first.result(PATIENCE_S).vms[V4].priority == 2


def test_more_edits_than_are_remembered(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has slept through them reads everything."""
    known(store)
    with another_process(monkeypatch):
        with store.begin() as tx:
            prefer(tx, V1, 9)
        for number in range(MAX_EDITS):
            with store.begin() as tx:
                prefer(tx, V4, 1 + number % 9)
    assert known(store).vms[V1].priority == 9
    require_same_anew(store, monkeypatch)


def test_a_cluster_that_was_removed_and_made_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is taken over from the policies of its namesake."""
    known(store)
    with store.begin() as tx:
        delete_cluster(tx, ADMIN, CLUSTER, expected_revision=None, now=NOW)
        put_cluster(tx, ADMIN, CLUSTER, ClusterSettings(name="Again"), expected_revision=0, now=NOW)
        keep_snapshot(tx, CLUSTER, small_cluster(), now=NOW)
    assert known(store).vm_policies == {}
    require_same_anew(store, monkeypatch)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_it_is_the_same_as_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Edits here and in another process, snapshots, and now and then a look."""
    rng = random.Random(seed)
    hosts = [make_host(f"h{i}") for i in range(3)]
    minute = iter(range(1, 1000))

    def snapshot() -> None:
        vms = [
            make_vm(f"v{i}", rng.choice(hosts).id, cores=rng.choice([2, 4]))
            for i in range(12)
            if rng.random() < 0.8
        ]
        see(store, make_cluster(hosts, vms or [make_vm("v1", "h1")]), next(minute), monkeypatch)

    def edit(act: Callable[[Transaction, list[VmId]], object]) -> Callable[[], None]:
        def run() -> None:
            with store.begin(read_only=True) as tx:
                there = [vm.id for vm in look_up(tx, CLUSTER).cluster.vms]
            with store.begin() as tx:
                act(tx, there)

        return run

    def many(tx: Transaction, there: list[VmId]) -> object:
        wanted = [Wanted(vm_id=vm_id, priority=rng.randint(1, 10)) for vm_id in there]
        return set_priorities(tx, ADMIN, CLUSTER, wanted, now=NOW)

    def policy(tx: Transaction, there: list[VmId]) -> object:
        wanted = VmPolicy(group=rng.choice(["a", "b", None]))
        vm_id = rng.choice(there)
        return set_policy(tx, ADMIN, CLUSTER, vm_id, wanted, expected_revision=None, now=NOW)

    def maintain(tx: Transaction, there: list[VmId]) -> object:
        wanted = rng.choice([Maintenance(), None])
        host_id = rng.choice(hosts).id
        return set_maintenance(tx, ADMIN, CLUSTER, host_id, wanted, expected_revision=None, now=NOW)

    def rule(tx: Transaction, there: list[VmId]) -> object:
        if len(there) < 2:
            return None
        wanted = Affinity(id=f"r{rng.randint(1, 3)}", vm_ids=tuple(rng.sample(there, 2)))
        return put_rule(tx, ADMIN, CLUSTER, wanted, proposal=None, expected_revision=None, now=NOW)

    def one(tx: Transaction, there: list[VmId]) -> object:
        prefer(tx, rng.choice(there), rng.choice([None, 1, 9]))
        return None

    snapshot()
    acts = [snapshot, *map(edit, (one, one, many, policy, maintain, rule))]
    for _ in range(40):
        if rng.random() < 0.5:
            with another_process(monkeypatch):
                rng.choice(acts)()
        else:
            rng.choice(acts)()
        if rng.random() < 0.4:
            require_same_anew(store, monkeypatch)
    require_same_anew(store, monkeypatch)
