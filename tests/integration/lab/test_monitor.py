"""The monitor's figures of real guests are those of libvirt's shell and of /proc."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import libvirt
import pytest

from executor.counters import VmCounters, VmState
from executor.kvm.stats import vm_counters
from executor.monitor.host import PsutilHost
from executor.monitor.rates import Differences
from executor.monitor.rollup import Rollup
from executor.monitor.sample import NO_VMS, MinuteRecord
from executor.monitor.sampler import Sampler
from executor.monitor.timekeeper import SystemTimekeeper
from solver.domain.errors import TemporaryError
from solver.domain.units import HostId, VmId

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab, LabHost


class LabVms:
    """The guests of a lab's host, as libvirt tells of them."""

    def __init__(self, host: LabHost) -> None:
        self._host = host

    def read(self) -> tuple[VmCounters, ...]:
        """Return the counters of every guest."""
        try:
            told = self._host.connection.getAllDomainStats(0, 0)
        except libvirt.libvirtError as error:
            raise TemporaryError(str(error), delay_s=1.0) from error
        return tuple(
            vm_counters(
                record, vm_id=VmId(domain.name()), name=domain.name(), uuid=domain.UUIDString()
            )
            for domain, record in told
        )


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A guest's counters in seconds and KiB, by others than the monitor."""

    shell_used_s: float
    shell_waited_s: float
    shell_disk_kib: float
    process_used_s: float
    process_waited_s: float


def observe(host: LabHost, name: str, pid: int) -> Observed:
    """Read a guest by `virsh domstats` and by its process's files in /proc."""
    text = host.machine.run("virsh", "domstats", name)
    shell = {
        key: int(value)
        for key, value in re.findall(r"^\s+([\w.-]+)=(\d+)$", text, flags=re.MULTILINE)
    }
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    vcpu = next(
        task
        for task in Path(f"/proc/{pid}/task").iterdir()
        if (task / "comm").read_text(encoding="ascii").startswith("CPU 0")
    )
    waited_ns = (vcpu / "schedstat").read_text(encoding="ascii").split()[1]
    return Observed(
        shell_used_s=shell["cpu.time"] / 1e9,
        shell_waited_s=shell["vcpu.0.delay"] / 1e9,
        shell_disk_kib=(shell["block.0.rd.bytes"] + shell["block.0.wr.bytes"]) / 1024,
        process_used_s=(int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK"),
        process_waited_s=int(waited_ns) / 1e9,
    )


def minute_between(sampler: Sampler, differences: Differences) -> MinuteRecord:
    """Take the second reading and return what lies between the two."""
    sample = differences.sample(sampler.read())
    assert sample is not None
    rollup = Rollup(HostId("host1"))
    closed = [*rollup.add(sample), *rollup.close()]
    return closed[0]


def test_figures_agree_with_the_shell_and_proc(lab: Lab) -> None:
    """Use, waiting and disk of a busy guest are within 2 % of `virsh domstats` and of /proc.

    Others are read before and after each of the monitor's two readings, so that what happens
    between the reads on a busy machine is not taken for a difference.
    """
    host = lab.hosts[0]
    guest = lab.start_guest("vm1", host, busy_percent=40, disk=lab.make_disk("vm1"))
    guest.wait_ticking(num_ticks=10)
    (process,) = host.qemu_processes()
    sampler = Sampler(PsutilHost(), LabVms(host), SystemTimekeeper(), vm_wait_s=30.0)
    differences = Differences(max_span_s=300.0)
    around_first = [observe(host, "vm1", process.pid)]
    differences.sample(sampler.read())
    around_first.append(observe(host, "vm1", process.pid))
    guest.wait_ticking(num_ticks=200, timeout_s=300.0)
    around_second = [observe(host, "vm1", process.pid)]
    sample = differences.sample(sampler.read())
    around_second.append(observe(host, "vm1", process.pid))
    assert sample is not None
    (vm,) = sample.vms
    assert (vm.vm.name, vm.vm.state, vm.vm.num_vcpus) == ("vm1", VmState.RUNNING, 1)
    figures = vm.figures
    for name, gained in (
        ("shell_used_s", figures["cpu_used_millicores"] / 1000 * vm.span_s),
        ("process_used_s", figures["cpu_used_millicores"] / 1000 * vm.span_s),
        ("shell_waited_s", figures["cpu_waited_millicores"] / 1000 * vm.span_s),
        ("process_waited_s", figures["cpu_waited_millicores"] / 1000 * vm.span_s),
        ("shell_disk_kib", figures["disk_io_kib_per_s"] * vm.span_s),
    ):
        first = [getattr(each, name) for each in around_first]
        second = [getattr(each, name) for each in around_second]
        least, most = second[0] - first[1], second[1] - first[0]
        # The kernel tells a process's time in hundredths of a second.
        assert 0.98 * least - 0.02 <= gained <= 1.02 * most + 0.02, name
    demand = figures["cpu_used_millicores"] + figures["cpu_waited_millicores"]
    assert figures["cpu_demand_millicores"] == pytest.approx(demand)
    assert figures["cpu_used_millicores"] > 20


def test_guests_are_seen_again_when_their_daemon_is_back(lab: Lab) -> None:
    """While libvirtd is dead the host is sampled without guests; afterwards they count again."""
    host = lab.hosts[0]
    guest = lab.start_guest("vm1", host, busy_percent=20)
    guest.wait_ticking()
    sampler = Sampler(PsutilHost(), LabVms(host), SystemTimekeeper(), vm_wait_s=30.0)
    differences = Differences(max_span_s=300.0)
    differences.sample(sampler.read())
    host.kill_daemon()
    guest.wait_ticking(num_ticks=5)
    away = minute_between(sampler, differences)
    assert away.vms == ()
    assert NO_VMS in away.flags
    assert away.host.figures["cpu_used_millicores"].mean > 0
    host.start_daemon()
    guest.wait_ticking(num_ticks=5)
    (vm,) = minute_between(sampler, differences).vms
    assert vm.figures["cpu_used_millicores"].mean > 0
