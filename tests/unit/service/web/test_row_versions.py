"""Only what has changed is sent again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.inventory.clusters import put_cluster, put_snapshot
from service.inventory.policies import ClusterSettings, VmPolicy
from service.inventory.priorities import Wanted, set_priorities
from service.inventory.vm_policies import set_policy
from service.security.principal import Principal, Role
from service.store.base import Store
from service.store.sql import open_store
from service.web.row_versions import MAX_VERSIONS, Versions, packed_for
from service.web.rows import first_rows, vm_rows
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm

ADMIN = Principal(name="ada", role=Role.ADMIN)
OWNER = Principal(name="olga", role=Role.OWNER, owner="team")
START = make_cluster(
    [make_host("h1"), make_host("h2")], [make_vm(f"v{i}", "h1", priority=5) for i in range(4)]
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with four VMs, the first of them the owner's."""
    opened: Any = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    with opened.begin() as tx:
        settings = ClusterSettings(name="one")
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=0, now=NOW)
        put_snapshot(tx, ADMIN, "c1", START, now=NOW)
        give(tx, "v0", "team")
    yield opened
    opened.close()


def give(tx: Any, vm_id: str, owner: str) -> None:
    """Let a VM be somebody's."""
    policy = VmPolicy(owner=owner)
    set_policy(tx, ADMIN, "c1", VmId(vm_id), policy, expected_revision=None, now=NOW)


def set_priority(store: Store, vm_id: str, priority: int) -> None:
    """Give a VM another priority."""
    with store.begin() as tx:
        wanted = [Wanted(vm_id=VmId(vm_id), priority=priority)]
        set_priorities(tx, ADMIN, "c1", wanted, now=NOW)


def asked(
    store: Store, versions: Versions, since: str = "", principal: Principal = ADMIN
) -> dict[str, Any]:
    """Return what somebody is sent who has a version."""
    with store.begin(read_only=True) as tx:
        now = versions.now(tx, "c1")
    told: dict[str, Any] = json.loads(
        gzip.decompress(packed_for(principal, versions, "c1", since, now))
    )
    return told


def names(rows: list[dict[str, Any]]) -> list[str]:
    """Return the VMs of rows."""
    return [row["id"] for row in rows]


def test_all_rows_at_first_then_one_priority_alone(store: Store) -> None:
    """Ten thousand rows do not travel because of one; nothing travels when nothing changed."""
    versions = Versions()
    first = asked(store, versions)
    assert (first["num"], names(first["rows"])) == (4, ["v0", "v1", "v2", "v3"])
    set_priority(store, "v2", 9)
    then = asked(store, versions, first["version"])
    assert "rows" not in then
    assert [(row["id"], row["priority"]) for row in then["update"]] == [("v2", 9)]
    assert (then["add"], then["remove"]) == ([], [])
    again = asked(store, versions, then["version"])
    assert (again["version"], again["update"]) == (then["version"], [])


def test_vms_that_came_went_and_moved(store: Store) -> None:
    """A new snapshot in which nothing but these changed sends these."""
    versions = Versions()
    first = asked(store, versions)
    kept = [vm for vm in START.vms if vm.id != "v3"]
    kept[1] = replace(kept[1], host_id=HostId("h2"))
    with store.begin() as tx:
        changed = replace(START, vms=(*kept, make_vm("v9", "h1")))
        put_snapshot(tx, ADMIN, "c1", changed, now=NOW)
    then = asked(store, versions, first["version"])
    assert (names(then["add"]), names(then["update"])) == (["v9"], ["v1"])
    assert (then["remove"], then["num"]) == ([{"id": "v3"}], 4)


def test_an_owner_is_sent_their_own_alone(store: Store) -> None:
    """A VM given to them is added, one taken away removed, others' changes are not told."""
    versions = Versions()
    first = asked(store, versions, principal=OWNER)
    assert names(first["rows"]) == ["v0"]
    with store.begin() as tx:
        give(tx, "v1", "team")
        give(tx, "v0", "others")
    set_priority(store, "v3", 1)
    then = asked(store, versions, first["version"], OWNER)
    assert (names(then["add"]), then["update"], then["remove"]) == (["v1"], [], [{"id": "v0"}])
    assert then["num"] == 1


def test_nobody_goes_on_from_what_another_sees(store: Store) -> None:
    """The version of somebody who sees all is none for an owner, nor one owner's for another."""
    versions = Versions()
    of_all = asked(store, versions)["version"]
    assert names(asked(store, versions, of_all, OWNER)["rows"]) == ["v0"]
    of_owner = asked(store, versions, principal=OWNER)["version"]
    assert asked(store, versions, of_owner, replace(OWNER, owner="others"))["rows"] == []
    assert len(asked(store, versions, of_owner)["rows"]) == 4


def test_what_is_too_old_is_sent_anew(store: Store) -> None:
    """Versions are few; whoever was away for longer gets everything, as from another replica."""
    versions = Versions()
    first = asked(store, versions)["version"]
    for i in range(MAX_VERSIONS):
        set_priority(store, "v1", 1 + i)
        asked(store, versions)
    assert len(asked(store, versions, first)["rows"]) == 4
    assert len(asked(store, Versions(), first)["rows"]) == 4


def test_what_did_not_change_is_held_once(store: Store) -> None:
    """Rows of the next version are those of the one before, not copies."""
    versions = Versions()
    with store.begin(read_only=True) as tx:
        before = versions.now(tx, "c1")
    set_priority(store, "v2", 9)
    with store.begin(read_only=True) as tx:
        after = versions.now(tx, "c1")
    assert after.rows["v1"] is before.rows["v1"]
    assert after.rows["v2"] is not before.rows["v2"]


def test_the_first_rows_are_those_that_all_begin_with(store: Store) -> None:
    """A page is filled by them at once, for an owner by their own."""
    with store.begin(read_only=True) as tx:
        assert first_rows(tx, ADMIN, "c1", 2) == vm_rows(tx, ADMIN, "c1")[:2]
        assert names(first_rows(tx, OWNER, "c1", 2)) == ["v0"]
