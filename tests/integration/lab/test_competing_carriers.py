"""Two processes on one cluster of real hosts: one acts at a time, whatever signals they get."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import libvirt

from executor.records import MoveChanged, PlanBegun
from executor.states import MoveEvent
from tests.integration.lab.carrier_process import DONE, END_TIMEOUT_S, LOST, Task, started
from tests.integration.lab.carrying import (
    PARAMS,
    SLOW_MBIT_PER_S,
    assert_well_ended,
    go,
    make_config,
    make_plan,
    read_journal,
)
from tests.integration.lab.hosts import Lab
from tests.integration.lab.machines import wait_until

LONG_S, SHORT_S = 600.0, 3.0


def make_task(lab: Lab, ttl_s: float) -> Task:
    """Start two guests and return the task that moves both, one to each side."""
    source, destination, third, _ = lab.hosts
    lab.start_guests({"vm1": source, "vm2": source})
    plan = make_plan(go("vm1", source, destination), go("vm2", source, third))
    return Task(config=make_config(lab), plan=plan, params=PARAMS, ttl_s=ttl_s)


def accepted(folder: Path) -> list[MoveChanged]:
    """Return the records of migrations that were begun."""
    journal = folder / "journal"
    records = read_journal(journal) if journal.exists() else ()
    changes = [record for record in records if isinstance(record, MoveChanged)]
    return [record for record in changes if record.event is MoveEvent.ACCEPTED]


def test_of_two_processes_one_acts(lab: Lab, tmp_path: Path) -> None:
    """Each guest is moved once, all under one token; the other process finds nothing to do."""
    _, destination, third, _ = lab.hosts
    task = make_task(lab, LONG_S)
    with started(tmp_path, task) as first, started(tmp_path, task) as second:
        assert [first.wait(END_TIMEOUT_S), second.wait(END_TIMEOUT_S)] == [DONE, DONE]
    records = read_journal(tmp_path / "journal")
    assert len([record for record in records if isinstance(record, PlanBegun)]) == 1
    assert {record.token for record in records} == {1}
    assert [record.step_idx for record in accepted(tmp_path)] == [0, 1]
    assert_well_ended(lab, records, {"vm1": destination.name, "vm2": third.name})


def test_a_process_stopped_beyond_its_lease_starts_nothing_more(lab: Lab, tmp_path: Path) -> None:
    """The second sees its moves through; continued, the first finds that it has lost the lease.

    Where it was stopped while it acted, the second has ended it.
    """
    source, destination, third, _ = lab.hosts
    task = make_task(lab, SHORT_S)
    source.slow_link(SLOW_MBIT_PER_S)
    with started(tmp_path, task) as first:
        wait_until(lambda: len(accepted(tmp_path)) == 2, 60.0, "both guests are under way")
        os.kill(first.pid, signal.SIGSTOP)
        source.unslow_link()
        with started(tmp_path, task) as second:
            assert second.wait(END_TIMEOUT_S) == DONE
        written = (tmp_path / "journal").read_bytes()
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(END_TIMEOUT_S) in (LOST, -signal.SIGKILL)
    assert (tmp_path / "journal").read_bytes() == written
    assert [(record.step_idx, record.token) for record in accepted(tmp_path)] == [(0, 1), (1, 1)]
    records = read_journal(tmp_path / "journal")
    assert {record.token for record in records} == {1, 2}
    assert_well_ended(lab, records, {"vm1": destination.name, "vm2": third.name})


def test_a_process_stopped_between_two_moves_makes_no_second(lab: Lab, tmp_path: Path) -> None:
    """Continued while its successor works on the next step, it leaves that alone."""
    source, destination, third, _ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    plan = make_plan(go("vm1", source, destination), go("vm1", destination, third))
    task = Task(config=make_config(lab), plan=plan, params=PARAMS, ttl_s=SHORT_S)
    source.slow_link(SLOW_MBIT_PER_S)
    destination.slow_link(SLOW_MBIT_PER_S)

    def moves_on() -> bool:
        found = third.domain_states().get("vm1")
        return found == libvirt.VIR_DOMAIN_PAUSED

    with started(tmp_path, task) as first:
        wait_until(lambda: len(accepted(tmp_path)) == 1, 60.0, "the guest is under way")
        os.kill(first.pid, signal.SIGSTOP)
        source.unslow_link()
        with started(tmp_path, task) as second:
            wait_until(moves_on, 60.0, "the second process makes the second move")
            os.kill(first.pid, signal.SIGCONT)
            assert first.wait(END_TIMEOUT_S) in (LOST, -signal.SIGKILL)
            destination.unslow_link()
            assert second.wait(END_TIMEOUT_S) == DONE
    assert [(record.step_idx, record.token) for record in accepted(tmp_path)] == [(0, 1), (1, 2)]
    assert_well_ended(lab, read_journal(tmp_path / "journal"), {"vm1": third.name})
