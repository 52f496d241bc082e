"""What must hold of the guests after everything: none lost, none twice, none paused."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import libvirt

from tests.integration.lab.ticks import miscounted

if TYPE_CHECKING:
    from tests.integration.lab.host import LabHost
    from tests.integration.lab.hosts import Lab

SETTLE_TIMEOUT_S = 20.0
NUM_TICKS = 2


def assert_sound(
    lab: Lab, expected: Mapping[str, str] | None = None, *, settle_s: float = SETTLE_TIMEOUT_S
) -> None:
    """Check that each guest runs exactly once, as QEMU and libvirt agree, and ticks.

    A guest that two hosts ever ran at once has two copies counting into one log; so its ticks
    tell, even when one copy has ended since.

    :param expected: host name of each guest that should run; ``None``: every guest that was
        started, wherever
    :param settle_s: how long libvirt may take to clean up after a fault
    :raises AssertionError: saying all that is wrong
    """
    deadline_s = time.monotonic() + settle_s
    wrong = unsoundness(lab, expected)
    while wrong and time.monotonic() < deadline_s:
        time.sleep(0.1)
        wrong = unsoundness(lab, expected)
    assert not wrong, "; ".join(wrong)
    for name in lab.guests if expected is None else expected:
        guest = lab.guests[name]
        guest.wait_ticking(num_ticks=NUM_TICKS)
        two_copies = miscounted(guest.ticks())
        assert not two_copies, f"{name}: {two_copies}"


def unsoundness(lab: Lab, expected: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with the guests now, but for their ticks; empty if nothing is."""
    names = set(lab.guests if expected is None else expected)
    processes: dict[str, list[str]] = {name: [] for name in names}
    running: dict[str, list[str]] = {name: [] for name in names}
    wrong: list[str] = []
    for host in filter(lambda host: host.is_on, lab.hosts):
        for qemu in host.qemu_processes():
            processes.setdefault(qemu.guest_name, []).append(host.name)
        for name, state in _active_states(host, wrong).items():
            running.setdefault(name, []).append(host.name)
            if state != libvirt.VIR_DOMAIN_RUNNING:
                wrong.append(f"{name} is in state {state} on {host.name}")
    for name in sorted(processes.keys() | running.keys()):
        wrong += _differences(name, names, processes.get(name, []), running.get(name, []))
        if expected and processes.get(name, []) != [expected.get(name)]:
            wrong.append(f"{name} should run on {expected.get(name)}")
    return wrong


def _active_states(host: LabHost, wrong: list[str]) -> dict[str, int]:
    try:
        states = host.domain_states()
    except libvirt.libvirtError as error:
        wrong.append(f"libvirtd of {host.name} does not answer: {error}")
        return {}
    return {name: state for name, state in states.items() if state != libvirt.VIR_DOMAIN_SHUTOFF}


def _differences(name: str, names: set[str], processes: list[str], running: list[str]) -> list[str]:
    wrong = []
    if name not in names:
        wrong.append(f"{name} should not run, but does on {processes or running}")
    elif len(processes) != 1:
        wrong.append(f"{name} has QEMU processes on {processes}, must be one")
    if running != processes:
        wrong.append(f"{name} is on {running} for libvirt, its processes are on {processes}")
    return wrong
