"""Clusters, hosts, VMs, priorities, groups and rules over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.security.principal import Role
from service.store.base import Store
from service.store.sql import open_store
from solver.instances import cluster_to_document
from tests.answers import document, problem
from tests.builders import make_cluster, make_host, make_vm
from tests.inventories import everything, fill, small_cluster
from tests.unit.service.api.conftest import Ask

CLUSTERS = "/api/v1/clusters"
C1 = f"{CLUSTERS}/c1"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the small cluster in it, to be copied."""
    path = tmp_path_factory.mktemp("filled") / "store.db"
    opened: Any = open_store(f"sqlite:///{path}")
    fill(opened)
    opened.close()
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Iterator[Store]:
    """A store with the small cluster in it."""
    opened: Any = open_store(f"sqlite:///{shutil.copy(filled, tmp_path / 'inventory.db')}")
    yield opened
    opened.close()


@pytest.fixture
def owner(client_of: Ask) -> FlaskClient:
    """A client of ``tenant-1``, who owns ``v1`` and ``v3``."""
    return client_of(Role.OWNER)


@pytest.fixture
def operator(client_of: Ask) -> FlaskClient:
    """A client that runs clusters."""
    return client_of(Role.OPERATOR)


def ids(answered: dict[str, Any]) -> list[str]:
    """Return the ids on a page."""
    return [item["id"] for item in answered["items"]]


def every_page(client: FlaskClient, path: str, query: dict[str, Any]) -> list[str]:
    """Return the ids of all pages."""
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = document(client.get(path, query_string={**query, **after}))
        found += ids(page)
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


# Clusters


def test_no_cluster_is_called_as_a_page(admin: FlaskClient) -> None:
    """Its own page could not be reached."""
    refused = admin.put(f"{CLUSTERS}/new", json={"name": "New"})
    assert refused.status_code == 422
    assert "expected another id" in problem(refused)["detail"]


def test_a_cluster_is_made_seen_changed_and_removed(admin: FlaskClient) -> None:
    """Its ETag goes from one change to the next."""
    body = {"name": "Second", "time_zone": "Europe/Rome", "driver": {"kind": "none"}}
    made = admin.put(f"{CLUSTERS}/c2", json=body)
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert document(made)["observed_at"] is None
    seen = cluster_to_document(small_cluster())
    told = admin.put(f"{CLUSTERS}/c2/snapshot", json=seen)
    assert (told.status_code, document(told)["num_hosts"], document(told)["num_vms"]) == (200, 3, 4)
    changed = admin.put(f"{CLUSTERS}/c2", json={"name": "B"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, document(changed)["name"]) == (200, "B")
    assert ids(document(admin.get(CLUSTERS))) == ["c1", "c2"]
    assert admin.delete(f"{CLUSTERS}/c2").status_code == 428
    assert admin.delete(f"{CLUSTERS}/c2", headers={"If-Match": '"2"'}).status_code == 204
    assert admin.get(f"{CLUSTERS}/c2").status_code == 404


def test_clusters_come_in_pages(admin: FlaskClient) -> None:
    """Each once, in the order of their ids."""
    for name in ("a", "b", "d"):
        admin.put(f"{CLUSTERS}/{name}", json={"name": name})
    assert every_page(admin, CLUSTERS, {"limit": 1}) == ["a", "b", "c1", "d"]


def test_a_token_of_one_cluster_sees_no_other(admin: FlaskClient, client_of: Ask) -> None:
    """Neither in the list nor by its name."""
    admin.put(f"{CLUSTERS}/c2", json={"name": "B"})
    bound = client_of(Role.VIEWER, cluster_id="c2")
    assert ids(document(bound.get(CLUSTERS))) == ["c2"]
    assert bound.get(C1).status_code == 403


def test_names_with_slashes_are_reached(admin: FlaskClient, client_of: Ask) -> None:
    """Written ``%2F`` a slash is part of a name; monitors and snapshots take such names."""
    path = f"{CLUSTERS}/lab%2Fa"
    assert admin.put(path, json={"name": "Lab A"}).status_code == 201
    cluster = make_cluster([make_host("rack 1/h")], [make_vm("ü/v%2F", "rack 1/h")])
    assert admin.put(f"{path}/snapshot", json=cluster_to_document(cluster)).status_code == 200
    assert document(admin.get(path))["id"] == "lab/a"
    assert ids(document(admin.get(f"{path}/vms"))) == ["ü/v%2F"]
    assert document(admin.get(f"{path}/hosts/rack%201%2fh"))["num_vms"] == 1
    vm = f"{path}/vms/%C3%BC%2Fv%252F"
    assert document(admin.get(vm))["host_id"] == "rack 1/h"
    assert admin.put(f"{vm}/priority", json={"priority": 8}).status_code == 200
    assert document(admin.get(vm))["priority"] == 8
    made = admin.post(f"{path}/plans", json={})
    assert made.headers["Location"].startswith(f"{path}/plans/")
    bound = client_of(Role.VIEWER, cluster_id="lab")
    assert bound.get(path).status_code == 403
    assert admin.get(f"{CLUSTERS}/lab/a").status_code == 404
    assert admin.get(f"{CLUSTERS}/lab%1Fa").status_code == 404
    assert admin.get("/api%2Fv1/clusters").status_code == 404


def test_what_waits_is_shown(operator: FlaskClient, owner: FlaskClient) -> None:
    """Policies of VMs that are gone, and rules without them; owners are not told."""
    rule = {"kind": "affinity", "id": "r", "vm_ids": ["v1", "v2"], "penalty_host_s": 1.0}
    assert operator.put(f"{C1}/rules/r", json=rule).status_code == 201
    later = make_cluster([make_host("h1")], [make_vm("v2")])
    seen = {**cluster_to_document(later), "observed_at": "2026-03-02T12:00:01Z"}
    assert operator.put(f"{C1}/snapshot", json=seen).status_code == 200
    waiting = document(operator.get(C1))["waiting"]
    assert waiting == {"vm_ids": ["v1", "v3"], "host_ids": [], "rule_ids": ["r"]}
    (shown,) = document(operator.get(f"{C1}/rules"))["items"]
    assert (shown["in_force"], shown["missing_vm_ids"]) == (False, ["v1"])
    assert document(owner.get(C1))["waiting"] is None


def test_the_cluster_as_it_is_solved_can_be_fetched(operator: FlaskClient) -> None:
    """The document holds the policies, so that what it says can be solved elsewhere."""
    etag = operator.get(f"{C1}/vms/v2").headers["ETag"]
    operator.put(f"{C1}/vms/v2/priority", json={"priority": 9}, headers={"If-Match": etag})
    told = document(operator.get(f"{C1}/snapshot"))
    assert [vm["priority"] for vm in told["vms"]] == [5, 9, 8, 5]


# VMs and priorities


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["v1", "v2", "v3", "v4"]),
        ({"host": "h1"}, ["v1", "v2"]),
        ({"host": ""}, []),
        ({"group": "shop"}, ["v1", "v2"]),
        ({"group": ""}, ["v3", "v4"]),
        ({"owner": "tenant-1"}, ["v1", "v3"]),
        ({"owner": ""}, ["v2", "v4"]),
        ({"priority": 8}, ["v3"]),
        ({"text": "DATA"}, ["v2"]),
        ({"text": "v", "group": "shop", "owner": "tenant-1"}, ["v1"]),
        ({"sort": "priority"}, ["v1", "v2", "v4", "v3"]),
        ({"sort": "priority", "descending": "true"}, ["v3", "v4", "v2", "v1"]),
        ({"sort": "cpu", "descending": "true"}, ["v2", "v4", "v3", "v1"]),
        ({"sort": "host"}, ["v1", "v2", "v3", "v4"]),
        ({"sort": "memory"}, ["v1", "v2", "v3", "v4"]),
        ({"sort": "group"}, ["v3", "v4", "v1", "v2"]),
    ],
)
def test_vms_are_filtered_and_sorted(
    operator: FlaskClient, query: dict[str, Any], expected: list[str]
) -> None:
    """Whatever the size of the pages, all VMs asked for come once and in order."""
    page = document(operator.get(f"{C1}/vms", query_string=query))
    assert (ids(page), page["total"], page["next"]) == (expected, len(expected), None)
    for limit in (1, 3):
        assert every_page(operator, f"{C1}/vms", {**query, "limit": limit}) == expected


def test_owners_see_their_vms_alone(owner: FlaskClient) -> None:
    """In lists, groups and counts; another VM is not there for them."""
    assert ids(document(owner.get(f"{C1}/vms"))) == ["v1", "v3"]
    assert ids(document(owner.get(f"{C1}/vms", query_string={"text": "v2"}))) == []
    assert document(owner.get(C1))["num_vms"] == 2
    (group,) = document(owner.get(f"{C1}/groups"))["items"]
    assert (group["name"], group["num_vms"]) == ("shop", 1)
    assert owner.get(f"{C1}/vms/v1").status_code == 200
    hidden, absent = (owner.get(f"{C1}/vms/{vm_id}") for vm_id in ("v2", "v9"))
    assert (hidden.status_code, absent.status_code) == (404, 404)
    assert problem(hidden)["detail"].replace("v2", "v9") == problem(absent)["detail"]
    for path in ("hosts", "hosts/h1", "rules", "rules/r", "snapshot"):
        assert owner.get(f"{C1}/{path}").status_code == 403


def test_an_owner_sets_a_priority_within_bounds(owner: FlaskClient, operator: FlaskClient) -> None:
    """And is told the bounds otherwise; a stale or missing revision changes nothing."""
    shown = owner.get(f"{C1}/vms/v1")
    told = document(shown)
    assert (told["priority_min"], told["priority_max"], told["priority_set"]) == (3, 6, False)
    path, match = f"{C1}/vms/v1/priority", {"If-Match": shown.headers["ETag"]}
    refused = owner.put(path, json={"priority": 7}, headers=match)
    assert refused.status_code == 422
    (wrong,) = problem(refused)["errors"]
    assert wrong["path"] == "priority"
    assert "3..6" in wrong["message"]
    assert owner.put(path, json={"priority": 6}).status_code == 428
    done = owner.put(path, json={"priority": 6}, headers=match)
    assert (done.status_code, document(done)) == (200, {"priority": 6})
    assert owner.put(path, json={"priority": 5}, headers=match).status_code == 412
    assert document(operator.get(f"{C1}/vms/v1"))["priority"] == 6
    elsewhere = owner.put(f"{C1}/vms/v2/priority", json={"priority": 5})
    assert elsewhere.status_code == 403


def test_a_vm_without_policy_is_changed_at_revision_nothing(operator: FlaskClient) -> None:
    """Its ETag says so, and a change without one makes the policy."""
    assert operator.get(f"{C1}/vms/v4").headers["ETag"] == '"0"'
    done = operator.put(f"{C1}/vms/v4/priority", json={"priority": 2})
    assert (done.status_code, done.headers["ETag"]) == (200, '"1"')


def test_many_priorities_are_set_once_per_key(operator: FlaskClient, store: Store) -> None:
    """A request that is sent again is answered again and changes nothing."""
    body = {"priorities": [{"vm_id": "v1", "priority": 4}, {"vm_id": "v2", "priority": None}]}
    headers = {"Idempotency-Key": "once"}
    first = operator.patch(f"{C1}/priorities", json=body, headers=headers)
    assert (first.status_code, document(first)) == (200, {"num_changed": 1})
    before = everything(store)
    again = operator.patch(f"{C1}/priorities", json=body, headers=headers)
    assert document(again) == {"num_changed": 1}
    assert everything(store) == before


def test_every_wrong_priority_is_named(owner: FlaskClient, store: Store) -> None:
    """And none is set."""
    before = everything(store)
    body = {
        "priorities": [
            {"vm_id": "v3", "priority": 4},
            {"vm_id": "v2", "priority": 4},
            {"vm_id": "v1", "priority": 1},
        ]
    }
    refused = owner.patch(f"{C1}/priorities", json=body)
    assert refused.status_code == 422
    paths = [wrong["path"] for wrong in problem(refused)["errors"]]
    assert paths == ["priorities[1].vm_id", "priorities[2].priority"]
    assert everything(store) == before


def test_a_policy_is_read_as_it_was_set(operator: FlaskClient, owner: FlaskClient) -> None:
    """So that one part is changed and the others left; of others' VMs an owner reads nothing."""
    shown = operator.get(f"{C1}/vms/v4/policy")
    assert set(document(shown).values()) == {None}
    etag = {"If-Match": shown.headers["ETag"]}
    body = {"owner": "tenant-1", "group": "web"}
    changed = operator.put(f"{C1}/vms/v4/policy", json=body, headers=etag)
    again = owner.get(f"{C1}/vms/v4/policy")
    assert again.headers["ETag"] == changed.headers["ETag"]
    assert document(again) == {
        **body,
        "priority_min": None,
        "priority_max": None,
        "app_type": None,
    }
    assert owner.get(f"{C1}/vms/v2/policy").status_code == 404


def test_a_policy_gives_a_vm_to_an_owner(operator: FlaskClient, owner: FlaskClient) -> None:
    """Who then sees it."""
    body = {"owner": "tenant-1", "priority_max": 4, "group": "batch"}
    done = operator.put(f"{C1}/vms/v4/policy", json=body)
    assert (done.status_code, document(done)["priority_max"]) == (200, 4)
    shown = document(owner.get(f"{C1}/vms/v4"))
    assert (shown["group"], shown["priority_max"], shown["owner"]) == ("batch", 4, "tenant-1")


def test_a_page_of_another_order_is_not_gone_on_with(operator: FlaskClient) -> None:
    """Its ``next`` says nothing about this one."""
    query = {"sort": "priority", "limit": 1}
    page = document(operator.get(f"{C1}/vms", query_string=query))
    other = {"sort": "host", "after": page["next"]}
    refused = operator.get(f"{C1}/vms", query_string=other)
    assert refused.status_code == 422
    assert problem(refused)["errors"][0]["path"] == "query.after"


# Hosts


def test_hosts_are_shown_with_what_is_on_them(operator: FlaskClient) -> None:
    """Counts and allocations of their VMs."""
    page = document(operator.get(f"{C1}/hosts"))
    assert (ids(page), page["total"]) == (["h1", "h2", "h3"], 3)
    first = page["items"][0]
    assert (first["num_vms"], first["allocated_cpu_millicores"]) == (2, 6000)
    assert first["usable"]["cpu_millicores"] == 10_000
    in_b = document(operator.get(f"{C1}/hosts", query_string={"zone": "b"}))
    assert ids(in_b) == ["h3"]
    assert every_page(operator, f"{C1}/hosts", {"limit": 2}) == ["h1", "h2", "h3"]


def test_a_host_goes_into_maintenance_and_returns(operator: FlaskClient) -> None:
    """The cluster that is solved then wants it empty."""
    path = f"{C1}/hosts/h1"
    into = operator.put(f"{path}/maintenance", json={"maintenance": True, "reason": "disks"})
    assert (into.status_code, into.headers["ETag"]) == (200, '"1"')
    shown = document(operator.get(path))
    assert (shown["state"], shown["maintenance"], shown["reason"]) == ("maintenance", True, "disks")
    state = {"state": "maintenance"}
    assert ids(document(operator.get(f"{C1}/hosts", query_string=state))) == ["h1"]
    etag = {"If-Match": operator.get(path).headers["ETag"]}
    out = operator.put(f"{path}/maintenance", json={"maintenance": False}, headers=etag)
    assert document(out) == {"maintenance": False, "reason": ""}
    assert document(operator.get(path))["state"] == "up"


# Rules

APART = {"kind": "anti_affinity", "id": "apart", "vm_ids": ["v1", "v2"]}


def test_a_rule_is_put_changed_and_removed(operator: FlaskClient) -> None:
    """With its revision each time."""
    path = f"{C1}/rules/apart"
    made = operator.put(path, json=APART)
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    told = document(made)
    assert (told["in_force"], told["source"], told["rule"]["continuous"]) == (True, "rule", True)
    soft = {**APART, "penalty_host_s": 2.0}
    assert operator.put(path, json=soft).status_code == 428
    changed = operator.put(path, json=soft, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    assert document(operator.get(path))["rule"]["penalty_host_s"] == 2.0
    assert operator.delete(path, headers={"If-Match": '"1"'}).status_code == 412
    assert operator.delete(path, headers={"If-Match": '"2"'}).status_code == 204
    assert operator.get(path).status_code == 404


def test_contradictory_rules_are_refused_unless_forced(operator: FlaskClient) -> None:
    """The answer names the smallest set."""
    operator.put(f"{C1}/rules/apart", json=APART)
    together = {"kind": "affinity", "id": "together", "vm_ids": ["v1", "v2"]}
    refused = operator.put(f"{C1}/rules/together", json=together)
    assert refused.status_code == 422
    assert "'apart' and 'together'" in problem(refused)["detail"]
    forced = operator.put(f"{C1}/rules/together", json=together, query_string={"force": "true"})
    assert forced.status_code == 201


def test_a_forced_rule_that_leaves_no_host_waits(operator: FlaskClient) -> None:
    """And says for what."""
    for name, host in (("a", "h1"), ("b", "h2")):
        rule = {"kind": "pin", "id": name, "vm_ids": ["v1"], "host_ids": [host]}
        query = {"force": "true"}
        made = operator.put(f"{C1}/rules/{name}", json=rule, query_string=query)
    told = document(made)
    assert told["in_force"] is False
    assert told["waits_because"].endswith("no host for VM 'v1'")


def test_rules_of_the_snapshot_can_be_replaced_only(operator: FlaskClient) -> None:
    """They come again with every snapshot."""
    seen = {**cluster_to_document(small_cluster()), "rules": [APART]}
    assert operator.put(f"{C1}/snapshot", json=seen).status_code == 200
    shown = operator.get(f"{C1}/rules/apart")
    assert (document(shown)["source"], shown.headers["ETag"]) == ("snapshot", '"0"')
    assert operator.delete(f"{C1}/rules/apart", headers={"If-Match": '"0"'}).status_code == 404
    assert operator.put(f"{C1}/rules/apart", json=APART).status_code == 201
    assert document(operator.get(f"{C1}/rules/apart"))["source"] == "rule"
