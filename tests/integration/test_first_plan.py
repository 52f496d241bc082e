"""The newcomer's path: from a clean home to a plan that was carried out, simulated."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.served import Served, served

SOON_S = 120.0


class Program:
    """Somebody who asks by HTTP with a token, as the commands do by theirs."""

    def __init__(self, service: Served) -> None:
        self._url = f"{service.url}/api/v1"
        secret = service.ask("token", "create", "program", "--role", "operator").strip()
        self._headers = {"Authorization": f"Bearer {secret}"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Return the JSON of an answer, which has to be one of success."""
        answer = urllib3.request(method, self._url + path, json=body, headers=self._headers)
        assert answer.status < 300, (path, answer.status, answer.data)
        return json.loads(answer.data)


def eventually(look: Callable[[], Any]) -> Any:
    """Return the first thing seen, looking until it is there."""
    ends_s = time.monotonic() + SOON_S
    while not (seen := look()):
        assert time.monotonic() < ends_s
        time.sleep(0.2)
    return seen


def waiting(program: Program) -> str:
    """Return the id of a plan that waits to be approved; empty if there is none."""
    plans = program.ask("GET", "/clusters/demo/plans?stage=proposed")["items"]
    return plans[0]["id"] if plans else ""


@pytest.mark.timeout(400)
def test_from_a_clean_home_to_a_finished_plan(tmp_path: Path) -> None:
    """Log in, see hosts, set a priority, ask what-if, drain, approve, watch, read the audit log."""
    with served(tmp_path, "--demo") as service:
        service.log_in()
        program = Program(service)
        eventually(lambda: program.ask("GET", "/clusters")["items"][0]["observed_at"])
        hosts = service.ask_json("hosts")
        assert [host["id"] for host in program.ask("GET", "/clusters/demo/hosts")["items"]] == [
            host["id"] for host in hosts
        ]
        vm = service.ask_json("vms")[0]["id"]
        service.ask("priority", "set", "9", vm)
        assert program.ask("GET", f"/clusters/demo/vms/{vm}")["priority"] == 9
        emptiest = min(hosts, key=lambda host: host["num_vms"])["id"]
        assert "feasible: yes" in service.ask("whatif", "--drain", emptiest, "--horizon", "present")

        service.ask("drain", emptiest)
        plan = eventually(lambda: waiting(program))
        assert plan in service.ask("plan", "list")
        assert "done" in service.ask("approve", plan, "--wait")
        told = program.ask("GET", f"/clusters/demo/plans/{plan}")
        assert told["stage"] == "done"
        assert {step["state"] for step in told["steps"]} == {"done"}
        assert service.ask_json("vms", "--host", emptiest) == []

        done = {(entry["actor"], entry["action"]) for entry in service.ask_json("audit")}
        assert {("admin", "maintenance.set"), ("admin", "plans.approve")} <= done
        assert ("foreswap", "plans.done") in done
        assert "approve" in service.ask("schedule", "show")
        service.ask("schedule", "set", "--automation", "recommend", "--interval", "30")
        assert service.ask_json("schedule", "show")["schedule"]["automation"] == "recommend"
        assert service.stop() == 0
