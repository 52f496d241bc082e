"""The newcomer's path through a service that has the demonstration's cluster."""

from __future__ import annotations

from tests.served import Program, Served, eventually, waiting_plan


def walk(service: Served) -> None:
    """Log in, see hosts, set a priority, ask what-if, drain, approve, watch, read the audit log."""
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
    plan = eventually(lambda: waiting_plan(program, "demo"))
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
