"""The instant at which a guest is handed over: paused at its source, not yet told to run elsewhere.

Whoever drives the move dies then. Libvirt leaves the guest paused at its source, whether or not it
runs at its destination, and leaves it to others to find out.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from executor.kvm.config import Mode
from tests.integration.lab.carrier_process import Task, started
from tests.integration.lab.carrying import (
    PARAMS,
    assert_well_ended,
    carrying,
    go,
    make_config,
    make_plan,
)
from tests.integration.lab.machines import wait_until

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab, LabHost

GUEST = "vm1"
REQUEST_S = 0.3
"""From the end of the memory's transfer until the destination was asked to let the guest run."""


def state(host: LabHost) -> list[int] | None:
    """Return state and reason of a host's copy of the guest; ``None`` if there is none."""
    try:
        return list(host.domain(GUEST).state())
    except libvirt.libvirtError:
        return None


def is_paused(host: LabHost) -> bool:
    """Whether a host's copy of the guest is paused by a migration."""
    return state(host) == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION]


def runs(host: LabHost) -> bool:
    """Whether a host's copy of the guest runs."""
    found = state(host)
    return found is not None and found[0] == libvirt.VIR_DOMAIN_RUNNING


def has_sent_all(host: LabHost) -> bool:
    """Whether a host has noted that the guest's memory is sent, and waits for what comes of it."""
    status = host.folder / "run" / "qemu" / f"{GUEST}.xml"
    return "phase='perform3_done'" in status.read_text(encoding="utf-8")


def task(lab: Lab, mode: Mode) -> Task:
    """Return the move of the guest from the first host to the second."""
    source, destination, *_ = lab.hosts
    plan = make_plan(go(GUEST, source, destination))
    return Task(config=make_config(lab, mode=mode), plan=plan, params=PARAMS)


@pytest.mark.parametrize("mode", Mode)
def test_guest_runs_and_nobody_has_told_its_source(lab: Lab, tmp_path: Path, mode: Mode) -> None:
    """The copy at the source, paused with all its memory, is ended, and its definition removed.

    Once it was left there for ever: the step was done, the guest ran at its destination, and
    whoever resumed the other copy would have had it twice.
    """
    source, destination, *_ = lab.hosts
    lab.start_guest(GUEST, source).wait_ticking()
    with started(tmp_path, task(lab, mode)) as process:
        wait_until(lambda: is_paused(source), 60.0, "the guest is handed over")
        destination.freeze_daemon()
        wait_until(lambda: has_sent_all(source), 30.0, "the guest's memory is sent")
        time.sleep(REQUEST_S)
        if mode is Mode.CLIENT_MANAGED:
            os.kill(process.pid, signal.SIGSTOP)
        else:
            source.freeze_daemon()
        destination.thaw()
        wait_until(lambda: runs(destination), 30.0, "the guest runs at its destination")
        if mode is Mode.PEER_TO_PEER:
            source.kill_daemon()
    if mode is Mode.PEER_TO_PEER:
        source.start_daemon()
    wait_until(lambda: is_paused(source), 30.0, "the guest is left paused at its source")
    with carrying(lab, tmp_path, mode=mode) as carrier:
        assert carrier.executor.recover()
        assert carrier.finish().outcomes[0].attempts == 1
        assert_well_ended(lab, carrier.records(), {GUEST: destination.name})
    assert source.domain_states() == {}
    assert destination.domain(GUEST).isPersistent()


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param((), id="process"),
        pytest.param((0,), id="source", marks=pytest.mark.slow),
        pytest.param((1,), id="destination", marks=pytest.mark.slow),
        pytest.param((0, 1), id="all"),
    ],
)
def test_whoever_dies_while_a_guest_is_handed_over(
    lab: Lab, tmp_path: Path, hosts: tuple[int, ...], mode: Mode
) -> None:
    """The process, and the daemons with it: the guest goes on at one end, and then arrives."""
    source, destination, *_ = lab.hosts
    lab.start_guest(GUEST, source).wait_ticking()
    with started(tmp_path, task(lab, mode)):
        wait_until(lambda: is_paused(source), 60.0, "the guest is handed over")
        for idx in hosts:
            lab.hosts[idx].kill_daemon()
    for idx in hosts:
        lab.hosts[idx].start_daemon()
    with carrying(lab, tmp_path, mode=mode) as carrier:
        assert carrier.executor.recover()
        carrier.finish()
        assert_well_ended(lab, carrier.records(), {GUEST: destination.name})
    assert source.domain_states() == {}
    assert destination.domain(GUEST).isPersistent()
