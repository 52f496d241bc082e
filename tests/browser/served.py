"""The service with its pages on a port of this machine, to be stopped and started again."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from waitress import create_server

from service.api.services import Services
from service.app import create_app
from service.inventory.clusters import put_cluster, put_snapshot
from service.inventory.effective import look_up
from service.inventory.policies import ClusterSettings, VmPolicy
from service.inventory.vm_policies import set_policy
from service.security import users
from service.security.passwords import Passwords
from service.security.principal import Principal, Role
from service.security.users import User
from service.solving.desk import Desk, DeskSettings
from service.solving.pool import SolverPool
from service.store.base import AuditEntry, Store
from service.store.sql import open_store
from service.web.app import beside, create_pages
from solver.domain.cluster import VM, Cluster
from solver.domain.units import VmId
from tests.builders import make_host, make_vm

PASSWORD: Final = "correct horse battery"
CLUSTER: Final = "c1"
TENANT: Final = "team-1"
NUM_OWN: Final = 20
"""VMs of the tenant."""
ADMIN: Final = Principal(name="test", role=Role.ADMIN)


def present() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


@dataclass
class Served:
    """A service on a store of its own."""

    database: Path
    port: int = 0
    services: Services = field(init=False)
    pool: SolverPool | None = None
    _server: Any = None

    def __post_init__(self) -> None:
        self.start()

    @property
    def base(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Open the store and answer requests."""
        store = cast("Store", open_store(f"sqlite:///{self.database}"))
        self.services = Services(
            store=store,
            now=present,
            passwords=Passwords(time_cost=1, memory_kib=8, parallelism=1),
            desk=None if self.pool is None else self._desk(store, self.pool),
        )
        application = beside(create_app(self.services), create_pages(self.services))
        self._server = create_server(application, host="127.0.0.1", port=self.port, threads=8)
        self.port = int(self._server.effective_port)
        threading.Thread(target=self._server.run, daemon=True).start()

    def solve_with(self, pool: SolverPool) -> None:
        """Take work on from now on, at another address: nobody was led to this one yet."""
        self.stop()
        self.pool, self.port = pool, 0
        self.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.close()
        self._server.task_dispatcher.shutdown()
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        if self.services.desk is not None:
            self.services.desk.close()
        self.services.store.close()

    def _desk(self, store: Store, pool: SolverPool) -> Desk:
        settings = DeskSettings(store_url=f"sqlite:///{self.database}")
        desk = Desk(pool, store, name="test", now=present, settings=settings)
        desk.open()
        return desk

    def add_people(self) -> None:
        """Make a user of each role, named as it is."""
        hashed = self.services.passwords.hash(PASSWORD)
        with self.services.store.begin() as tx:
            for role in (Role.VIEWER, Role.OWNER, Role.OPERATOR, Role.ADMIN):
                user = User(
                    name=role.value,
                    role=role,
                    owner=TENANT if role is Role.OWNER else "",
                    password_hash=hashed,
                    must_change_password=False,
                )
                users.put(tx, ADMIN, user, expected_revision=0, now=present())

    def add_cluster(self, *, num_hosts: int, num_vms: int) -> None:
        """Keep a cluster whose VMs stand on its hosts in turn; the first are the tenant's."""
        hosts = [make_host(f"host-{i:03d}", zone="ab"[i % 2], cores=64) for i in range(num_hosts)]
        vms = [_vm(i, num_hosts) for i in range(num_vms)]
        cluster = Cluster(observed_at=present(), hosts=tuple(hosts), vms=tuple(vms))
        settings = ClusterSettings(name="Example")
        with self.services.store.begin() as tx:
            put_cluster(tx, ADMIN, CLUSTER, settings, expected_revision=0, now=present())
            put_snapshot(tx, ADMIN, CLUSTER, cluster, now=present())
        for vm in vms[:NUM_OWN]:
            with self.services.store.begin() as tx:
                policy = VmPolicy(owner=TENANT, priority_min=3, priority_max=7)
                set_policy(tx, ADMIN, CLUSTER, vm.id, policy, expected_revision=0, now=present())

    def priority(self, vm_id: str) -> int:
        """Return the priority of a VM, as it would be solved with."""
        with self.services.store.begin(read_only=True) as tx:
            return look_up(tx, CLUSTER).vms[VmId(vm_id)].priority

    def audit(self, actor: str) -> list[AuditEntry]:
        """Return what somebody has changed, the newest first, without their sessions."""
        with self.services.store.begin(read_only=True) as tx:
            entries = tx.audit.page(limit=1000)
        return [e for e in entries if e.actor == actor and not e.action.startswith("session.")]


def _vm(i: int, num_hosts: int) -> VM:
    return make_vm(
        f"vm-{i:05d}",
        f"host-{i % num_hosts:03d}",
        memory_gib=1,
        cores=1 + i % 4,
        priority=1 + i % 10,
        group=f"app-{i % 7}",
        app_type=("web", "database", "batch")[i % 3],
    )
