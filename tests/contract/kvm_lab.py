"""The lab of the drivers' contract on real libvirt hosts, with real guests."""

from __future__ import annotations

import time

import libvirt
import psutil

from executor.drivers.base import Driver, MigrationState
from executor.kvm.config import HostConfig, KvmConfig, MigrationConfig
from executor.kvm.driver import KvmDriver
from solver.domain.units import HostId, VmId
from tests.integration.lab.hosts import Lab, LabHost
from tests.integration.lab.machines import wait_until

NOVA = (
    '<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">'
    "<nova:name>stuck</nova:name></nova:instance>"
)
SIZE_MIB = {"v1": 80, "v2": 80, "stuck": 80, "big": 100}
REAL_SECONDS = 0.3
"""How long one second of the contract lasts here: its guests are some fifty times as small."""


class KvmLab:
    """``h1`` and ``h2`` are hosts of the lab; the first migration of ``v2`` fails half-way."""

    sent_mib = 30
    fast_mib_per_s = 1000
    slow_mib_per_s = 2

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._hosts: dict[str, LabHost] = dict(zip(("h1", "h2"), lab.hosts, strict=False))
        memory_mib = {"h1": 1000, "h2": 150}
        self._config = KvmConfig(
            hosts=tuple(
                HostConfig(
                    id=HostId(name),
                    uri=host.uri,
                    peer_uri=host.peer_uri,
                    migration_address=host.address,
                    memory_mib=memory_mib[name],
                )
                for name, host in self._hosts.items()
            ),
            migration=MigrationConfig(post_copy=True),
            timeout_s=2.0,
        )
        self._breaks: set[str] = set()
        self._driver = KvmDriver(self._config)

    @property
    def driver(self) -> Driver:
        """A driver as a process has it that has just started."""
        return self._driver

    def close(self) -> None:
        """Let everything go."""
        self._hosts["h1"].thaw()
        self._driver.close()

    def restore(self) -> None:
        """Put every guest back to where it belongs, with as little work as will do."""
        self._driver.close()
        self._driver = KvmDriver(self._config)
        self._breaks = {"v2"}
        self._hosts["h1"].thaw()
        self._hosts["h1"].unslow_link()
        wait_until(self._at_rest, 60.0, "migrations of the test before have ended")
        for name, memory_mib in SIZE_MIB.items():
            self._bring_home(name, memory_mib)
        wait_until(self._at_rest, 60.0, "guests are at home")

    def _bring_home(self, name: str, memory_mib: int) -> None:
        home, away = self._hosts["h1"], self._hosts["h2"]
        if home.domain_states().get(name) == libvirt.VIR_DOMAIN_RUNNING:
            return
        if away.domain_states().get(name) == libvirt.VIR_DOMAIN_RUNNING:
            flags = (
                libvirt.VIR_MIGRATE_LIVE
                | libvirt.VIR_MIGRATE_PERSIST_DEST
                | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
            )
            uri = {libvirt.VIR_MIGRATE_PARAM_URI: home.migration_uri}
            away.domain(name).migrate3(home.connection, uri, flags)
            return
        metadata = NOVA if name == "stuck" else ""
        guest = self._lab.start_guest(name, home, memory_mib=memory_mib, metadata=metadata)
        if name in ("v1", "v2"):
            guest.wait_ticking()

    def _at_rest(self) -> bool:
        """Whether no guest is under way; migrations that are get stopped, or end by themselves."""
        under_way = False
        for host in self._hosts.values():
            for domain in host.connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
                try:
                    state, _ = domain.state()
                    busy = domain.jobStats(0).get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE
                    if busy:
                        domain.abortJob()
                except libvirt.libvirtError:
                    busy = True
                under_way |= busy or state != libvirt.VIR_DOMAIN_RUNNING
        return not under_way

    def wait(self, seconds: float) -> None:
        """Let real time pass; what is to fail half-way fails once half a second of it was sent."""
        time.sleep(seconds * REAL_SECONDS)
        for name in tuple(self._breaks):
            for process in self._hosts["h2"].qemu_processes():
                if process.guest_name == name:
                    self._breaks.discard(name)
                    psutil.Process(process.pid).kill()

    def narrow_link(self) -> None:
        """Let ``h1`` send slowly, whatever was granted."""
        # Four times as fast as granted rates, so that the test does not last half a minute.
        self._hosts["h1"].slow_link(4 * self.slow_mib_per_s * 8.4)

    def lose_source(self) -> None:
        """Stop every process of ``h1``: it hangs."""
        handles = [VmId(name) for name in SIZE_MIB]
        for vm_id in handles:
            found = self._driver.find_migration(vm_id)
            if found is not None:
                assert self._driver.poll(found.handle).state is MigrationState.RUNNING
        self._hosts["h1"].freeze()
