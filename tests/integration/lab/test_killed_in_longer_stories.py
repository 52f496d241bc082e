"""The process is killed where a move is cancelled, tried again, or switched to post-copy."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from executor.kvm.config import Mode
from executor.params import OnTimeout
from executor.states import MoveEvent
from tests.integration.lab.carrier_process import Death, Task, run_to_its_end, started
from tests.integration.lab.carrying import (
    PARAMS,
    SLOW_MBIT_PER_S,
    assert_well_ended,
    carrying,
    go,
    make_config,
    make_plan,
)
from tests.integration.lab.hosts import Lab
from tests.integration.lab.machines import wait_until

GUEST = "vm1"
BESIDE = pytest.mark.parametrize(
    "after",
    [pytest.param(False, marks=pytest.mark.slow, id="before"), pytest.param(True, id="after")],
)
MODE = pytest.mark.parametrize(
    "mode", [Mode.PEER_TO_PEER, pytest.param(Mode.CLIENT_MANAGED, marks=pytest.mark.slow)]
)
SHORT_S = 1.0
"""Too short for any move over a slow link."""


@MODE
@BESIDE
@pytest.mark.parametrize("event", [MoveEvent.CANCEL, MoveEvent.RETURNED, MoveEvent.RETRY])
def test_killed_around_a_cancelled_move(
    lab: Lab, tmp_path: Path, event: MoveEvent, after: bool, mode: Mode
) -> None:
    """The next process finds the move under way or cancelled, and in the end the guest arrives."""
    source, destination, *_ = lab.hosts
    lab.start_guest(GUEST, source).wait_ticking()
    source.slow_link(SLOW_MBIT_PER_S)
    task = Task(
        config=make_config(lab, mode=mode),
        plan=make_plan(go(GUEST, source, destination)),
        params=replace(PARAMS, timeout_min_s=SHORT_S, timeout_factor=0.1),
        death=Death(event=event, after=after),
    )
    assert run_to_its_end(tmp_path, task) == -signal.SIGKILL
    source.unslow_link()
    with carrying(lab, tmp_path, mode=mode) as carrier:
        assert carrier.executor.recover()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {GUEST: destination.name})


def post_copy_task(lab: Lab, mode: Mode, death: Death | None) -> Task:
    """Return a move that is switched to post-copy."""
    source, destination, *_ = lab.hosts
    choices = {"memory_mib": 96, "dirty_mib": 16, "dirty_mib_per_s": 16}
    lab.start_guest(GUEST, source, **choices).wait_ticking()
    source.slow_link(SLOW_MBIT_PER_S)
    return Task(
        config=make_config(lab, mode=mode, post_copy=True),
        plan=make_plan(go(GUEST, source, destination)),
        params=replace(
            PARAMS, timeout_min_s=SHORT_S, timeout_factor=0.1, on_timeout=OnTimeout.POST_COPY
        ),
        death=death,
    )


def finish_post_copy(lab: Lab, folder: Path, mode: Mode) -> None:
    """See the move through in another process, and check what came of it."""
    source, destination, *_ = lab.hosts
    source.unslow_link()
    with carrying(lab, folder, mode=mode, post_copy=True) as carrier:
        assert carrier.executor.recover()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {GUEST: destination.name})


@MODE
@BESIDE
def test_killed_around_the_switch(lab: Lab, tmp_path: Path, after: bool, mode: Mode) -> None:
    """Written down and not yet asked for, the switch is asked for by the next process."""
    task = post_copy_task(lab, mode, Death(event=MoveEvent.SWITCH, after=after))
    assert run_to_its_end(tmp_path, task) == -signal.SIGKILL
    finish_post_copy(lab, tmp_path, mode)


@MODE
def test_killed_in_post_copy(lab: Lab, tmp_path: Path, mode: Mode) -> None:
    """With the guest's memory at both ends nothing is stopped: it arrives as a whole."""
    destination = lab.hosts[1]
    task = post_copy_task(lab, mode, None)

    def runs_there() -> bool:
        return destination.domain_states().get(GUEST) == libvirt.VIR_DOMAIN_RUNNING

    with started(tmp_path, task):
        wait_until(runs_there, 60.0, "the guest is in post-copy")
    finish_post_copy(lab, tmp_path, mode)
