"""Where readings come from, as the monitor sees it."""

from __future__ import annotations

from typing import Protocol

from executor.counters import VmCounters
from executor.monitor.host import HostCounters


class VmSource(Protocol):
    """The VMs of this host."""

    def read(self) -> tuple[VmCounters, ...]:
        """Return the counters of every VM of the host.

        :raises TemporaryError: if the hypervisor cannot be asked now; later it may
        """


class HostSource(Protocol):
    """The host itself."""

    def read(self) -> HostCounters:
        """Return the host's counters."""
