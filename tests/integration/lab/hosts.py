"""The lab: real libvirt hosts on one machine, with real guests and live migration between them.

Its hosts hang on a switch, which is a machine of namespaces as they are. Nothing is added to the
network, the mounts or the hostname of the machine outside, so several labs can run at once. All
that a lab writes stands in one folder.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.integration.lab import ticks
from tests.integration.lab.guest import make_guest_image
from tests.integration.lab.guests import GuestSpec, LabGuest, domain_xml
from tests.integration.lab.host import NETWORK, LabHost, make_image
from tests.integration.lab.leftovers import make_folder, remove_leftovers
from tests.integration.lab.machines import ENVIRONMENT, Machine
from tests.integration.lab.pki import make_authority

__all__ = ["Lab", "LabHost"]

MAX_HOSTS = 90


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
        self.guest_folder = self.folder / "guests"
        self.guest_folder.mkdir()
        make_authority(self.folder / "authority")
        self._name_hosts()
        self._start_switch()
        self._start_observer()
        hosts = [LabHost(number, self.folder, self.switch) for number in self._host_numbers]
        for host in hosts:
            self._closing.callback(host.close)
        self._at_once(LabHost.start, hosts)
        self.hosts = tuple(hosts)

    @property
    def _host_numbers(self) -> range:
        return range(1, self.num_hosts + 1)

    def _name_hosts(self) -> None:
        names = [f"{NETWORK}.{number} host{number}\n" for number in self._host_numbers]
        text = "".join(["127.0.0.1 localhost\n", *names])
        (self.folder / "hosts").write_text(text, encoding="utf-8")

    def _start_switch(self) -> None:
        self.switch = Machine(
            "switch",
            log=self.folder / "switch.log",
            at_start="ip link add switch type bridge\n"
            f"ip addr add {NETWORK}.254/24 dev switch\n"
            "ip link set switch up\nip link set lo up",
            # Hosts that are about to end may write until they have.
            at_end=f"until rm -rf '{self.folder}'; do sleep 0.05; done",
        )
        self._closing.callback(self.switch.close)

    def _start_observer(self) -> None:
        observer = subprocess.Popen(
            [sys.executable, "-S", "-E", ticks.__file__, str(self.guest_folder)],
            stdin=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        assert observer.stdin is not None
        self._closing.callback(observer.wait)
        self._closing.callback(observer.stdin.close)

    @staticmethod
    def _at_once(action: Callable[[LabHost], None], hosts: Sequence[LabHost]) -> None:
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(action, hosts))

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

    def start_guests(self, placement: Mapping[str, LabHost], **choices: Any) -> list[LabGuest]:
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
        make_image(path, size_mib)
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
        """Replace every host by a new one, so that the next test finds nothing of the last."""
        self.guests.clear()
        self._at_once(LabHost.renew, self.hosts)
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
