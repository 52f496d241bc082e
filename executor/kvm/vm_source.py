"""The VMs of one host as the monitor reads them: counters, with no more than the right to look."""

from __future__ import annotations

from contextlib import suppress

from executor.counters import VmCounters
from executor.kvm.api import Connection, Fault, HypervisorError
from executor.kvm.stats import vm_counters
from solver.domain.errors import TemporaryError
from solver.domain.units import VmId

RETRY_S = 10.0


class LibvirtVmSource:
    """Reads the counters of a host's running VMs; connects when it has to.

    Parameters
    ----------
    uri
        Of the host's libvirt daemon.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: Connection | None = None

    def read(self) -> tuple[VmCounters, ...]:
        """Return the counters of every running VM.

        Raises
        ------
        TemporaryError
            If libvirt cannot be asked now.
        """
        try:
            if self._connection is None or not self._connection.alive:
                self._drop()
                self._connection = Connection(self._uri, read_only=True)
            records = self._connection.stats()
        except HypervisorError as error:
            if error.fault is Fault.SILENT:
                self._drop()
            raise TemporaryError(str(error), delay_s=RETRY_S) from error
        return tuple(
            vm_counters(stats, vm_id=VmId(name), name=name, uuid=uuid)
            for uuid, name, stats in records
        )

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(HypervisorError):
                connection.close()


def open_vm_source(uri: str) -> LibvirtVmSource:
    """Return the VMs of the libvirt at ``uri``; it need not answer yet."""
    return LibvirtVmSource(uri)
