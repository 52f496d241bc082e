"""What an operator types, on real hosts: looking, executing, stopping, going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.lab.carrying import write_hosts_file
from tests.integration.lab.machines import wait_until
from tests.integration.lab.soundness import assert_sound

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab

FORESWAP = (Path(sys.executable).with_name("foreswap"),)
SLOW_MIB_PER_S = 6
FAST_MIB_PER_S = 200


class Desk:
    """A folder with a hosts file, and commands begun from it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self._begun: list[subprocess.Popen[str]] = []
        self._environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self.hosts = write_hosts_file(folder / "hosts.toml", lab.hosts)

    def plan(self, *moves: tuple[str, str, str], mib_per_s: int = FAST_MIB_PER_S) -> Path:
        """Write a plan of moves: guest, source, destination."""
        steps = [
            {
                "kind": "migrate",
                "vm_id": vm,
                "source_id": source,
                "destination_id": destination,
                "start_ms": 0,
                "end_ms": 5000,
                "bandwidth_mib_per_s": mib_per_s,
            }
            for vm, source, destination in moves
        ]
        document = {"foreswap": "plan", "version": 1, "made_at": "2026-01-01T00:00:00Z"}
        path = self.folder / f"plan-{len(list(self.folder.glob('plan-*')))}.json"
        path.write_text(json.dumps({**document, "steps": steps}), encoding="utf-8")
        return path

    def begin(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Begin a command."""
        process = subprocess.Popen(
            [*FORESWAP, *map(str, arguments)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._begun.append(process)
        return process

    def run(self, *arguments: str | Path) -> tuple[int, str]:
        """Run a command to its end and return its exit code and what it said."""
        process = self.begin(*arguments)
        said, _ = process.communicate(timeout=100)
        return process.returncode, said

    def execute(self, plan: Path) -> subprocess.Popen[str]:
        """Begin to execute a plan."""
        return self.begin("execute", self.hosts, "--plan", plan, "--journal", self.journal)

    def wait_for(self, words: str) -> None:
        """Wait until the journal says something."""

        def said() -> bool:
            return self.journal.exists() and words in self.journal.read_text(encoding="ascii")

        wait_until(said, 60.0, f"the journal says {words!r}")

    def clear(self) -> None:
        """End what is still running."""
        for process in self._begun:
            process.kill()
            process.wait()


@pytest.fixture
def desk(lab: Lab, tmp_path: Path) -> Iterator[Desk]:
    """An operator's desk before the lab."""
    desk = Desk(lab, tmp_path)
    yield desk
    desk.clear()


def test_snapshot_tells_what_hosts_hold(lab: Lab, desk: Desk) -> None:
    """As a table, and as a document that the other commands read."""
    lab.start_guest("web", lab.hosts[0])
    lab.start_guest("db", lab.hosts[1])
    document = desk.folder / "cluster.json"
    code, said = desk.run("snapshot", desk.hosts, "--json", document)
    assert code == 0, said
    assert "4 hosts, 2 VMs" in said
    told: dict[str, Any] = json.loads(document.read_text(encoding="utf-8"))
    assert {vm["id"]: vm["host_id"] for vm in told["vms"]} == {"web": "host1", "db": "host2"}
    assert desk.run("check", document)[0] == 0


def test_a_host_that_is_down_is_shown_as_unreachable(lab: Lab, desk: Desk) -> None:
    """The others are seen all the same."""
    lab.hosts[3].kill_daemon()
    code, said = desk.run("snapshot", desk.hosts)
    assert code == 0, said
    (line,) = (line for line in said.splitlines() if "host4" in line)
    assert "unreachable" in line
    assert said.count("unreachable") == 1


def test_execute_moves_and_keeps_what_it_took(lab: Lab, desk: Desk) -> None:
    """Both guests arrive; a second start with the same plan's journal begins nothing anew."""
    lab.start_guests({"a": lab.hosts[0], "b": lab.hosts[1]})
    plan = desk.plan(("a", "host1", "host2"), ("b", "host2", "host3"))
    moves = desk.folder / "moves.json"
    options = ("--plan", plan, "--journal", desk.journal, "--calibration", moves)
    code, said = desk.run("execute", desk.hosts, *options)
    assert code == 0, said
    assert "2 of 2 steps done" in said
    assert_sound(lab, {"a": "host2", "b": "host3"})
    assert len(json.loads(moves.read_text(encoding="utf-8"))["moves"]) == 2
    code, said = desk.run("execute", desk.hosts, "--journal", desk.journal)
    assert code == 2
    assert "expected a plan, got none" in said


def test_ctrl_c_cancels_what_is_under_way(lab: Lab, desk: Desk) -> None:
    """The guest stays where it was, and the command says so and ends with an error."""
    lab.start_guests({"a": lab.hosts[0]})
    process = desk.execute(desk.plan(("a", "host1", "host2"), mib_per_s=SLOW_MIB_PER_S))
    desk.wait_for('"state":"running","step_idx":0')
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "stopped by the operator" in said
    assert_sound(lab, {"a": "host1"})


def test_a_killed_command_is_taken_up_by_the_next(lab: Lab, desk: Desk) -> None:
    """The move goes on without it; the next call follows it to its end and makes the rest."""
    lab.start_guests({"a": lab.hosts[0], "b": lab.hosts[0]})
    slow = desk.plan(("a", "host1", "host2"), ("b", "host1", "host3"), mib_per_s=SLOW_MIB_PER_S)
    process = desk.execute(slow)
    desk.wait_for('"state":"running","step_idx":0')
    process.send_signal(signal.SIGKILL)
    process.wait()
    code, said = desk.run("execute", desk.hosts, "--journal", desk.journal)
    assert code == 0, said
    assert "taking up the plan" in said
    assert_sound(lab, {"a": "host2", "b": "host3"})


def test_of_two_commands_one_acts(lab: Lab, desk: Desk) -> None:
    """Whatever their journals: the second one says who does, and begins nothing."""
    lab.start_guests({"a": lab.hosts[0], "b": lab.hosts[1]})
    first = desk.execute(desk.plan(("a", "host1", "host2"), mib_per_s=SLOW_MIB_PER_S))
    desk.wait_for('"state":"running","step_idx":0')
    other = desk.plan(("b", "host2", "host1"))
    options = ("--plan", other, "--journal", desk.folder / "another")
    code, said = desk.run("execute", desk.hosts, *options)
    assert code == 1
    assert "is held" in " ".join(said.split()), said
    first.communicate(timeout=100)
    assert first.returncode == 0
    assert_sound(lab, {"a": "host2", "b": "host2"})


def test_wrong_input_begins_nothing(lab: Lab, desk: Desk) -> None:
    """Each mistake is one line, with its place."""
    plan = desk.plan(("ghost", "host1", "host2"))
    code, said = desk.run("execute", desk.folder / "absent.toml", "--plan", plan, "--journal", "j")
    assert (code, "No such file" in said) == (2, True), said
    broken = desk.folder / "broken.toml"
    broken.write_text(desk.hosts.read_text(encoding="utf-8") + "colour = 1\n", encoding="utf-8")
    code, said = desk.run("snapshot", broken)
    assert (code, "hosts[3].colour" in said) == (2, True), said
    code, said = desk.run("execute", desk.hosts, "--plan", plan, "--journal", desk.journal)
    assert (code, "'ghost' does not exist any more" in " ".join(said.split())) == (1, True), said
