"""Others meddle with guests that are to be moved, or are: they end them, or move them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt

from executor.states import MoveState
from tests.integration.lab.carrying import (
    SLOW_MBIT_PER_S,
    assert_well_ended,
    carrying,
    go,
    on_its_way,
)
from tests.integration.lab.hosts import Lab
from tests.integration.lab.machines import wait_until

if TYPE_CHECKING:
    from tests.integration.lab.hosts import LabHost


def move(name: str, source: LabHost, destination: LabHost) -> None:
    """Move a guest as an operator does by hand."""
    flags = (
        libvirt.VIR_MIGRATE_LIVE
        | libvirt.VIR_MIGRATE_PERSIST_DEST
        | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    )
    uri = {libvirt.VIR_MIGRATE_PARAM_URI: destination.migration_uri}
    source.domain(name).migrate3(destination.connection, uri, flags)


def is_under_way(name: str, host: LabHost) -> bool:
    """Whether a host sends a guest away."""
    none = libvirt.VIR_DOMAIN_JOB_NONE
    return bool(host.domain(name).jobStats().get("type", none) != none)


def test_guest_is_ended_before_its_step(lab: Lab, tmp_path: Path) -> None:
    """Its step is left out, the next one is made."""
    source, destination, *_ = lab.hosts
    lab.start_guests({"vm1": source, "vm2": source})
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination), go("vm2", source, destination))
        source.domain("vm1").destroy()
        first, second = carrier.finish().outcomes
        assert first.state is MoveState.SKIPPED
        assert second.state is MoveState.DONE
        expected = {"vm2": destination.name}
        assert_well_ended(lab, carrier.records(), expected, others_did=["vm1"])


def test_guest_is_ended_during_its_move(lab: Lab, tmp_path: Path) -> None:
    """It is not brought to life, and the plan goes on."""
    source, destination, *_ = lab.hosts
    lab.start_guests({"vm1": source, "vm2": destination})
    source.slow_link(SLOW_MBIT_PER_S)
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination), go("vm2", destination, source))
        carrier.until_sent(2)
        source.domain("vm1").destroy()
        first, second = carrier.finish().outcomes
        assert first.state is MoveState.FAILED
        assert second.state is MoveState.DONE
        expected = {"vm2": source.name}
        assert_well_ended(lab, carrier.records(), expected, others_did=["vm1"])


def test_guest_powers_off_during_its_move(lab: Lab, tmp_path: Path) -> None:
    """Asked to before, it shuts down while its memory is sent, and is off at its source."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source, arguments="power_off_s=5").wait_ticking()
    source.slow_link(SLOW_MBIT_PER_S)
    with carrying(lab, tmp_path) as carrier:
        carrier.driver.snapshot()
        carrier.begin(go("vm1", source, destination))
        source.domain("vm1").shutdown()
        carrier.until_state(MoveState.RUNNING)
        assert carrier.finish().outcomes[0].state is MoveState.FAILED
        assert source.domain_states() == {"vm1": libvirt.VIR_DOMAIN_SHUTOFF}
        assert_well_ended(lab, carrier.records(), {}, others_did=["vm1"])


def test_guest_was_moved_by_others_before_its_step(lab: Lab, tmp_path: Path) -> None:
    """The plan was made for another place: the step is left out."""
    source, destination, third, _ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination))
        move("vm1", source, third)
        outcome = carrier.finish().outcomes[0]
        assert outcome.state is MoveState.SKIPPED
        assert f"is on {third.name!r}" in outcome.reason
        assert_well_ended(lab, carrier.records(), {"vm1": third.name}, others_did=["vm1"])


def test_guest_is_being_moved_by_others_as_its_step_begins(lab: Lab, tmp_path: Path) -> None:
    """Two moves of one guest never happen: the step waits, and finds the guest gone."""
    source, destination, third, _ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    source.slow_link(SLOW_MBIT_PER_S)
    other = threading.Thread(target=move, args=("vm1", source, third))
    other.start()
    wait_until(lambda: is_under_way("vm1", source), 30.0, "it is being moved")
    with carrying(lab, tmp_path) as carrier:
        carrier.begin(go("vm1", source, destination))
        carrier.until_state(MoveState.BACKING_OFF)
        assert "under way already" in carrier.outcome().reason
        source.unslow_link()
        other.join()
        outcome = carrier.finish().outcomes[0]
        assert outcome.state is MoveState.SKIPPED
        assert_well_ended(lab, carrier.records(), {"vm1": third.name}, others_did=["vm1"])


def test_others_stop_a_move_and_take_the_guest_elsewhere(lab: Lab, tmp_path: Path) -> None:
    """The step is given up: who moves the guest now is not fought."""
    source, _, third, _ = lab.hosts
    with on_its_way(lab, tmp_path) as carrier:
        source.domain("vm1").abortJob()
        source.unslow_link()
        wait_until(lambda: not is_under_way("vm1", source), 30.0, "it was stopped")
        move("vm1", source, third)
        outcome = carrier.finish().outcomes[0]
        assert outcome.state in (MoveState.FAILED, MoveState.SKIPPED)
        assert_well_ended(lab, carrier.records(), {"vm1": third.name}, others_did=["vm1"])
