"""Clients of a service that may be killed: each notes what it was told is kept, and compares later.

Each has one thing under way at most. Of that nobody knows whether it came to pass when the service
was killed in the middle; everything before it has to be there.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import urllib3

from executor.monitor.wire import encode
from service.store.base import Store
from solver.domain.plan import Plan
from solver.instances import plan_to_document
from tests.executor_builders import migrate
from tests.plans import crowded_host, make_kept
from tests.telemetry import flat, host_minute

MOVED, TOLD = "moved", "told"
"""Clusters: one whose VMs are moved, and one of which monitors tell."""
HOSTS = ("h1", "h2", "h3")
NUM_VMS = 8
MIB_PER_S = 100
RULES_KEPT = 3
MINUTES_AGO = 20 * 60
MINUTES_PER_BIN = 5
OVER = ("done", "ended")


class GoneError(Exception):
    """The service does not answer any more."""


class Asker:
    """Asks the API with a token.

    Parameters
    ----------
    url
        Where the service listens now.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._url = f"{url}/api/v1"
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._pool = urllib3.PoolManager(timeout=60, retries=False)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Return status and JSON of an answer that came as a whole.

        :raises GoneError: if none did
        """
        sent = self._headers | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = self._pool.request(method, self._url + path, json=body, headers=sent)
        except urllib3.exceptions.HTTPError as error:
            raise GoneError from error
        assert answer.status < 500, (method, path, answer.status, answer.data)
        return answer.status, json.loads(answer.data) if answer.data else None

    def get(self, path: str) -> Any:
        """Return what stands at a path."""
        status, body = self.ask("GET", path)
        assert status == 200, (path, status, body)
        return body

    def items(self, path: str) -> list[Any]:
        """Return all that a list holds."""
        found: list[Any] = []
        after = ""
        while True:
            page = self.get(f"{path}?limit=1000{after}")
            found += page["items"]
            if page["next"] is None:
                return found
            after = f"&after={quote(page['next'])}"


class Editor:
    """Sets priorities, puts rules and takes them away again."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._applied = 0
        self._number = 0
        self._stands: dict[str, Any] = {}
        self._under_way: tuple[str, Any] | None = None

    def act(self, asker: Asker) -> None:
        """Make the next edit."""
        self._number += 1
        name, wanted, method, body = self._next()
        self._under_way = name, wanted
        # Whatever stands: without it only what is not there yet can be made.
        expected = {} if method == "PUT" and "/rules/" in name else {"If_Match": "*"}
        status, told = asker.ask(method, name, body, **expected)
        assert status < 300, (name, status, told)
        self._settle()
        self.acknowledged += 1

    def _next(self) -> tuple[str, Any, str, Any]:
        rules = sorted(name for name in self._stands if "/rules/" in name)
        if self._number % 3 == 0:
            wanted = 1 + self._number % 10
            name = f"/clusters/{MOVED}/vms/v{self._number % NUM_VMS}/priority"
            return name, wanted, "PUT", {"priority": wanted}
        if len(rules) > RULES_KEPT:
            return rules[0], None, "DELETE", None
        rule_id = f"r{self._number:06}"
        rule = {"kind": "anti_affinity", "id": rule_id, "vm_ids": ["v1", "v2"]}
        return f"/clusters/{TOLD}/rules/{rule_id}", rule_id, "PUT", rule

    def _settle(self) -> None:
        """Note that what was under way came to pass."""
        assert self._under_way is not None
        name, wanted = self._under_way
        self._applied += 1
        self._under_way = None
        if wanted is None:
            self._stands.pop(name)
        else:
            self._stands[name] = wanted

    def check(self, asker: Asker) -> None:
        """Compare what stands with what was acknowledged, and how often anything was changed."""
        found: dict[str, Any] = {
            f"/clusters/{MOVED}/vms/{vm['id']}/priority": vm["priority"]
            for vm in asker.items(f"/clusters/{MOVED}/vms")
            if vm["priority_set"]
        }
        for rule in asker.items(f"/clusters/{TOLD}/rules"):
            found[f"/clusters/{TOLD}/rules/{rule['id']}"] = rule["id"]
        if self._under_way is not None:
            name, wanted = self._under_way
            if found.get(name) == wanted:
                self._settle()
        self._under_way = None
        assert found == self._stands
        edits = ("priorities.set", "rules.put", "rules.delete")
        audit = [entry["action"] for entry in asker.items("/audit")]
        assert sum(action in edits for action in audit) == self._applied


class Monitor:
    """Delivers minutes: of another host after each start of the service, so that none run out."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._accepted: list[int] = [0]
        now = datetime.now(UTC).replace(second=0, microsecond=0)
        self._start_at = now - timedelta(minutes=MINUTES_AGO + now.minute % 5)

    def change_host(self) -> None:
        """Go on as the monitor of the next host."""
        self._accepted.append(0)

    def act(self, asker: Asker) -> None:
        """Deliver a few minutes."""
        host = len(self._accepted) - 1
        first = self._accepted[host] + 1
        if first > MINUTES_AGO - 10:
            return
        numbers = range(first, first + 1 + first % 3)
        records = [{"seq": seq, "minute": self._minute(host, seq)} for seq in numbers]
        batch = {"schema": 1, "host": _host(host), "stream": "s", "records": records}
        status, told = asker.ask("POST", f"/ingest/{TOLD}", batch)
        assert (status, told) == (200, {"accepted_through": numbers[-1]})
        self._accepted[host] = numbers[-1]
        self.acknowledged += len(numbers)

    def check(self, store: Store) -> None:
        """Compare the records in a store with what was acknowledged; each is there once."""
        found: dict[tuple[str, datetime], list[float]] = {}
        for record in store.telemetry.records(TOLD, self._start_at, datetime.now(UTC)):
            reading = record.host.figures["cpu_used_millicores"].mean
            found.setdefault((record.host_id, record.minute_at), []).append(reading)
        for host, through in enumerate(self._accepted):
            for seq in range(1, through + 1):
                assert found[_host(host), self._at(seq)] == [_reading(host, seq)], (host, seq)

    def check_history(self, asker: Asker) -> int:
        """Compare the bins that are shown with minutes acknowledged; return how many there are."""
        num_bins = 0
        for host, through in enumerate(self._accepted):
            if through < MINUTES_PER_BIN:
                continue
            shown = asker.get(f"/clusters/{TOLD}/history/hosts/{_host(host)}?hours=24")
            first_at = datetime.fromisoformat(shown["start_at"])
            means = shown["resources"]["cpu_millicores"]
            for first in range(MINUTES_PER_BIN, through - 3, MINUTES_PER_BIN):
                position = (self._at(first) - first_at) // timedelta(minutes=MINUTES_PER_BIN)
                # The mean of five minutes in a row is the one in the middle.
                assert means[position] == _reading(host, first + 2), (host, first)
                num_bins += 1
        return num_bins

    def _at(self, seq: int) -> datetime:
        return self._start_at + timedelta(minutes=seq)

    def _minute(self, host: int, seq: int) -> Any:
        figures = {"cpu_used_millicores": flat(_reading(host, seq))}
        return json.loads(encode(host_minute(_host(host), self._at(seq), figures=figures)))


def _host(number: int) -> str:
    return f"host-{number:03}"


def _reading(host: int, seq: int) -> float:
    return float(100 + 7 * host + seq)


class Operator:
    """Approves plans, leaves out their last step, and watches how far they are."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.num_progress = 0
        self.num_done = 0
        self.is_idle = False
        self._plan: PlanSeen | None = None

    def act(self, asker: Asker) -> None:
        """Look at the plan, and do the next thing with it."""
        assert self._plan is not None
        shown = self._plan.look(asker)
        self.is_idle = shown["stage"] in OVER
        if shown["stage"] == "proposed" and self._plan.approve(asker):
            self.acknowledged += 1
        if shown["stage"] == "running" and self._plan.skip_last(asker):
            self.acknowledged += 1
        self.num_progress += self._plan.has_changed(shown)
        time.sleep(0.05)  # as one who watches does

    def check(self, asker: Asker) -> None:
        """Compare the plan with what was acknowledged and shown of it."""
        if self._plan is not None:
            self._plan.check(asker)

    def propose(self, store: Store, asker: Asker) -> None:
        """Have a plan that takes every VM to the next host, unless there is one under way."""
        if self._plan is not None:
            if not self._plan.is_over(asker):
                return
            self.num_done += self._plan.check_placement(asker)
        where = {vm["id"]: vm["host_id"] for vm in asker.items(f"/clusters/{MOVED}/vms")}
        following = {host: HOSTS[i - 2] for i, host in enumerate(HOSTS)}
        steps = [
            migrate(vm, host, following[host], at_s=40 * i, mib_per_s=MIB_PER_S)
            for i, (vm, host) in enumerate(sorted(where.items()))
        ]
        made = make_kept(crowded_host(NUM_VMS), cluster_id=MOVED, made_at=datetime.now(UTC))
        plan = plan_to_document(Plan(made_at=made.made_at, steps=tuple(steps)))
        result = {**made.document["result"], "plan": plan}
        kept = replace(
            made,
            id=f"{made.made_at:%Y%m%dT%H%M%S}-{made.made_at.microsecond:06x}",
            document={**made.document, "result": result},
        )
        with store.begin() as tx:
            tx.plans.put(kept, expected_revision=0)
        self._plan, self.is_idle = PlanSeen(kept.id), False


class PlanSeen:
    """What was acknowledged and shown of one plan."""

    def __init__(self, plan_id: str) -> None:
        self._path = f"/clusters/{MOVED}/plans/{plan_id}"
        self._approved = False
        self._skipped: int | None = None
        self._done: dict[int, str] = {}
        self._states: list[Any] = []

    def look(self, asker: Asker) -> Any:
        """Return the plan, and note which of its steps are done."""
        shown = asker.get(self._path)
        for step in shown["steps"]:
            if step["state"] == "done":
                self._done[step["position"]] = step["ended_at"]
        return shown

    def approve(self, asker: Asker) -> bool:
        """Approve the plan; return that this was acknowledged."""
        status, told = asker.ask("POST", f"{self._path}/approve", {})
        assert status == 202, told
        self._approved = True
        return True

    def skip_last(self, asker: Asker) -> bool:
        """Leave out the last step; return whether this was acknowledged now."""
        if self._skipped is not None:
            return False
        last = NUM_VMS - 1
        status, _ = asker.ask("POST", f"{self._path}/steps/{last}/skip", {})
        self._skipped = last if status == 202 else None
        return status == 202

    def has_changed(self, shown: Any) -> bool:
        """Tell whether any step is in another state than it was shown in last."""
        states = [step["state"] for step in shown["steps"]]
        changed = states != self._states
        self._states = states
        return changed

    def is_over(self, asker: Asker) -> bool:
        """Tell whether the plan has come to its end."""
        return self.look(asker)["stage"] in OVER

    def check(self, asker: Asker) -> None:
        """Compare the plan with what was acknowledged and shown."""
        before = dict(self._done)
        shown = self.look(asker)
        if self._approved:
            assert shown["stage"] in ("approved", "running", *OVER)
        if self._skipped is not None:
            assert shown["steps"][self._skipped]["decision"] == "skipped"
        for position, ended_at in before.items():
            step = shown["steps"][position]
            assert (step["state"], step["ended_at"]) == ("done", ended_at)

    def check_placement(self, asker: Asker) -> int:
        """Compare where VMs are with the steps of a plan that is over; return how many are done."""
        shown = self.look(asker)
        where = {vm["id"]: vm["host_id"] for vm in asker.items(f"/clusters/{MOVED}/vms")}
        assert len(where) == NUM_VMS
        for step in shown["steps"]:
            moved = step["state"] == "done"
            assert moved or step["state"] in ("skipped", "failed", "aborted"), step
            assert where[step["vm_id"]] == step["destination_id" if moved else "source_id"], step
        return len(self._done)
