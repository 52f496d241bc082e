"""A copy that libvirt was just ending counted as one that runs.

The process that drove a migration was killed, and the destination's daemon ended what it had
received. The next process looked in that instant, saw the VM run at its destination, and left the
step out as made already. The VM was at its source, where it stayed.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

if find_spec("libvirt") is None and os.environ.get("CI") != "true":
    pytest.skip("libvirt's binding is not installed", allow_module_level=True)

import libvirt

from executor.kvm.api import Connection, RunState


class Domain:
    """A domain in one state of libvirt's."""

    def __init__(self, state: int) -> None:
        self._state = state

    def state(self) -> list[int]:
        """Return the state and no reason."""
        return [self._state, 0]


class Host:
    """A host with one domain."""

    def __init__(self, state: int) -> None:
        self._domain = Domain(state)

    def lookupByUUIDString(self, uuid: str) -> Domain:  # noqa: N802 - libvirt's name
        """Return the domain."""
        return self._domain


class HostConnection(Connection):
    """A connection to such a host."""

    def __init__(self, state: int) -> None:
        self._conn = Host(state)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (libvirt.VIR_DOMAIN_RUNNING, RunState.RUNNING),
        (libvirt.VIR_DOMAIN_SHUTDOWN, RunState.OFF),
        (libvirt.VIR_DOMAIN_SHUTOFF, RunState.OFF),
        (libvirt.VIR_DOMAIN_CRASHED, RunState.OFF),
    ],
)
def test_a_copy_that_is_being_ended_does_not_run(state: int, expected: RunState) -> None:
    """Its processors stand still for good, whether or not its process has gone."""
    assert HostConnection(state).state("11111111-0000-0000-0000-000000000000") is expected
