"""Changes of the inventory: who may, what is refused, and what the audit log then says."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta

import pytest

from service.errors import (
    ForbiddenError,
    InvalidRequestError,
    UnavailableError,
    WrongStateError,
)
from service.inventory.clusters import (
    delete_cluster,
    get_cluster,
    page_of_clusters,
    put_cluster,
    put_snapshot,
)
from service.inventory.effective import effective, look_up
from service.inventory.groups import Group, groups_of
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import (
    ClusterSettings,
    DriverSettings,
    Maintenance,
    VmPolicy,
)
from service.inventory.priorities import Wanted, set_priorities, set_priority
from service.inventory.rules import contradiction, propose, put_rule, require_sound
from service.inventory.vm_policies import set_policy
from service.security.principal import Principal
from service.store.base import AuditEntry, Item, KeptPlan, Kind, PlanStage, Store
from service.store.errors import ConflictError, NotFoundError
from solver.domain.errors import InvalidInputError
from solver.domain.rules import Affinity, AntiAffinity, Pin, PlacementRule, Spread
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.inventories import ADMIN, CLUSTER, OPERATOR, OWNER, everything, small_cluster

H1, H2, H3 = (HostId(f"h{i}") for i in (1, 2, 3))
V1, V2, V3, V4, V9 = (VmId(f"v{i}") for i in (1, 2, 3, 4, 9))


def prefer(
    store: Store,
    vm_id: VmId,
    priority: int | None,
    *,
    asker: Principal = OPERATOR,
    revision: int | None = None,
) -> Item:
    """Set a priority."""
    with store.begin() as tx:
        wanted = Wanted(vm_id=vm_id, priority=priority)
        return set_priority(tx, asker, CLUSTER, wanted, expected_revision=revision, now=NOW)


def prefer_many(store: Store, *wanted: tuple[VmId, int], asker: Principal = OPERATOR) -> int:
    """Set priorities at once."""
    with store.begin() as tx:
        each = [Wanted(vm_id=vm_id, priority=priority) for vm_id, priority in wanted]
        return set_priorities(tx, asker, CLUSTER, each, now=NOW)


def newest(store: Store, limit: int = 1) -> list[AuditEntry]:
    """Return the newest entries of the audit log."""
    with store.begin(read_only=True) as tx:
        return tx.audit.page(limit=limit)


# Priorities


def test_a_priority_is_audited_with_what_stood_before(store: Store) -> None:
    """Who, what, before and after; asking for what stands is no change."""
    prefer(store, V1, 4)
    prefer(store, V1, 5, asker=ADMIN)
    (entry,) = newest(store)
    assert (entry.actor, entry.action, entry.subject) == ("ada", "priorities.set", "vms/v1")
    assert (entry.before, entry.after) == ({"priority": 4}, {"priority": 5})
    assert (entry.cluster_id, entry.origin, entry.at) == (CLUSTER, "10.0.0.1", NOW)
    prefer(store, V1, 5)
    assert newest(store) == [entry]


def test_a_priority_keeps_the_rest_of_the_policy(store: Store) -> None:
    """Owner and bounds stay."""
    kept = prefer(store, V1, 9)
    expected = {"priority": 9, "owner": "tenant-1", "priority_min": 3, "priority_max": 6}
    assert dict(kept.document) == expected
    assert kept.revision == 2


def test_a_stale_revision_changes_nothing(store: Store) -> None:
    """Somebody else was faster."""
    prefer(store, V1, 4, revision=1)
    before = everything(store)
    with pytest.raises(ConflictError) as caught:
        prefer(store, V1, 5, revision=1)
    assert caught.value.revision == 2
    assert everything(store) == before


@pytest.mark.parametrize("priority", [3, 6])
def test_an_owner_chooses_within_the_bounds(store: Store, priority: int) -> None:
    """Both bounds may be chosen."""
    assert prefer(store, V1, priority, asker=OWNER).document["priority"] == priority


@pytest.mark.parametrize("priority", [2, 7])
def test_an_owner_is_refused_beyond_the_bounds(store: Store, priority: int) -> None:
    """The bounds are named, and nothing changes."""
    before = everything(store)
    with pytest.raises(InvalidInputError, match=r"within its bounds 3..6, got") as caught:
        prefer(store, V1, priority, asker=OWNER)
    assert caught.value.path == "priority"
    assert everything(store) == before


def test_bounds_bind_owners_alone(store: Store) -> None:
    """An operator may go beyond, in an emergency."""
    assert prefer(store, V1, 10).document["priority"] == 10


@pytest.mark.parametrize("vm_id", [V2, V4, V9])
def test_an_owner_does_not_reach_what_is_not_theirs(store: Store, vm_id: VmId) -> None:
    """Whether it is somebody else's, nobody's, or not there, the answer is the same."""
    before = everything(store)
    with pytest.raises(ForbiddenError, match="none of owner 'tenant-1'"):
        prefer(store, vm_id, 5, asker=OWNER)
    assert everything(store) == before


def test_a_vm_that_nobody_knows_is_not_found(store: Store) -> None:
    """There is nothing to lay a priority over."""
    with pytest.raises(NotFoundError, match="no VM 'v9'"):
        prefer(store, V9, 5)


def test_many_priorities_are_set_together(store: Store) -> None:
    """Only what was another one before counts, and has an entry."""
    prefer(store, V4, 2)
    before = len(newest(store, 100))
    assert prefer_many(store, (V1, 4), (V3, 6), (V4, 2)) == 2
    entries = newest(store, 100)
    assert len(entries) == before + 2
    assert {entry.subject for entry in entries[:2]} == {"vms/v1", "vms/v3"}
    with store.begin(read_only=True) as tx:
        assert [vm.priority for vm in effective(tx, CLUSTER).vms] == [4, 5, 6, 2]


def test_of_many_priorities_all_or_none_are_set(store: Store) -> None:
    """Every wrong one is named by its place."""
    before = everything(store)
    with pytest.raises(InvalidRequestError) as caught:
        prefer_many(store, (V3, 5), (V1, 9), (V2, 5), (V3, 6), asker=OWNER)
    assert caught.value.errors == (
        (
            "priorities[1].priority",
            "VM 'v1': expected a priority within its bounds 3..6, got 9",
        ),
        ("priorities[2].vm_id", "VM 'v2' is none of owner 'tenant-1'"),
        ("priorities[3].vm_id", "expected each VM once, got 'v3' again"),
    )
    assert everything(store) == before


def test_ten_thousand_priorities_take_seconds(store: Store) -> None:
    """One transaction, an audit entry each; the bound is far above what it takes."""
    vms = [make_vm(f"v{i}", "h1", cores=0.001, memory_gib=0) for i in range(10_000)]
    cluster = make_cluster([make_host("h1")], vms)
    with store.begin() as tx:
        put_snapshot(tx, ADMIN, CLUSTER, cluster, now=NOW)
    began_s = time.monotonic()
    assert prefer_many(store, *((vm.id, 7) for vm in vms)) == 10_000
    assert time.monotonic() - began_s < 30
    with store.begin(read_only=True) as tx:
        assert {vm.priority for vm in effective(tx, CLUSTER).vms} == {7}


# Policies, maintenance, groups


def test_a_policy_keeps_the_priority(store: Store) -> None:
    """It may then lie outside the new bounds; they bind the next choice of the owner."""
    prefer(store, V1, 9)
    with store.begin() as tx:
        policy = VmPolicy(owner="tenant-2", priority_max=5)
        kept = set_policy(tx, ADMIN, CLUSTER, V1, policy, expected_revision=2, now=NOW)
    assert dict(kept.document) == {"owner": "tenant-2", "priority": 9, "priority_max": 5}
    (entry,) = newest(store)
    assert entry.action == "policies.set"
    assert entry.before is not None
    assert entry.before["owner"] == "tenant-1"
    assert entry.after == kept.document


def test_maintenance_is_audited_and_undone(store: Store) -> None:
    """Into it with a reason, and out of it."""
    with store.begin() as tx:
        wanted = Maintenance(reason="disks")
        set_maintenance(tx, OPERATOR, CLUSTER, H1, wanted, expected_revision=0, now=NOW)
    with store.begin() as tx:
        set_maintenance(tx, OPERATOR, CLUSTER, H1, None, expected_revision=1, now=NOW)
    out, into = newest(store, 2)
    assert (into.before, into.after) == (None, {"maintenance": True, "reason": "disks"})
    assert (out.before, out.after) == (into.after, {"maintenance": False})


def test_a_host_that_nobody_knows_is_not_found(store: Store) -> None:
    """Nothing is kept of it."""
    with store.begin() as tx, pytest.raises(NotFoundError, match="no host 'h9'"):
        set_maintenance(
            tx, OPERATOR, CLUSTER, HostId("h9"), Maintenance(), expected_revision=0, now=NOW
        )


def test_groups_are_those_of_the_vms(store: Store) -> None:
    """A policy moves a VM into another group; VMs of no group are in none."""
    with store.begin() as tx:
        policy = VmPolicy(group="shop")
        set_policy(tx, ADMIN, CLUSTER, V3, policy, expected_revision=1, now=NOW)
        groups = groups_of(effective(tx, CLUSTER).vms)
    assert groups == (
        Group(
            name="shop",
            num_vms=3,
            num_hosts=2,
            cpu_millicores=8000,
            memory_mib=3 * 4096,
            lowest_priority=5,
            highest_priority=8,
        ),
    )


# Clusters


def test_clusters_are_made_and_changed(store: Store) -> None:
    """Each time at the revision that was read, and audited."""
    with store.begin() as tx:
        settings = ClusterSettings(name="Renamed")
        item = put_cluster(tx, ADMIN, CLUSTER, settings, expected_revision=1, now=NOW)
        assert item.revision == 2
        with pytest.raises(ConflictError):
            put_cluster(tx, ADMIN, CLUSTER, settings, expected_revision=1, now=NOW)
    (entry,) = newest(store)
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["name"], entry.after["name"]) == ("Main", "Renamed")


def test_a_token_of_one_cluster_lists_that_one(store: Store) -> None:
    """The others are not even named."""
    with store.begin() as tx:
        put_cluster(tx, ADMIN, "c2", ClusterSettings(name="B"), expected_revision=0, now=NOW)
        all_of_them = page_of_clusters(tx, ADMIN, after="", limit=10)
        bound = page_of_clusters(tx, replace(ADMIN, cluster_id="c2"), after="", limit=10)
    assert [item.id for item in all_of_them] == ["c1", "c2"]
    assert [item.id for item in bound] == ["c2"]


def test_a_cluster_goes_with_all_that_is_its_own(store: Store) -> None:
    """Made anew, it begins empty."""
    with store.begin() as tx:
        tx.blobs.put(CLUSTER, "model", NOW, b"trees")
        tx.blobs.put("c2", "model", NOW, b"others")
        delete_cluster(tx, ADMIN, CLUSTER, expected_revision=1, now=NOW)
        with pytest.raises(NotFoundError):
            get_cluster(tx, CLUSTER)
        put_cluster(tx, ADMIN, CLUSTER, ClusterSettings(name="A"), expected_revision=0, now=NOW)
        assert tx.snapshots.get(CLUSTER) is None
        assert tx.blobs.get(CLUSTER, "model") is None
        assert tx.blobs.get("c2", "model") is not None
        assert tx.items.page(Kind.VM_POLICY, CLUSTER, limit=10) == []


def test_a_cluster_whose_plan_runs_stays(store: Store) -> None:
    """Moves under way would have nobody left to look after them."""
    plan = KeptPlan(
        id="p1",
        cluster_id=CLUSTER,
        made_at=NOW,
        stage=PlanStage.RUNNING,
        trigger="manual",
        document={},
    )
    with store.begin() as tx:
        tx.plans.put(plan, expected_revision=0)
    before = everything(store)
    with pytest.raises(WrongStateError, match="plan 'p1' is running"), store.begin() as tx:
        delete_cluster(tx, ADMIN, CLUSTER, expected_revision=1, now=NOW)
    assert everything(store) == before


def test_an_older_snapshot_is_refused(store: Store) -> None:
    """The world does not go back; the same instant may be told anew."""
    older = replace(small_cluster(), observed_at=NOW - timedelta(seconds=1))
    with store.begin() as tx, pytest.raises(WrongStateError, match="no older than"):
        put_snapshot(tx, ADMIN, CLUSTER, older, now=NOW)
    same = make_cluster([make_host("h7")], [])
    with store.begin() as tx:
        put_snapshot(tx, ADMIN, CLUSTER, same, now=NOW)
        assert [host.id for host in effective(tx, CLUSTER).hosts] == ["h7"]
    (entry,) = newest(store)
    assert entry.after == {
        "observed_at": NOW.isoformat(),
        "num_hosts": 1,
        "num_vms": 0,
        "num_rules": 0,
    }


def test_real_hosts_are_looked_at_by_their_driver_alone(store: Store) -> None:
    """A snapshot from elsewhere would be believed until the next look."""
    driver = DriverSettings(kind="libvirt", hosts_file="hosts.toml")
    settings = ClusterSettings(name="Main", driver=driver)
    with store.begin() as tx:
        put_cluster(tx, ADMIN, CLUSTER, settings, expected_revision=1, now=NOW)
        with pytest.raises(WrongStateError, match="looks at the hosts by itself"):
            put_snapshot(tx, ADMIN, CLUSTER, small_cluster(), now=NOW)


# Rules


def put(store: Store, rule: PlacementRule, *, revision: int | None = 0) -> Item:
    """Put a rule as a request does."""
    with store.begin(read_only=True) as tx:
        proposal = propose(tx, CLUSTER, rule)
    require_sound(proposal)
    with store.begin() as tx:
        return put_rule(
            tx, OPERATOR, CLUSTER, rule, proposal=proposal, expected_revision=revision, now=NOW
        )


def test_a_rule_is_put_and_audited(store: Store) -> None:
    """The audit log holds the whole rule."""
    item = put(store, Affinity(id="together", vm_ids=(V1, V2)))
    (entry,) = newest(store)
    assert (entry.action, entry.subject, entry.before) == ("rules.put", "rules/together", None)
    assert entry.after == item.document
    assert item.document["vm_ids"] == ["v1", "v2"]


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (Affinity(id="r", vm_ids=(V1, V9)), "vm_ids[1]"),
        (Pin(id="r", vm_ids=(V1,), host_ids=(H1, HostId("h9"))), "host_ids[1]"),
    ],
)
def test_a_rule_about_what_nobody_knows_is_refused(
    store: Store, rule: PlacementRule, path: str
) -> None:
    """Most of the time it is a wrong name; whoever means it says so."""
    with pytest.raises(InvalidInputError) as caught:
        put(store, rule)
    assert caught.value.path == path


def test_a_rule_may_keep_naming_what_left(store: Store) -> None:
    """To change its penalty, one need not take out the VM that is down today."""
    put(store, AntiAffinity(id="r", vm_ids=(V1, V2, V4)))
    smaller = replace(
        small_cluster(),
        vms=small_cluster().vms[:2],
        observed_at=NOW + timedelta(minutes=1),
    )
    with store.begin() as tx:
        put_snapshot(tx, ADMIN, CLUSTER, smaller, now=NOW)
    soft = AntiAffinity(id="r", vm_ids=(V1, V2, V4), penalty_host_s=5.0)
    assert put(store, soft, revision=1).revision == 2


def test_pins_that_leave_no_host_are_refused(store: Store) -> None:
    """The smallest set is named, which other rules are not part of."""
    put(store, Pin(id="a", vm_ids=(V1,), host_ids=(H1, H2)))
    put(store, Pin(id="b", vm_ids=(V1,), host_ids=(H1,)))
    with pytest.raises(InvalidInputError, match="hard rules 'b', 'c' leave no host for VM 'v1'"):
        put(store, Pin(id="c", vm_ids=(V1,), host_ids=(H2,)))


def test_rules_that_only_a_search_finds_contradictory_are_refused(store: Store) -> None:
    """Three VMs apart from each other do not fit on the two hosts they are pinned to."""
    put(store, AntiAffinity(id="apart", vm_ids=(V1, V3, V4)))
    put(store, Spread(id="other", vm_ids=(V2, V4), min_domains=2))
    before = everything(store)
    with pytest.raises(InvalidInputError, match="no placement keeps hard rules") as caught:
        put(store, Pin(id="pinned", vm_ids=(V1, V3, V4), host_ids=(H1, H2)))
    assert "'apart'" in str(caught.value)
    assert "'other'" not in str(caught.value)
    assert everything(store) == before


def test_contradictions_of_other_rules_are_not_this_rules_fault(store: Store) -> None:
    """What stood before in any case does not keep anyone from adding a rule."""
    for rule in (
        AntiAffinity(id="apart", vm_ids=(V1, V2)),
        Affinity(id="together", vm_ids=(V1, V2)),
    ):
        with store.begin() as tx:
            put_rule(tx, ADMIN, CLUSTER, rule, proposal=None, expected_revision=0, now=NOW)
    assert put(store, Pin(id="fine", vm_ids=(V1,), host_ids=(H1,))).revision == 1


def test_a_soft_rule_contradicts_nothing(store: Store) -> None:
    """Its penalty can be paid."""
    put(store, Affinity(id="together", vm_ids=(V1, V2)))
    rule = AntiAffinity(id="apart", vm_ids=(V1, V2), penalty_host_s=1.0)
    with store.begin(read_only=True) as tx:
        assert contradiction(propose(tx, CLUSTER, rule)) == ""


def test_a_forced_rule_of_a_removed_cluster_is_not_written(store: Store) -> None:
    """Written all the same, it would wait for the next cluster of that id."""
    with store.begin() as tx:
        delete_cluster(tx, ADMIN, CLUSTER, expected_revision=None, now=NOW)
    rule = Affinity(id="together", vm_ids=(V1, V2))
    with pytest.raises(NotFoundError), store.begin() as tx:
        put_rule(tx, OPERATOR, CLUSTER, rule, proposal=None, expected_revision=0, now=NOW)


def test_a_rule_is_not_written_on_what_it_was_not_judged_by(store: Store) -> None:
    """Somebody put another rule while this one was being judged."""
    rule = Affinity(id="together", vm_ids=(V1, V2))
    with store.begin(read_only=True) as tx:
        proposal = propose(tx, CLUSTER, rule)
    put(store, AntiAffinity(id="apart", vm_ids=(V1, V2)))
    with pytest.raises(UnavailableError), store.begin() as tx:
        put_rule(tx, OPERATOR, CLUSTER, rule, proposal=proposal, expected_revision=0, now=NOW)
    with store.begin(read_only=True) as tx:
        assert [each.rule.id for each in look_up(tx, CLUSTER).rules] == ["apart"]
