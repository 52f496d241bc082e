"""The newcomer's path on real hosts: from a hosts file to guests that were moved by the service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lab.carrying import write_hosts_file
from tests.integration.lab.soundness import assert_sound
from tests.served import UNTRAINED, Program, eventually, served, waiting_plan

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab


@pytest.mark.timeout(600)
def test_a_host_is_emptied_by_the_service(lab: Lab, tmp_path: Path) -> None:
    """Hosts are seen, a priority is set, a what-if asked; a plan is made, approved and watched."""
    first, second, third, _ = lab.hosts
    lab.start_guests({"a": first, "b": first, "c": second})
    hosts = write_hosts_file(tmp_path / "hosts.toml", (first, second, third))
    with served(tmp_path, **UNTRAINED) as service:
        service.log_in()
        program = Program(service)
        service.ask("cluster", "add", "lab", "--driver", "libvirt", "--hosts-file", str(hosts))
        eventually(lambda: program.ask("GET", "/clusters/lab")["observed_at"])
        seen = {host["id"]: host["num_vms"] for host in service.ask_json("hosts")}
        assert seen == {first.name: 2, second.name: 1, third.name: 0}
        service.ask("priority", "set", "9", "a")
        drained = ("whatif", "--drain", first.name, "--horizon", "present")
        assert "feasible: yes" in service.ask(*drained)

        service.ask("schedule", "set", "--automation", "approve")
        service.ask("drain", first.name)
        plan = eventually(lambda: waiting_plan(program, "lab"))
        assert lab.placement() == {"a": first.name, "b": first.name, "c": second.name}
        assert "done" in service.ask("approve", plan, "--wait")
        told = program.ask("GET", f"/clusters/lab/plans/{plan}")
        assert {step["state"] for step in told["steps"]} == {"done"}
        assert all(step["downtime_ms"] is not None for step in told["steps"])
        where = {vm["id"]: vm["host_id"] for vm in service.ask_json("vms")}
        assert first.name not in where.values()
        assert_sound(lab, where)
        # What was seen again is what is wanted, whatever libvirt knows of it.
        assert program.ask("GET", "/clusters/lab/vms/a")["priority"] == 9
        done = {(entry["actor"], entry["action"]) for entry in service.ask_json("audit")}
        assert {("admin", "plans.approve"), ("foreswap", "plans.done")} <= done
        assert service.stop() == 0
    assert_sound(lab, where)
