"""Reads the host and its VMs; a hypervisor that is down or hangs costs the VMs' figures only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from executor.counters import VmCounters
from executor.monitor.background import Errand
from executor.monitor.rates import Reading
from executor.monitor.source import HostSource, VmSource
from executor.monitor.timekeeper import Timekeeper
from solver.domain.errors import ExecutionError

VM_WAIT_S: Final = 8.0
"""Most of the interval; libvirt asks each guest's QEMU in turn, which takes milliseconds each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _VmReading:
    """What the hypervisor said; ``None`` and why, if it said nothing."""

    vms: tuple[VmCounters, ...] | None
    at_s: float
    reason: str = ""


class Sampler:
    """Takes readings.

    Parameters
    ----------
    host, vms
        What is read; ``vms`` is ``None`` where there is no hypervisor.
    time
        The clocks.
    vm_wait_s
        How long the hypervisor is waited for. A question that takes longer goes on beside the
        loop; its answer is part of the first reading after it came, and none is asked before.
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
        self._errand: Errand[_VmReading] = Errand("vm-reading")

    def read(self) -> Reading:
        """Return a reading; never raises for what the hypervisor does."""
        before_s = self._time.elapsed_s()
        host = self._host.read()
        host_s = (before_s + self._time.elapsed_s()) / 2
        # Of the host's reading, not of the end: VMs may take seconds, one time more than another.
        at = self._time.now()
        vms = self._read_vms()
        return Reading(
            at=at,
            host=host,
            host_s=host_s,
            vms=vms.vms,
            vms_s=vms.at_s,
            reason=vms.reason,
        )

    def _read_vms(self) -> _VmReading:
        if self._vms is None:
            return _VmReading(vms=(), at_s=self._time.elapsed_s())
        source = self._vms
        late = self._errand.busy
        if not late:
            self._errand.begin(lambda: self._ask(source))
        found = self._errand.take(wait_s=0.0 if late else self._vm_wait_s)
        if found is not None:
            return found
        reason = f"the hypervisor has not answered for {self._vm_wait_s:g} s or more"
        return _VmReading(vms=None, at_s=self._time.elapsed_s(), reason=reason)

    def _ask(self, source: VmSource) -> _VmReading:
        """Ask in the errand's thread; guests are asked one after the other, always in one order."""
        before_s = self._time.elapsed_s()
        vms: tuple[VmCounters, ...] | None = None
        reason = ""
        try:
            vms = source.read()
        except ExecutionError as error:
            reason = str(error)
        return _VmReading(vms=vms, at_s=(before_s + self._time.elapsed_s()) / 2, reason=reason)
