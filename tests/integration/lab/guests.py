"""Guests of the lab: what they are made of, and what they were seen to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from tests.integration.lab.guest import KERNEL_ARGUMENTS, GuestImage
from tests.integration.lab.machines import wait_until
from tests.integration.lab.ticks import Tick, largest_gap_s, parse_ticks, read_lines

BOOT_TIMEOUT_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """What a guest is made of.

    Parameters
    ----------
    memory_mib
        At least 80: its kernel takes some 60.
    dirty_mib, dirty_mib_per_s
        How much of its memory it holds filled with random bytes, and how fast it rewrites that.
    busy_percent
        Share of a CPU it keeps busy.
    disk
        A qcow2 image, as ``make_disk`` of the lab or of a host returns it; ``None`` for none.
    metadata, devices
        Further XML, put into the elements of these names.
    arguments
        Further arguments of its kernel.
    """

    name: str
    memory_mib: int = 80
    num_vcpus: int = 1
    dirty_mib: int = 0
    dirty_mib_per_s: int = 0
    busy_percent: int = 0
    disk: Path | None = None
    metadata: str = ""
    devices: str = ""
    arguments: str = ""


class LabGuest:
    """A guest, wherever it runs, by what it writes to its serial port."""

    def __init__(self, *, spec: GuestSpec, log: Path) -> None:
        self.spec = spec
        self.name = spec.name
        self.log = log
        self._seen = log.with_suffix(".seen")

    def ticks(self) -> tuple[Tick, ...]:
        """Return all its ticks so far, over all boots and hosts."""
        return parse_ticks(read_lines(self._seen))

    def said(self, line: str) -> bool:
        """Return whether it has written a line: ``boot``, ``filled``, ``power off``."""
        return any(said == line for _, said in read_lines(self._seen))

    def wait_ticking(self, *, num_ticks: int = 1, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Wait for so many further ticks and until its memory is filled.

        :raises RuntimeError: if the guest lacks a part of itself, in its own words
        """
        enough = len(self.ticks()) + num_ticks
        wait_until(
            lambda: len(self.ticks()) >= enough, timeout_s, f"{num_ticks} ticks of {self.name}"
        )
        if lacks := [said for _, said in read_lines(self._seen) if said.startswith("cannot ")]:
            raise RuntimeError(f"guest {self.name}: {'; '.join(lacks)}")
        if self.spec.dirty_mib:
            wait_until(lambda: self.said("filled"), timeout_s, f"memory of {self.name} is filled")

    def largest_gap_s(self, since_s: float, until_s: float | None = None) -> float:
        """Return the longest time without a tick between two instants of ``time.monotonic``."""
        return largest_gap_s(
            self.ticks(), since_s, time.monotonic() if until_s is None else until_s
        )


def domain_xml(spec: GuestSpec, *, image: GuestImage, log: Path) -> str:
    """Return libvirt's description of a guest, the same on every host."""
    load = f"dirty_mib={spec.dirty_mib} dirty_mib_per_s={spec.dirty_mib_per_s}"
    arguments = f"{KERNEL_ARGUMENTS} {load} busy_percent={spec.busy_percent} {spec.arguments}"
    return f"""
<domain type='qemu'>
  <name>{escape(spec.name)}</name>
  <metadata>{spec.metadata}</metadata>
  <memory unit='MiB'>{spec.memory_mib}</memory>
  <vcpu>{spec.num_vcpus}</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{escape(str(image.kernel))}</kernel>
    <initrd>{escape(str(image.initrd))}</initrd>
    <cmdline>{escape(arguments.strip())}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='custom' match='exact'><model fallback='forbid'>qemu64</model></cpu>
  <on_poweroff>destroy</on_poweroff>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <serial type='file'><source path={quoteattr(str(log))} append='on'/></serial>
    <memballoon model='virtio'><stats period='1'/></memballoon>
    {_disk_xml(spec.disk)}
    {spec.devices}
  </devices>
</domain>"""


def _disk_xml(disk: Path | None) -> str:
    if disk is None:
        return ""
    return f"""<disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/>
      <source file={quoteattr(str(disk))}/><target dev='vda' bus='virtio'/>
    </disk>"""
