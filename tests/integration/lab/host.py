"""One libvirt host of the lab, and everything that can befall it.

It is a machine of namespaces with a libvirtd of its own, plugged into the lab's switch.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import libvirt
import psutil

from tests.integration.lab import relay
from tests.integration.lab.cache import cache_folder, copy_changed
from tests.integration.lab.machines import Machine, MachineProcess, wait_until
from tests.integration.lab.pki import make_certificate
from tests.integration.lab.settings import MIGRATION_PORTS, TLS_PORT, write_settings

NETWORK = "10.99.0"
RELAY_ADDRESS_OFFSET = 100
QEMU = "/usr/bin/qemu-system-x86_64"
# Enough for QEMU itself under emulation, too little for the memory of any guest.
EXHAUSTED_BYTES = 1160 << 20
READY_TIMEOUT_S = 60.0

# Refused calls are answers that tests expect; libvirt would print each of them.
libvirt.registerErrorHandler(lambda *_: None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuProcess:
    """A QEMU process of a host, with its identity on the machine outside."""

    pid: int
    guest_name: str


class LabHost:
    """One libvirt host.

    Attributes
    ----------
    name
        Its hostname.
    address
        Its address in the lab's network, for migrations.
    uri
        By which libvirt's clients on the machine outside reach its libvirtd.
    peer_uri
        By which the libvirtd of other hosts reach it.
    """

    def __init__(self, number: int, folder: Path, switch: Machine) -> None:
        self.name = f"host{number}"
        self.address = f"{NETWORK}.{number}"
        self.folder = folder / self.name
        self.uri = f"qemu:///system?socket={self.folder}/run/libvirt-sock"
        self.peer_uri = f"qemu+tcp://{self.address}/system"
        self._switch = switch
        self._number = number
        self._port = f"port{number}"
        self._capabilities = self.folder / "cache" / "qemu" / "capabilities"
        self._connection: libvirt.virConnect | None = None
        self._machine: Machine | None = None
        self._relay: MachineProcess | None = None
        self._is_exhausted = False

    @property
    def migration_uri(self) -> str:
        """Where guests are sent to."""
        return f"tcp://{self.address}"

    @property
    def tls_uri(self) -> str:
        """By which clients inside the lab's machines, such as other hosts, reach its libvirtd."""
        return f"qemu+tls://{self.address}:{TLS_PORT}/system?pkipath={self.folder}/pki"

    # Its life

    def start(self) -> None:
        """Install the host, knowing no guests, and start it."""
        for name in ("run", "lib", "log", "cache"):
            (self.folder / name).mkdir(parents=True)
        pki = self.folder / "pki"
        authority = self.folder.parent / "authority"
        make_certificate(pki, authority, name=self.name, address=self.address)
        write_settings(self.folder / "etc", pki)
        # Libvirt checks whether they are still true, which takes it less than finding out.
        copy_changed(cache_folder() / "capabilities", self._capabilities)
        self.power_on()

    def power_on(self) -> None:
        """Start the host, which knows the guests it knew, and wait until it answers."""
        shutil.rmtree(self.folder / "run")
        (self.folder / "run").mkdir()
        self._machine = Machine(
            self.name, log=self.folder / "log" / "machine.log", at_start=self._mounts()
        )
        self._plug_in()
        self.start_daemon()

    def _mounts(self) -> str:
        places = {"run": "/run", "lib": "/var/lib", "log": "/var/log", "cache": "/var/cache"}
        places["etc"] = "/etc"
        mounts = [
            "mount -t tmpfs -o mode=755 run /run",
            "mkdir /run/libvirt /run/usr",
            # Another view of it, for what is covered in the first.
            "mount --bind /usr /run/usr",
            # Of this network, and without control groups, which would outlive a crash.
            "umount --recursive --lazy /sys",
            "mount -t sysfs sys /sys",
            f"mount --bind '{self.folder.parent}/hosts' /etc/hosts",
        ]
        mounts += [
            f"mount --bind '{self.folder}/{name}' {place}/libvirt" for name, place in places.items()
        ]
        return "\n".join(mounts)

    def _plug_in(self) -> None:
        first_pid = self.machine.first_pid
        _configure(
            self._switch,
            f"link add {self._port} type veth peer name eth0 netns {first_pid}",
            f"link set {self._port} master switch up",
        )
        _configure(
            self.machine,
            "link set lo up",
            f"addr add {self.address}/24 dev eth0",
            "link set eth0 up",
        )

    def lose_power(self) -> None:
        """End the host and all its guests at once."""
        self.bring_near()
        # The kernel would remove it too, but in its own time.
        _configure(self._switch, f"link del {self._port}")
        self._end()

    def _end(self) -> None:
        if self._machine is not None:
            self._machine.close()
        self._machine = None
        self._is_exhausted = False
        # Only now, as a frozen daemon would not let go of it.
        self._connection = None

    def renew(self) -> None:
        """Replace the host by a new one of the same name and address, without faults and guests."""
        if self._machine is not None:
            self.lose_power()
        self._keep_capabilities()
        shutil.rmtree(self.folder)
        self.start()

    def close(self) -> None:
        """End the host; its folder is the lab's to remove."""
        self._keep_capabilities()
        self._end()

    def _keep_capabilities(self) -> None:
        copy_changed(self._capabilities, cache_folder() / "capabilities")

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._machine is not None

    @property
    def machine(self) -> Machine:
        """In which its processes run; a new one each time it is powered on.

        :raises RuntimeError: if it is powered off
        """
        if self._machine is None:
            raise RuntimeError(f"{self.name} is powered off")
        return self._machine

    def reaches(self, other: LabHost) -> bool:
        """Return whether a connection to another host can be made within two seconds."""
        attempt = f"exec 3<>/dev/tcp/{other.address}/{TLS_PORT}"
        try:
            self.machine.run_in_network("timeout", "2", "bash", "-c", attempt)
        except subprocess.CalledProcessError:
            return False
        return True

    # The daemon

    def start_daemon(self) -> None:
        """Start libvirtd and wait until it answers."""
        self.machine.run(
            "libvirtd", "--daemon", "--listen", "--pid-file", "/run/libvirt/libvirtd.pid"
        )
        wait_until(self._answers, READY_TIMEOUT_S, f"libvirtd of {self.name} answers")

    def _answers(self) -> bool:
        try:
            self.connection.getHostname()
        except libvirt.libvirtError:
            return False
        return True

    def kill_daemon(self) -> None:
        """Kill libvirtd with SIGKILL; its guests run on."""
        for process in self.daemons():
            process.kill()
        wait_until(lambda: not self.daemons(), 10.0, f"end of libvirtd of {self.name}")

    def daemons(self) -> list[psutil.Process]:
        """Return the libvirtd processes: one, or none after ``kill_daemon``."""
        return [process for process in self.machine.processes() if _is_named(process, "libvirtd")]

    @property
    def connection(self) -> libvirt.virConnect:
        """A connection to libvirtd, made anew after it was lost.

        :raises libvirt.libvirtError: if libvirtd does not run
        """
        if self._connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                # A lost connection shows when it is used.
                self._connection.getLibVersion()
                return self._connection
        self._connection = libvirt.open(self.uri)
        return self._connection

    # Its guests

    def make_disk(self, name: str, *, size_mib: int = 16) -> Path:
        """Make an empty qcow2 image that this host alone sees, and return where it sees it."""
        images = self.folder / "lib" / "images"
        images.mkdir(exist_ok=True)
        make_image(images / f"{name}.qcow2", size_mib)
        return Path("/var/lib/libvirt/images") / f"{name}.qcow2"

    def domain(self, guest_name: str) -> libvirt.virDomain:
        """Return libvirt's handle of a guest that this host knows."""
        return self.connection.lookupByName(guest_name)

    def domain_states(self) -> dict[str, int]:
        """Return each guest that libvirt knows here, with its ``VIR_DOMAIN_*`` state."""
        return {domain.name(): domain.state()[0] for domain in self.connection.listAllDomains()}

    def qemu_processes(self) -> tuple[QemuProcess, ...]:
        """Return the running QEMU processes of guests, whatever libvirt thinks."""
        found = []
        for process in self.machine.processes() if self.is_on else ():
            with contextlib.suppress(psutil.NoSuchProcess):
                arguments = process.cmdline()
                if "-name" in arguments:
                    named = arguments[arguments.index("-name") + 1]
                    name = named.removeprefix("guest=").partition(",")[0]
                    found.append(QemuProcess(pid=process.pid, guest_name=name))
        return tuple(found)

    # Faults

    def cut_link(self) -> None:
        """Pull the host's plug out of the switch."""
        _configure(self._switch, f"link set {self._port} down")

    def restore_link(self) -> None:
        """Put the plug back."""
        _configure(self._switch, f"link set {self._port} up")

    def slow_link(self, mbit_per_s: float) -> None:
        """Let the host send no more than that."""
        # A bucket of ten milliseconds, and of a few packets at least.
        burst_bytes = max(round(mbit_per_s * 1e6 / 8 / 100), 8192)
        limit = ("rate", f"{mbit_per_s:g}mbit", "burst", f"{burst_bytes}b", "latency", "50ms")
        self.machine.run_in_network("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *limit)

    def unslow_link(self) -> None:
        """Let the host send as fast as it can."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.machine.run_in_network("tc", "qdisc", "del", "dev", "eth0", "root")

    def put_far_away(self, latency_ms: float) -> str:
        """Return a migration URI of the host by way of a relay that delays both directions.

        It carries at most 4 MiB per latency, as a TCP window does. Ends with ``bring_near``.
        """
        self.bring_near()
        address = self._far_address
        _configure(self._switch, f"addr add {address}/24 dev switch")
        started = self._switch.start(
            *(sys.executable, "-S", "-E", relay.__file__, address, self.address),
            *(*map(str, MIGRATION_PORTS), str(latency_ms)),
            output=self.folder / "relay.log",
        )
        self._relay = started
        wait_until(lambda: started.said("ready"), READY_TIMEOUT_S, f"relay before {self.name}")
        return f"tcp://{address}"

    @property
    def _far_address(self) -> str:
        return f"{NETWORK}.{RELAY_ADDRESS_OFFSET + self._number}"

    def bring_near(self) -> None:
        """End the relay and what goes through it."""
        if self._relay is not None:
            self._relay.close()
            self._relay.output.unlink()
            self._relay = None
            _configure(self._switch, f"addr del {self._far_address}/24 dev switch")

    def exhaust_memory(self) -> None:
        """Leave no memory for a further guest: its QEMU ends as it asks for the guest's.

        Libvirt first asks the QEMU that it finds changed what it can do, for a second or two.
        """
        if not self._is_exhausted:
            wrapper = self.folder / "qemu"
            wrapper.write_text(
                "#!/bin/sh\n"
                'case "$*" in\n'
                f'*guest=*) exec prlimit --as={EXHAUSTED_BYTES} /run{QEMU} "$@" ;;\n'
                f'*) exec /run{QEMU} "$@" ;;\n'
                "esac\n",
                encoding="utf-8",
            )
            wrapper.chmod(0o755)
            self.machine.run("mount", "--bind", wrapper, QEMU)
            self._is_exhausted = True

    def restore_memory(self) -> None:
        """Let further guests have memory again."""
        if self._is_exhausted:
            self.machine.run("umount", QEMU)
            self._is_exhausted = False

    def freeze(self) -> None:
        """Stop every process of the host, as if it hung."""
        self.machine.signal_all(signal.SIGSTOP)

    def freeze_daemon(self) -> None:
        """Stop libvirtd alone: it takes calls and answers none; its guests run on.

        That goes for calls of the lab too, ``thaw`` aside.
        """
        for process in self.daemons():
            process.suspend()

    def thaw(self) -> None:
        """Let the host's processes go on."""
        self.machine.signal_all(signal.SIGCONT)


def _configure(machine: Machine, *settings: str) -> None:
    machine.run_in_network("ip", "-batch", "-", text="\n".join(settings) + "\n")


def make_image(path: Path, size_mib: int) -> None:
    """Make an empty qcow2 image."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{size_mib}M"], check=True)


def _is_named(process: psutil.Process, name: str) -> bool:
    try:
        return bool(process.name() == name and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
