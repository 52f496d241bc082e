"""Bad input to every noun: the right status, the wrong field by its path, and nothing changed.

One application and one database serve all cases, since none of them may change it: everything the
database holds, the audit log included, is compared before and after.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api.services import Services
from service.app import create_app
from service.inventory.rules import put_rule
from service.security import tokens
from service.security.passwords import Passwords
from service.security.principal import Role
from service.solving.desk import Desk
from service.solving.pool import PoolSettings, SolverPool
from service.store.base import KeptPlan, PlanStage
from service.store.sql import open_store
from solver.domain.rules import Pin
from solver.domain.units import HostId, VmId
from solver.instances import cluster_to_document
from tests.answers import problem
from tests.builders import NOW
from tests.inventories import ADMIN, CLUSTER, fill, small_cluster
from tests.unit.service.api.conftest import whole

C1 = "/clusters/c1"
PRIORITY = f"{C1}/vms/v1/priority"
POLICY = f"{C1}/vms/v1/policy"
MANY = f"{C1}/priorities"
DRAIN = f"{C1}/hosts/h1/maintenance"
RULE = f"{C1}/rules/r"


def cluster(**changed: Any) -> dict[str, Any]:
    """Return the small cluster as a document, with some of its fields replaced."""
    return {**cluster_to_document(small_cluster()), **changed}


def vm(**changed: Any) -> dict[str, Any]:
    """Return a VM of a cluster document."""
    return {"id": "v1", "host_id": "h1", "allocation": {"memory_mib": 1}, **changed}


def host(**changed: Any) -> dict[str, Any]:
    """Return a host of a cluster document."""
    return {"id": "h1", "capacity": {"memory_mib": 1024}, **changed}


def rule(**changed: Any) -> dict[str, Any]:
    """Return a rule."""
    pin = {"kind": "pin", "id": "r", "vm_ids": ["v1"], "host_ids": ["h1"]}
    return {name: value for name, value in {**pin, **changed}.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bad request.

    Parameters
    ----------
    what
        Is wrong with it.
    status
        It has to get.
    at
        Path of what is wrong; empty where no field is.
    """

    what: str
    method: str
    path: str
    status: int = 422
    at: str = ""
    body: Any = None
    raw: bytes | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    role: Role = Role.ADMIN

    def ask(self, client: FlaskClient) -> TestResponse:
        """Return the answer."""
        data = self.raw
        if data is None and self.body is not None:
            data = json.dumps(self.body).encode()
        return client.open(
            f"/api/v1{self.path}",
            method=self.method,
            data=data,
            query_string=self.query,
            headers={"Content-Type": "application/json", **self.headers},
        )


def solve(what: str, at: str, **body: Any) -> Case:
    """Return a request to solve that is JSON, but wrong."""
    return Case(what=what, method="POST", path="/solve", at=at, body=body)


def unread(what: str, status: int, raw: bytes, **headers: str) -> Case:
    """Return a request to solve whose body cannot be read."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Case(what=what, method="POST", path="/solve", status=status, raw=raw, headers=told)


def put(what: str, path: str, at: str, body: Any, **more: Any) -> Case:
    """Return a change of something at whatever revision it stands, unless told otherwise."""
    headers = {"If-Match": "*"} if "status" not in more else {}
    return Case(
        **{"what": what, "method": "PUT", "path": path, "at": at, "body": body, "headers": headers}
        | more
    )


def get(what: str, path: str, at: str, **query: Any) -> Case:
    """Return a wrong question."""
    status = 422 if at else 404
    return Case(what=what, method="GET", path=path, at=at, query=query, status=status)


UNREADABLE = [
    unread("nothing", 400, b""),
    unread("cut short", 400, b'{"cluster": {'),
    unread("a name twice", 400, b'{"cluster": {}, "cluster": {}}'),
    unread("no number", 400, b'{"options": {"limit_s": NaN}}'),
    unread("nested too deeply", 400, b'{"a":' * 100 + b"1" + b"}" * 100),
    unread("not UTF-8", 400, b'{"a": "\xff"}'),
    unread("another type", 415, b"a=b", Content_Type="application/x-www-form-urlencoded"),
    unread("another packing", 415, b"{}", Content_Encoding="br"),
    unread("broken packing", 400, b"{}", Content_Encoding="gzip"),
    unread("a bomb", 413, gzip.compress(b" " * 70 * 2**20), Content_Encoding="gzip"),
]

SOLVING = [
    solve("no cluster", "cluster"),
    solve("another version", "cluster.version", cluster=cluster(version=2)),
    solve("an unknown field", "cluster.hostz", cluster=cluster(hostz=[])),
    solve("no hosts", "cluster.hosts", cluster=cluster(hosts=[], vms=[])),
    solve("a VM twice", "cluster.vms", cluster=cluster(vms=[vm(), vm()])),
    solve(
        "a VM on a host that is not there",
        "cluster.vms[0].host_id",
        cluster=cluster(vms=[vm(host_id="h9")]),
    ),
    solve("no priority at all", "cluster.vms[0].priority", cluster=cluster(vms=[vm(priority=11)])),
    solve(
        "a negative capacity",
        "cluster.hosts[0].capacity.memory_mib",
        cluster=cluster(hosts=[host(capacity={"memory_mib": -1})], vms=[]),
    ),
    solve(
        "an instant without a zone",
        "cluster.observed_at",
        cluster=cluster(observed_at="2026-03-02T12:00:00"),
    ),
    solve("the future", "cluster.observed_at", cluster=cluster(observed_at="2027-03-02T12:00:00Z")),
    solve(
        "a rule about a VM that is not there",
        "cluster.rules[0].vm_ids",
        cluster=cluster(rules=[rule(vm_ids=["v9"])]),
    ),
    solve(
        "pins that leave no host",
        "cluster.rules",
        cluster=cluster(rules=[rule(), rule(id="s", host_ids=["h2"])]),
    ),
    solve("no time at all", "options.limit_s", cluster=cluster(), options={"limit_s": 0}),
    solve("no such engine", "options.engine", cluster=cluster(), options={"engine": "magic"}),
    solve(
        "a negative usage",
        "usage.v1.memory_mib",
        cluster=cluster(),
        usage={"v1": {"memory_mib": -1}},
    ),
]

CLUSTERS = [
    put("no name", "/clusters/c2", "name", {}),
    put("no such time zone", "/clusters/c2", "time_zone", {"name": "B", "time_zone": "Mars/Dome"}),
    put("no such driver", "/clusters/c2", "driver.kind", {"name": "B", "driver": {"kind": "x"}}),
    put(
        "a driver without its hosts",
        "/clusters/c2",
        "driver.hosts_file",
        {"name": "B", "driver": {"kind": "libvirt"}},
    ),
    put("an id of a thousand letters", f"/clusters/{'c' * 1000}", "path.cluster_id", {"name": "B"}),
    put("no revision", C1, "", {"name": "B"}, status=428),
    put("a stale revision", C1, "", {"name": "B"}, status=412, headers={"If-Match": '"7"'}),
    put("no entity tag", C1, "", {"name": "B"}, status=400, headers={"If-Match": "seven"}),
    Case(what="no such cluster", method="DELETE", path="/clusters/c9", status=404),
    get("no such cluster", "/clusters/c9", ""),
    put(
        "an older snapshot",
        f"{C1}/snapshot",
        "",
        cluster(observed_at="2026-03-01T12:00:00Z"),
        status=409,
    ),
    put("a snapshot of nothing", f"{C1}/snapshot", "foreswap", {}),
    put(
        "a snapshot of another kind",
        f"{C1}/snapshot",
        "foreswap",
        cluster(foreswap="plan"),
    ),
    put("a snapshot of no cluster", "/clusters/c9/snapshot", "", cluster(), status=404),
]

VMS = [
    get("a page of none", f"{C1}/vms", "query.limit", limit=0),
    get("a page of too many", f"{C1}/vms", "query.limit", limit=1001),
    get("a page of words", f"{C1}/vms", "query.limit", limit="many"),
    get("no cursor", f"{C1}/vms", "query.after", after="%%%"),
    get("an unknown filter", f"{C1}/vms", "query.colour", colour="red"),
    get("an unknown order", f"{C1}/vms", "query.sort", sort="beauty"),
    get("an unknown state", f"{C1}/hosts", "query.state", state="asleep"),
    get("no such VM", f"{C1}/vms/v9", ""),
    get("no such host", f"{C1}/hosts/h9", ""),
]

PRIORITIES = [
    put("too low", PRIORITY, "priority", {"priority": 0}),
    put("too high", PRIORITY, "priority", {"priority": 11}),
    put("a text", PRIORITY, "priority", {"priority": "7"}),
    put("half of one", PRIORITY, "priority", {"priority": 5.5}),
    put("a truth", PRIORITY, "priority", {"priority": True}),
    put("nothing", PRIORITY, "priority", {}),
    put("more than asked", PRIORITY, "owner", {"priority": 5, "owner": "me"}),
    put("beyond the bounds", PRIORITY, "priority", {"priority": 9}, role=Role.OWNER),
    put("no revision", PRIORITY, "", {"priority": 5}, status=428),
    put("no such VM", f"{C1}/vms/v9/priority", "", {"priority": 5}, status=404),
    put(
        "somebody else's VM",
        f"{C1}/vms/v2/priority",
        "",
        {"priority": 5},
        status=403,
        role=Role.OWNER,
    ),
    put("no priorities", MANY, "priorities", {"priorities": []}, method="PATCH"),
    put(
        "one VM twice",
        MANY,
        "priorities[1].vm_id",
        {"priorities": [{"vm_id": "v1", "priority": 4}, {"vm_id": "v1", "priority": 5}]},
        method="PATCH",
    ),
    put(
        "one VM that is not there",
        MANY,
        "priorities[1].vm_id",
        {"priorities": [{"vm_id": "v1", "priority": 4}, {"vm_id": "v9", "priority": 5}]},
        method="PATCH",
    ),
    put(
        "one beyond the bounds",
        MANY,
        "priorities[1].priority",
        {"priorities": [{"vm_id": "v3", "priority": 4}, {"vm_id": "v1", "priority": 1}]},
        method="PATCH",
        role=Role.OWNER,
    ),
    put(
        "a key that is none",
        MANY,
        "",
        {"priorities": [{"vm_id": "v1", "priority": 4}]},
        method="PATCH",
        status=400,
        headers={"Idempotency-Key": "with blanks"},
    ),
]

POLICIES = [
    put("bounds the wrong way", POLICY, "priority_max", {"priority_min": 6, "priority_max": 4}),
    put("an owner of 300 letters", POLICY, "owner", {"owner": "o" * 300}),
    put("a group of two lines", POLICY, "group", {"group": "a\nb"}),
    put("a priority beside it", POLICY, "priority", {"priority": 4}),
    put("no such VM", f"{C1}/vms/v9/policy", "", {}, status=404),
    put("nothing", DRAIN, "maintenance", {}),
    put("a text", DRAIN, "maintenance", {"maintenance": "yes"}),
    put("a novel", DRAIN, "reason", {"maintenance": True, "reason": "x" * 2000}),
    put("no such host", f"{C1}/hosts/h9/maintenance", "", {"maintenance": True}, status=404),
]

RULES = [
    put("no kind", RULE, "kind", {"id": "r"}),
    put("no such kind", RULE, "kind", rule(kind="wish")),
    put("another id", RULE, "id", rule(id="s")),
    put("no such VM", RULE, "vm_ids[0]", rule(vm_ids=["v9"])),
    put("no such host", RULE, "host_ids[1]", rule(host_ids=["h1", "h9"])),
    put("no host", RULE, "host_ids", rule(host_ids=[])),
    put("a VM twice", RULE, "vm_ids", rule(vm_ids=["v1", "v1"])),
    put("a reward", RULE, "penalty_host_s", rule(penalty_host_s=-1.0)),
    put("a field of another kind", RULE, "level", rule(level="zone")),
    put("one VM apart", RULE, "vm_ids", rule(kind="anti_affinity", host_ids=None)),
    put("no host left", RULE, "", rule(host_ids=["h2", "h3"])),
    put("perhaps by force", RULE, "query.force", rule(), query={"force": "perhaps"}),
    Case(what="no such rule", method="DELETE", path=RULE, status=404, headers={"If-Match": "*"}),
]

WHAT_IFS = [
    Case(what=what, method="POST", path=f"{C1}/whatif", at=at, body={"horizon": "present", **body})
    for what, at, body in (
        ("a lost host that is not there", "lost_host_ids", {"lost_host_ids": ["h9"]}),
        ("a removed VM that is not there", "removed_vm_ids", {"removed_vm_ids": ["v9"]}),
        ("no VMs more", "added_vms[0].count", {"added_vms": [{"count": 0, "like_vm_id": "v1"}]}),
        ("VMs like nothing", "added_vms[0]", {"added_vms": [{"count": 1}]}),
        ("less than no demand", "demand_factors[0].factor", {"demand_factors": [{"factor": -1}]}),
        ("no priority", "priorities.v1", {"priorities": {"v1": 0}}),
        ("no such horizon", "horizon", {"horizon": "tomorrow"}),
        ("no such target", "hosts_needed.target", {"hosts_needed": {"types": [{}], "target": 2}}),
        ("no such kind of rule", "rules[0].kind", {"rules": [rule(kind="wish")]}),
    )
]
WHAT_IFS.append(
    Case(what="no such cluster", method="POST", path="/clusters/c9/whatif", status=404, body={})
)

SCHEDULE = f"{C1}/schedule"

SCHEDULES = [
    put("too often", SCHEDULE, "interval_minutes", {"interval_minutes": 1}),
    put("two ways at once", SCHEDULE, "cron", {"interval_minutes": 15, "cron": "0 3 * * *"}),
    put("a cron of four fields", SCHEDULE, "cron", {"cron": "0 3 * *"}),
    put("a cron of the 25th hour", SCHEDULE, "cron", {"cron": "0 25 * * *"}),
    put("no such time zone", SCHEDULE, "time_zone", {"time_zone": "Mars/Dome"}),
    put("full automation", SCHEDULE, "automation", {"automation": "full"}),
    put(
        "a blackout on a day that is none",
        SCHEDULE,
        "blackouts[0].days[0]",
        {"blackouts": [{"days": ["yesterday"], "start": "08:00", "end": "18:00"}]},
    ),
    put(
        "a blackout at 25 o'clock",
        SCHEDULE,
        "blackouts[0].start",
        {"blackouts": [{"start": "25:00", "end": "18:00"}]},
    ),
    put(
        "less than no moves",
        SCHEDULE,
        "limits.moves_per_window",
        {"limits": {"moves_per_window": -1}},
    ),
    put("no such cluster", "/clusters/c9/schedule", "", {}, status=404),
]


def decide(what: str, path: str, status: int, at: str = "", **body: Any) -> Case:
    """Return a wrong decision about a plan."""
    return Case(
        what=what, method="POST", path=f"{C1}/plans/{path}", status=status, at=at, body=body
    )


PLANS = [
    decide("no such plan", "p9/approve", 404),
    decide("a plan that is done", "p1/approve", 409),
    decide("nothing that runs", "p1/pause", 409),
    decide("nothing that runs", "p1/abort", 409),
    decide("a step before the first", "p1/steps/-1/skip", 422, "path.step"),
    decide("a reason that is a number", "p1/reject", 422, "reason", reason=7),
    decide("a decision nobody knows", "p1/approve", 422, "hurry", hurry=True),
    Case(what="no such cluster", method="POST", path="/clusters/c9/plans", status=404, body={}),
    get("no such plan", f"{C1}/plans/p9", ""),
    get("no such stage", f"{C1}/plans", "query.stage", stage="dreamt"),
    get("no such span", f"{C1}/scorecard", "query.span", span="1y"),
    get("a VM that is not there", f"{C1}/forecasts/vms/v9", ""),
    get("a host that is not there", f"{C1}/history/hosts/h9", ""),
    get("no hours at all", f"{C1}/history/vms/v1", "query.hours", hours=0),
    get("no such cluster", "/clusters/c9/contention", ""),
]

MINUTE = {"schema": 1, "host_id": "h1", "minute_at": NOW.isoformat()}


def batch(what: str, at: str, status: int = 422, **changed: Any) -> Case:
    """Return a wrong batch of telemetry."""
    records = [{"seq": 1, "minute": MINUTE}]
    body = {"schema": 1, "host": "h1", "stream": "s", "records": records, **changed}
    return Case(
        what=what,
        method="POST",
        path="/ingest/c1",
        at=at,
        status=status,
        body=body,
        role=Role.AGENT,
    )


INGEST = [
    batch("a minute of nothing", "records[0].minute.host"),
    batch("no stream", "stream", stream=""),
    batch("no number", "records[0].seq", records=[{"seq": "one", "minute": MINUTE}]),
    batch("a batch of a later version", "", 415, schema=9),
]

ACCESS = [
    Case(what="no password", method="POST", path="/session", at="password", body={"user": "a"}),
    put("no such role", "/users/bob", "role", {"role": "king"}),
    put(
        "a short password",
        "/users/bob",
        "password",
        {"role": "viewer", "password": "short"},
        headers={},
    ),
    Case(
        what="no such user",
        method="DELETE",
        path="/users/nobody",
        status=404,
        headers={"If-Match": "*"},
    ),
    Case(
        what="no such role",
        method="POST",
        path="/tokens",
        at="role",
        body={"name": "t", "role": "king"},
    ),
    Case(
        what="an agent of no cluster",
        method="POST",
        path="/tokens",
        at="cluster_id",
        body={"name": "t", "role": "agent"},
    ),
    Case(what="no such token", method="DELETE", path="/tokens/none", status=404),
    get("no such job", "/jobs/none", ""),
    get("a page of none", "/jobs", "query.limit", limit=-1),
    get("a page of none", "/audit", "query.limit", limit=0),
]

CASES = [
    *UNREADABLE,
    *SOLVING,
    *CLUSTERS,
    *VMS,
    *PRIORITIES,
    *POLICIES,
    *RULES,
    *WHAT_IFS,
    *SCHEDULES,
    *PLANS,
    *INGEST,
    *ACCESS,
]


@dataclass(frozen=True, kw_only=True)
class Place:
    """An application with its database, and a client of each role."""

    database: Path
    clients: Mapping[Role, FlaskClient]


@pytest.fixture(scope="module")
def place(
    empty_database: Path, tmp_path_factory: pytest.TempPathFactory, passwords: Passwords
) -> Iterator[Place]:
    """The small cluster, with a rule that pins ``v1`` to ``h1``, behind an application."""
    database = tmp_path_factory.mktemp("bad_input") / "store.db"
    database.write_bytes(empty_database.read_bytes())
    store: Any = open_store(f"sqlite:///{database}")
    fill(store)
    with store.begin() as tx:
        pinned = Pin(id="pinned", vm_ids=(VmId("v1"),), host_ids=(HostId("h1"),))
        put_rule(tx, ADMIN, CLUSTER, pinned, proposal=None, expected_revision=0, now=NOW)
    done = KeptPlan(
        id="p1",
        cluster_id=CLUSTER,
        made_at=NOW,
        stage=PlanStage.DONE,
        trigger="manual",
        document={},
    )
    with store.begin() as tx:
        tx.plans.put(done, expected_revision=0)
    # Nobody works there: no bad request may come as far as a worker.
    desk = Desk(SolverPool(PoolSettings()), store, name="test", now=lambda: NOW)
    app = create_app(Services(store=store, now=lambda: NOW, passwords=passwords, desk=desk))
    clients = {}
    for role in (Role.ADMIN, Role.OWNER, Role.AGENT):
        wanted = tokens.NewToken(
            name=role.value,
            role=role,
            owner="tenant-1" if role is Role.OWNER else "",
            cluster_id="c1" if role is Role.AGENT else "",
        )
        with store.begin() as tx:
            _, secret = tokens.create(tx, ADMIN, wanted, NOW)
        clients[role] = app.test_client()
        clients[role].environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        clients[role].get("/api/v1/clusters")
    yield Place(database=database, clients=clients)
    store.close()


def name_of(case: Case) -> str:
    """Return what a case is called."""
    return f"{case.method} {case.path[:40]}: {case.what}"


def test_the_names_of_the_cases_differ() -> None:
    """So that each of them can be run alone."""
    assert len({name_of(case) for case in CASES}) == len(CASES) >= 30


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_bad_input_is_told_and_changes_nothing(place: Place, case: Case) -> None:
    """Status and path are those of the case; not a row of the database is another one."""
    before = whole(place.database)
    answer = case.ask(place.clients[case.role])
    told = problem(answer)
    assert answer.status_code == case.status, told
    assert told["detail"]
    if case.at:
        assert case.at in [wrong["path"] for wrong in told["errors"]], told
    assert whole(place.database) == before
