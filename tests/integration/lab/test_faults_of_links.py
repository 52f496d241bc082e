"""Links fail while guests are moved: cut, slow, far."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from executor.params import OnTimeout
from executor.states import MoveEvent, MoveState
from tests.integration.lab.carrying import (
    PARAMS,
    SLOW_MBIT_PER_S,
    assert_well_ended,
    carrying,
    events,
    go,
    on_its_way,
)
from tests.integration.lab.hosts import Lab


def test_link_is_cut_and_restored_during_a_move(lab: Lab, tmp_path: Path) -> None:
    """A short break is bridged by the network itself, or by another try."""
    source, destination, *_ = lab.hosts
    with on_its_way(lab, tmp_path) as carrier:
        destination.cut_link()
        lab.guests["vm1"].wait_ticking(num_ticks=10)
        destination.restore_link()
        source.unslow_link()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_link_is_cut_for_longer_than_the_stall_limit(lab: Lab, tmp_path: Path) -> None:
    """A move that sends nothing is stopped, and the guest stays where it is."""
    source, destination, *_ = lab.hosts
    params = replace(PARAMS, stall_s=2.0, max_attempts=1)
    with on_its_way(lab, tmp_path, params=params) as carrier:
        destination.cut_link()
        carrier.until_state(MoveState.CANCELLING)
        destination.restore_link()
        outcome = carrier.finish().outcomes[0]
        assert outcome.state is MoveState.FAILED
        assert "it sent nothing for 2 s" in outcome.reason
        assert_well_ended(lab, carrier.records(), {"vm1": source.name})


@pytest.mark.slow
def test_link_is_never_restored(lab: Lab, tmp_path: Path) -> None:
    """The daemons take half a minute to believe it; then the guest is at its source alone."""
    source, destination, *_ = lab.hosts
    params = replace(PARAMS, stall_s=2.0, max_attempts=1)
    with on_its_way(lab, tmp_path, params=params) as carrier:
        destination.cut_link()
        assert carrier.finish().outcomes[0].state is MoveState.FAILED
        assert_well_ended(lab, carrier.records(), {"vm1": source.name})


def test_slow_move_is_cancelled_at_its_time_limit(lab: Lab, tmp_path: Path) -> None:
    """It sends, but not fast enough: the guest stays at its source."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    source.slow_link(SLOW_MBIT_PER_S)
    params = replace(PARAMS, timeout_min_s=2.0, max_attempts=1)
    with carrying(lab, tmp_path, params=params) as carrier:
        carrier.begin(go("vm1", source, destination))
        outcome = carrier.finish().outcomes[0]
        assert outcome.state is MoveState.FAILED
        assert "it lasted too long" in outcome.reason
        assert_well_ended(lab, carrier.records(), {"vm1": source.name})


def test_slow_move_is_switched_to_post_copy_at_its_time_limit(lab: Lab, tmp_path: Path) -> None:
    """A guest that rewrites its memory faster than it can be sent runs at its destination."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source, memory_mib=96, dirty_mib=16, dirty_mib_per_s=16).wait_ticking()
    source.slow_link(32)
    params = replace(PARAMS, timeout_min_s=2.0, on_timeout=OnTimeout.POST_COPY)
    with carrying(lab, tmp_path, params=params, post_copy=True) as carrier:
        carrier.begin(go("vm1", source, destination))
        running = libvirt.VIR_DOMAIN_RUNNING
        carrier.until(lambda: destination.domain_states().get("vm1") == running, "it runs there")
        assert carrier.outcome().state is MoveState.POST_COPY
        source.unslow_link()
        carrier.finish()
        assert MoveEvent.SWITCH in events(carrier.records())
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_far_destination_is_reached(lab: Lab, tmp_path: Path) -> None:
    """Latency makes a move last, nothing more."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    address = destination.put_far_away(300).removeprefix("tcp://")
    with carrying(lab, tmp_path, addresses={destination.name: address}) as carrier:
        carrier.begin(go("vm1", source, destination))
        outcome = carrier.finish().outcomes[0]
        assert outcome.attempts == 1
        assert_well_ended(lab, carrier.records(), {"vm1": destination.name})


def test_stream_to_a_far_destination_breaks_off(lab: Lab, tmp_path: Path) -> None:
    """The stream breaks off with megabytes of it on their way: the guest stays at its source."""
    source, destination, *_ = lab.hosts
    lab.start_guest("vm1", source).wait_ticking()
    address = destination.put_far_away(500).removeprefix("tcp://")
    params = replace(PARAMS, max_attempts=1)
    addresses = {destination.name: address}
    with carrying(lab, tmp_path, params=params, addresses=addresses) as carrier:
        carrier.begin(go("vm1", source, destination, mib_per_s=4))
        carrier.until_sent(2)
        destination.bring_near()
        outcome = carrier.finish().outcomes[0]
        assert outcome.state is MoveState.FAILED
        assert_well_ended(lab, carrier.records(), {"vm1": source.name})
