"""Hosts fail while guests are moved: daemons are killed, memory is short, a host hangs."""

from __future__ import annotations

from pathlib import Path

from executor.states import MoveState
from tests.integration.lab.carrying import assert_well_ended, carrying, go, on_its_way
from tests.integration.lab.hosts import Lab


def test_destination_daemon_is_dead_before_the_move(lab: Lab, tmp_path: Path) -> None:
    """The step waits for the host and is made when its daemon is back."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    destination.kill_daemon()
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination))
        carrier.until(lambda: "cannot be reached" in carrier.outcome().reason, "it waits")
        destination.start_daemon()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_destination_daemon_is_killed_during_a_move(lab: Lab, tmp_path: Path) -> None:
    """The guest runs on at its source, and goes when the daemon is back."""
    source, destination, *_ = lab.hosts
    with on_its_way(lab, tmp_path) as carrier:
        destination.kill_daemon()
        carrier.until_state(MoveState.VERIFYING)
        source.unslow_link()
        destination.start_daemon()
        report = carrier.finish()
        assert report.outcomes[0].attempts > 1
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_source_daemon_is_killed_during_a_move(lab: Lab, tmp_path: Path) -> None:
    """What cannot be seen is not judged; the daemon that comes back stops the move, and it is made.

    QEMU sends on without its daemon, which may find all of it sent when it is back.
    """
    source, destination, *_ = lab.hosts
    with on_its_way(lab, tmp_path) as carrier:
        source.kill_daemon()
        source.unslow_link()
        source.start_daemon()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_destination_has_no_memory_for_the_guest(lab: Lab, tmp_path: Path) -> None:
    """QEMU there ends as it asks for the guest's memory; a later try finds room."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    destination.exhaust_memory()
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination))
        carrier.until_state(MoveState.BACKING_OFF)
        assert "Cannot allocate memory" in carrier.outcome().reason
        destination.restore_memory()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_destination_never_has_memory_for_the_guest(lab: Lab, tmp_path: Path) -> None:
    """After the last try the step is given up, and says why."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    destination.exhaust_memory()
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination))
        outcome = carrier.finish().outcomes[0]
        assert outcome.state is MoveState.FAILED
        assert outcome.attempts == 3
        assert "Cannot allocate memory" in outcome.reason
        assert_well_ended(lab, carrier.records(), {"vm1": source.name})


def test_destination_hangs_during_a_move(lab: Lab, tmp_path: Path) -> None:
    """Nothing is judged while every process of the host stands still; the move then ends well."""
    source, destination, *_ = lab.hosts
    with on_its_way(lab, tmp_path) as carrier:
        destination.freeze()
        source.unslow_link()
        for _ in range(10):
            carrier.executor.tick()
        destination.thaw()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})
