"""Reads the host and its VMs; a hypervisor that is down or hangs costs the VMs' figures only."""

from __future__ import annotations

from typing import Final

from executor.counters import VmCounters
from executor.monitor.background import Errand
from executor.monitor.rates import Reading
from executor.monitor.source import HostSource, VmSource
from executor.monitor.timekeeper import Timekeeper
from solver.domain.errors import ExecutionError

VM_WAIT_S: Final = 5.0
"""Half of the interval; libvirt answers for a hundred guests in a tenth of a second."""


class Sampler:
    """Takes readings.

    Parameters
    ----------
    host, vms
        What is read; ``vms`` is ``None`` where there is no hypervisor.
    time
        The clocks.
    vm_wait_s
        How long the hypervisor may take. A call that takes longer goes on beside the loop, and no
        other is begun before it has ended.
    """

    def __init__(
        self,
        host: HostSource,
        vms: VmSource | None,
        time: Timekeeper,
        *,
        vm_wait_s: float = VM_WAIT_S,
    ) -> None:
        self._host = host
        self._vms = vms
        self._time = time
        self._vm_wait_s = vm_wait_s
        self._errand: Errand[tuple[VmCounters, ...]] = Errand("vm-reading")

    def read(self) -> Reading:
        """Return a reading; never raises for what the hypervisor does."""
        before_s = self._time.elapsed_s()
        host = self._host.read()
        host_s = self._time.elapsed_s()
        vms, reason = self._read_vms()
        after_s = self._time.elapsed_s()
        return Reading(
            at=self._time.now(),
            host=host,
            host_s=(before_s + host_s) / 2,
            vms=vms,
            vms_s=(host_s + after_s) / 2,
            reason=reason,
        )

    def _read_vms(self) -> tuple[tuple[VmCounters, ...] | None, str]:
        if self._vms is None:
            return (), ""
        try:
            if self._errand.busy:
                # An answer that comes so late tells of an instant that nobody knows.
                self._errand.take()
            if self._errand.busy:
                return None, "an earlier question to the hypervisor is not answered yet"
            self._errand.begin(self._vms.read)
            found = self._errand.take(wait_s=self._vm_wait_s)
        except ExecutionError as error:
            return None, str(error)
        if found is None:
            return None, f"the hypervisor did not answer within {self._vm_wait_s:g} s"
        return found, ""
