"""The cluster that is solved: policies laid over the latest snapshot."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.effective import effective, look_up
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import ClusterSettings, Maintenance, VmPolicy
from service.inventory.priorities import Wanted, set_priority
from service.inventory.rules import delete_rule, put_rule
from service.inventory.vm_policies import set_policy
from service.store.base import Snapshot, Store
from service.store.errors import NotFoundError
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import AntiAffinity, Pin, PlacementRule
from solver.domain.units import HostId, VmId
from solver.instances import cluster_to_document
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.inventories import ADMIN, CLUSTER, small_cluster

H1, H2 = HostId("h1"), HostId("h2")
V1, V2, V3, V4 = (VmId(f"v{i}") for i in (1, 2, 3, 4))


def see(store: Store, cluster: Cluster, *, minutes: int = 1) -> None:
    """Let a driver see the cluster some minutes later."""
    with store.begin() as tx:
        seen = replace(cluster, observed_at=NOW + timedelta(minutes=minutes))
        assert keep_snapshot(tx, CLUSTER, seen, now=NOW)


def cluster_of(store: Store) -> Cluster:
    """Return the cluster as it is solved."""
    with store.begin(read_only=True) as tx:
        return effective(tx, CLUSTER)


def put(store: Store, rule: PlacementRule) -> None:
    """Write a rule, whatever it contradicts."""
    with store.begin() as tx:
        put_rule(tx, ADMIN, CLUSTER, rule, proposal=None, expected_revision=None, now=NOW)


def prefer(store: Store, vm_id: VmId, priority: int | None) -> None:
    """Set a priority."""
    with store.begin() as tx:
        wanted = Wanted(vm_id=vm_id, priority=priority)
        set_priority(tx, ADMIN, CLUSTER, wanted, expected_revision=None, now=NOW)


def test_what_no_policy_says_is_the_snapshots(store: Store) -> None:
    """Without a priority, group or rule of its own the cluster is what was seen."""
    assert cluster_of(store) == small_cluster()


def test_policies_come_before_the_snapshot(store: Store) -> None:
    """Priority, group and application type are replaced, an empty group included."""
    prefer(store, V3, 2)
    with store.begin() as tx:
        policy = VmPolicy(group="", app_type="cache")
        set_policy(tx, ADMIN, CLUSTER, V1, policy, expected_revision=None, now=NOW)
    vms = {vm.id: vm for vm in cluster_of(store).vms}
    assert (vms[V3].priority, vms[V4].priority) == (2, 5)
    assert (vms[V1].group, vms[V1].app_type, vms[V2].group) == ("", "cache", "shop")


def test_a_priority_given_back_is_the_snapshots_again(store: Store) -> None:
    """The snapshot said 8."""
    prefer(store, V3, 2)
    prefer(store, V3, None)
    assert cluster_of(store) == small_cluster()


def test_maintenance_is_laid_over_the_state(store: Store) -> None:
    """A host out of reach stays that; taken out, a host is up again."""
    hosts = [make_host("h1"), make_host("h2", state=HostState.UNREACHABLE), make_host("h3")]
    see(store, make_cluster(hosts, [make_vm("v1", "h1")]))
    for host_id in (H1, H2):
        with store.begin() as tx:
            wanted = Maintenance(reason="disks")
            set_maintenance(tx, ADMIN, CLUSTER, host_id, wanted, expected_revision=None, now=NOW)
    states = [host.state for host in cluster_of(store).hosts]
    assert states == [HostState.MAINTENANCE, HostState.UNREACHABLE, HostState.UP]
    with store.begin() as tx:
        set_maintenance(tx, ADMIN, CLUSTER, H1, None, expected_revision=None, now=NOW)
    assert cluster_of(store).hosts[0].state is HostState.UP


def test_what_is_gone_waits_for_its_return(store: Store) -> None:
    """Policies and rules of VMs and hosts that left are reported, and bind again afterwards."""
    prefer(store, V1, 9)
    put(store, AntiAffinity(id="apart", vm_ids=(V1, V2)))
    with store.begin() as tx:
        set_maintenance(tx, ADMIN, CLUSTER, H2, Maintenance(), expected_revision=0, now=NOW)
    see(store, make_cluster([make_host("h1")], [make_vm("v2", "h1")]))
    with store.begin(read_only=True) as tx:
        inventory = look_up(tx, CLUSTER)
    assert inventory.waiting_vm_ids == (V1, V3)
    assert inventory.waiting_host_ids == (H2,)
    assert [rule.in_force for rule in inventory.rules] == [None]
    see(store, small_cluster(), minutes=2)
    back = cluster_of(store)
    assert back.vms[0].priority == 9
    assert [rule.id for rule in back.rules] == ["apart"]
    assert back.hosts[1].state is HostState.MAINTENANCE


def test_a_rule_put_by_itself_stands_instead_of_the_snapshots(store: Store) -> None:
    """Of the same id; removed, the snapshot's is in force again."""
    written = Pin(id="r", vm_ids=(V1,), host_ids=(H1,))
    own = Pin(id="r", vm_ids=(V1,), host_ids=(H2,))
    see(store, small_cluster(rules=(written,)))
    assert cluster_of(store).rules == (written,)
    put(store, own)
    assert cluster_of(store).rules == (own,)
    with store.begin() as tx:
        delete_rule(tx, ADMIN, CLUSTER, "r", expected_revision=1, now=NOW)
    assert cluster_of(store).rules == (written,)


def test_of_rules_that_leave_no_host_the_younger_waits(store: Store) -> None:
    """Whatever their names: a cluster can be solved whatever was forced upon it."""
    put(store, Pin(id="z", vm_ids=(V1,), host_ids=(H1,)))
    with store.begin() as tx:
        rule = Pin(id="a", vm_ids=(V1,), host_ids=(H2,))
        later = NOW + timedelta(seconds=1)
        put_rule(tx, ADMIN, CLUSTER, rule, proposal=None, expected_revision=0, now=later)
    assert [rule.id for rule in cluster_of(store).rules] == ["z"]


def test_an_unchanged_cluster_is_decoded_once(store: Store) -> None:
    """The very same object is answered until something changes."""
    first = cluster_of(store)
    assert cluster_of(store) is first
    prefer(store, V4, 7)
    second = cluster_of(store)
    assert second is not first
    assert second.vms[3].priority == 7


def test_what_many_ask_for_at_once_is_decoded_once(store: Store) -> None:
    """Everybody gets the same object, and nobody waits for more than one decoding."""
    prefer(store, V4, 7)
    start = threading.Barrier(8)

    def ask(_: int) -> Cluster:
        start.wait(30)
        return cluster_of(store)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert all(cluster is found[0] for cluster in found)


def test_of_a_cluster_that_changes_the_newest_alone_is_kept(store: Store) -> None:
    """Memory does not grow with the number of changes."""
    made = []
    for minutes in range(1, 4):
        see(store, small_cluster(), minutes=minutes)
        with store.begin(read_only=True) as tx:
            made.append(weakref.ref(look_up(tx, CLUSTER)))
    gc.collect()
    assert [each() is None for each in made] == [True, True, False]


def test_a_change_is_seen_within_its_own_transaction_and_nowhere_if_it_fails(store: Store) -> None:
    """What was decoded for a transaction that is undone is never answered to anyone else."""
    wanted = Wanted(vm_id=V4, priority=7)

    def fail() -> None:
        with store.begin() as tx:
            set_priority(tx, ADMIN, CLUSTER, wanted, expected_revision=0, now=NOW)
            assert effective(tx, CLUSTER).vms[3].priority == 7
            raise RuntimeError("a failure after the change")

    with pytest.raises(RuntimeError):
        fail()
    assert cluster_of(store).vms[3].priority == 5


def test_a_snapshot_without_a_mark_is_seen(store: Store) -> None:
    """As of a store that was filled before there were marks: its instant tells it from others."""
    with store.begin() as tx:
        put_cluster(tx, ADMIN, "old", ClusterSettings(name="Old"), expected_revision=0, now=NOW)
        for minutes, host_id in enumerate(("h1", "h2")):
            at = NOW + timedelta(minutes=minutes)
            document = cluster_to_document(make_cluster([make_host(host_id)], []))
            tx.snapshots.put(Snapshot(cluster_id="old", observed_at=at, document=document))
            assert [host.id for host in effective(tx, "old").hosts] == [host_id]
        wanted = Maintenance(reason="firmware")
        set_maintenance(tx, ADMIN, "old", HostId("h2"), wanted, expected_revision=None, now=NOW)
        assert effective(tx, "old").hosts[0].state is HostState.MAINTENANCE


def test_a_cluster_that_was_never_seen_is_told(store: Store) -> None:
    """No such cluster and no snapshot yet are two different sentences."""
    with store.begin() as tx:
        settings = ClusterSettings(name="New")
        put_cluster(tx, ADMIN, "c2", settings, expected_revision=0, now=NOW)
        with pytest.raises(NotFoundError, match="nothing was seen of it yet"):
            effective(tx, "c2")
        with pytest.raises(NotFoundError, match="c3"):
            effective(tx, "c3")
