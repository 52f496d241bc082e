"""The lab: real libvirt hosts on one machine, with real guests and live migration between them.

Each host is a machine of namespaces with a libvirtd of its own; all hang on a switch, which is a
machine too. Nothing is added to the network, the mounts or the hostname of the machine outside,
so several labs can run at once. All that a lab writes stands in one folder.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libvirt
import psutil

from tests.integration.lab import relay
from tests.integration.lab import ticks as ticks_module
from tests.integration.lab.cache import cache_folder, copy_changed
from tests.integration.lab.guest import make_guest_image
from tests.integration.lab.guests import GuestSpec, LabGuest, domain_xml
from tests.integration.lab.leftovers import make_folder, remove_leftovers
from tests.integration.lab.machines import ENVIRONMENT, Machine, MachineProcess, wait_until
from tests.integration.lab.pki import make_authority, make_certificate
from tests.integration.lab.settings import MIGRATION_PORTS, TLS_PORT, write_settings

NETWORK = "10.99.0"
MAX_HOSTS = 90
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

    def start(self) -> None:
        """Start the host for the first time and wait until it answers."""
        self._write_settings()
        self._start_machine()

    @property
    def migration_uri(self) -> str:
        """Where guests are sent to."""
        return f"tcp://{self.address}"

    @property
    def tls_uri(self) -> str:
        """By which clients inside the lab's machines, such as other hosts, reach its libvirtd."""
        return f"qemu+tls://{self.address}:{TLS_PORT}/system?pkipath={self.folder}/pki"

    def _write_settings(self) -> None:
        for name in ("run", "lib", "log", "cache"):
            (self.folder / name).mkdir(parents=True)
        pki = self.folder / "pki"
        authority = self.folder.parent / "authority"
        make_certificate(pki, authority, name=self.name, address=self.address)
        write_settings(self.folder / "etc", pki)
        # Libvirt checks whether they are still true, which takes it less than finding out.
        copy_changed(cache_folder() / "capabilities", self._capabilities)

    def _start_machine(self) -> None:
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
        places = {"run": "/run", "lib": "/var/lib", "log": "/var/log", "cache": "/var/cache"}
        places["etc"] = "/etc"
        mounts += [
            f"mount --bind '{self.folder}/{name}' {place}/libvirt" for name, place in places.items()
        ]
        self._is_exhausted = False
        self.relay: MachineProcess | None = None
        self.machine = Machine(
            self.name, log=self.folder / "log" / "machine.log", at_start="\n".join(mounts)
        )
        self._plug_in()
        self.start_daemon()

    def _plug_in(self) -> None:
        self._switch.run_in_network(
            "ip",
            "-batch",
            "-",
            text=f"link add {self._port} type veth peer name eth0 netns {self.machine.first_pid}\n"
            f"link set {self._port} master switch up\n",
        )
        self.machine.run_in_network(
            "ip",
            "-batch",
            "-",
            text=f"link set lo up\naddr add {self.address}/24 dev eth0\nlink set eth0 up\n",
        )

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
        _make_image(images / f"{name}.qcow2", size_mib)
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
        for process in self.machine.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                arguments = process.cmdline()
                if "-name" in arguments:
                    named = arguments[arguments.index("-name") + 1]
                    name = named.removeprefix("guest=").partition(",")[0]
                    found.append(QemuProcess(pid=process.pid, guest_name=name))
        return tuple(found)

    # Faults

    def cut_link(self) -> None:
        """Pull the host's plug out of the switch."""
        self._switch.run_in_network("ip", "link", "set", self._port, "down")

    def restore_link(self) -> None:
        """Put the plug back."""
        self._switch.run_in_network("ip", "link", "set", self._port, "up")

    def slow_link(self, mbit_per_s: float) -> None:
        """Let the host send no more than that."""
        limit = ("rate", f"{mbit_per_s:g}mbit", "burst", "32kbit", "latency", "50ms")
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
        address = f"{NETWORK}.{RELAY_ADDRESS_OFFSET + self._number}"
        self._switch.run_in_network("ip", "addr", "add", f"{address}/24", "dev", "switch")
        self.relay = self._switch.start(
            *(sys.executable, "-S", "-E", relay.__file__, address, self.address),
            *(*map(str, MIGRATION_PORTS), str(latency_ms)),
            output=self.folder / "log" / "relay.log",
        )
        ready = self.relay
        wait_until(lambda: ready.said("ready"), READY_TIMEOUT_S, f"relay before {self.name}")
        return f"tcp://{address}"

    def bring_near(self) -> None:
        """End the relay and what goes through it."""
        if self.relay is not None:
            self.relay.close()
            self.relay.output.unlink()
            self.relay = None
            address = f"{NETWORK}.{RELAY_ADDRESS_OFFSET + self._number}"
            self._switch.run_in_network("ip", "addr", "del", f"{address}/24", "dev", "switch")

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
        """Stop libvirtd alone: it takes calls and answers none; its guests run on."""
        for process in self.daemons():
            process.suspend()

    def thaw(self) -> None:
        """Let the host's processes go on."""
        self.machine.signal_all(signal.SIGCONT)

    def lose_power(self) -> None:
        """End the host and all its guests at once."""
        self._connection = None
        self.bring_near()
        self.machine.close()

    def power_on(self) -> None:
        """Start the host again after ``lose_power``; it remembers its guests, none runs."""
        shutil.rmtree(self.folder / "run")
        (self.folder / "run").mkdir()
        self._start_machine()

    def reset(self) -> None:
        """Undo every fault and remove every guest."""
        if not self.machine.is_running:
            self.power_on()
        self.thaw()
        self.restore_link()
        self.unslow_link()
        self.bring_near()
        self.restore_memory()
        for qemu in self.qemu_processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(qemu.pid).kill()
        if not self.daemons():
            self.start_daemon()
        wait_until(self._answers, READY_TIMEOUT_S, f"libvirtd of {self.name} answers")
        wait_until(self._forget_guests, READY_TIMEOUT_S, f"no guest left on {self.name}")

    def _forget_guests(self) -> bool:
        """Remove what guests can be removed by now; return whether none is left."""
        domains = self.connection.listAllDomains()
        for domain in domains:
            with contextlib.suppress(libvirt.libvirtError):
                domain.destroy()
            with contextlib.suppress(libvirt.libvirtError):
                domain.undefine()
        shutil.rmtree(self.folder / "lib" / "images", ignore_errors=True)
        return not domains and not self.qemu_processes()

    def close(self) -> None:
        """Remove the host."""
        copy_changed(self._capabilities, cache_folder() / "capabilities")
        self._connection = None
        if self.machine is not None:
            self.machine.close()


def _make_image(path: Path, size_mib: int) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, f"{size_mib}M"], check=True)


def _is_named(process: psutil.Process, name: str) -> bool:
    try:
        return bool(process.name() == name and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Lab:
    """Some hosts on a switch, and their guests.

    Parameters
    ----------
    num_hosts
        1 to 90.
    """

    def __init__(self, *, num_hosts: int) -> None:
        if not 1 <= num_hosts <= MAX_HOSTS:
            raise ValueError(f"num_hosts is {num_hosts}, must be 1 to {MAX_HOSTS}")
        self.num_hosts = num_hosts
        self.hosts: tuple[LabHost, ...] = ()
        self.guests: dict[str, LabGuest] = {}
        self._serial_numbers = itertools.count(1)
        self._closing = contextlib.ExitStack()

    def start(self) -> None:
        """Start the hosts and wait until each answers; on an error nothing is left."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        remove_leftovers()
        self.image = make_guest_image()
        self.folder = make_folder()
        self._closing.callback(shutil.rmtree, self.folder, ignore_errors=True)
        make_authority(self.folder / "authority")
        self.guest_folder = self.folder / "guests"
        self.guest_folder.mkdir()
        names = [f"{NETWORK}.{number} host{number}\n" for number in range(1, self.num_hosts + 1)]
        known_names = "127.0.0.1 localhost\n" + "".join(names)
        (self.folder / "hosts").write_text(known_names, encoding="utf-8")
        self.switch = self._keep(
            Machine(
                "switch",
                log=self.folder / "switch.log",
                at_start="ip link add switch type bridge\n"
                f"ip addr add {NETWORK}.254/24 dev switch\n"
                "ip link set switch up\nip link set lo up",
                # Hosts that are about to end may write until they have.
                at_end=f"until rm -rf '{self.folder}'; do sleep 0.05; done",
            )
        )
        self._observe()
        with ThreadPoolExecutor(self.num_hosts) as pool:
            self.hosts = tuple(pool.map(self._start_host, range(1, self.num_hosts + 1)))

    def _start_host(self, number: int) -> LabHost:
        host: LabHost = self._keep(LabHost(number, self.folder, self.switch))
        host.start()
        return host

    def _keep(self, thing: Any) -> Any:
        self._closing.callback(thing.close)
        return thing

    def _observe(self) -> None:
        observer = subprocess.Popen(
            [sys.executable, "-S", "-E", ticks_module.__file__, str(self.guest_folder)],
            stdin=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        self._closing.callback(observer.wait)
        assert observer.stdin is not None
        self._closing.callback(observer.stdin.close)

    def host(self, name: str) -> LabHost:
        """Return the host of that name."""
        return next(host for host in self.hosts if host.name == name)

    def start_guest(self, name: str, host: LabHost, **choices: Any) -> LabGuest:
        """Define and start a guest and return at once; ``wait_ticking`` tells when it is up.

        :param choices: of ``GuestSpec``: ``memory_mib``, ``dirty_mib_per_s`` and so on
        """
        spec = GuestSpec(name=name, **choices)
        log = self.guest_folder / f"{name}-{next(self._serial_numbers)}.log"
        log.touch()
        guest = LabGuest(spec=spec, log=log)
        xml = domain_xml(spec, image=self.image, log=log)
        host.connection.defineXML(xml).create()
        self.guests[name] = guest
        return guest

    def start_guests(self, placement: dict[str, LabHost], **choices: Any) -> list[LabGuest]:
        """Start several guests alike and wait until all tick."""
        guests = [self.start_guest(name, host, **choices) for name, host in placement.items()]
        for guest in guests:
            guest.wait_ticking()
        return guests

    def make_disk(self, name: str, *, size_mib: int = 16) -> Path:
        """Make an empty qcow2 image that every host sees.

        To libvirt it is on no file system that hosts share, so it lets a guest that has such a
        disk go only as ``VIR_MIGRATE_UNSAFE``.
        """
        path = self.guest_folder / f"{name}.qcow2"
        _make_image(path, size_mib)
        return path

    def placement(self) -> dict[str, str]:
        """Return the host of each QEMU process's guest, by name.

        :raises AssertionError: if a guest has two
        """
        placed: dict[str, str] = {}
        for host in self.hosts:
            for qemu in host.qemu_processes():
                assert qemu.guest_name not in placed, f"{qemu.guest_name} runs twice"
                placed[qemu.guest_name] = host.name
        return placed

    def reset(self) -> None:
        """Undo every fault and remove every guest, so that the next test finds a fresh lab."""
        self.guests.clear()
        with ThreadPoolExecutor(self.num_hosts) as pool:
            list(pool.map(LabHost.reset, self.hosts))
        for path in self.guest_folder.iterdir():
            path.unlink()

    def close(self) -> None:
        """End and remove everything; nothing happens the second time."""
        self.hosts = ()
        self._closing.close()

    def __enter__(self) -> Lab:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
