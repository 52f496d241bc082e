"""A simulated cluster in a process of its own, so that it outlives whoever moves its VMs.

``python tests/world.py serve SOCKET`` is the world; ``python tests/world.py lead SOCKET URL`` is a
runtime whose driver asks it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.managers import BaseManager
from typing import Any, cast

import numpy as np

from executor.clock import Clock, SystemClock
from executor.drivers.base import Driver
from executor.drivers.simulated import SimulatedDriver
from executor.params import ExecutorParameters
from forecast.history import History
from service.inventory.policies import DriverSettings
from service.runtime.drivers import Opened
from service.runtime.keeper import KeeperParams
from service.runtime.process import run
from service.runtime.simulated import Load, Wants
from service.runtime.window import on_grid
from service.store.base import Store
from solver.domain.cluster import Cluster
from solver.params import SolveParams
from tests.plans import crowded_host

KEY = b"of tests"
LEASE_S = 5.0
NUM_VMS = 8


class _World:
    """The driver, one call at a time."""

    def __init__(self) -> None:
        start = crowded_host(NUM_VMS)
        wants = Wants(Load(0), start.vms, on_grid(datetime.now(UTC)))
        self._driver = SimulatedDriver(start, wants, SystemClock())
        self._turn = threading.Lock()

    def call(self, name: str, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        """Return what the driver answers."""
        with self._turn:
            return getattr(self._driver, name)(*args, **more)


class _Manager(BaseManager):
    """Brings calls to the world."""


class RemoteDriver:
    """The world as a driver: every call goes through a socket."""

    def __init__(self, socket: str) -> None:
        _Manager.register("world")
        manager = _Manager(address=socket, authkey=KEY)
        manager.connect()
        self._world = cast(Any, manager).world()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **more: Any) -> Any:
        return self._world.call(name, args, more)


def remote(socket: str) -> Driver:
    """Return the driver of the world at a socket."""
    return cast(Driver, RemoteDriver(socket))


def _telemetry(cluster: Cluster, start_at: datetime, end_at: datetime) -> History:
    num_bins = (end_at - start_at) // timedelta(minutes=5)
    shape = (len(cluster.vms), num_bins)
    return History(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        start_at=start_at,
        readings=Load(0).of(cluster.vms, start_at, num_bins),
        state=np.zeros(shape, dtype=np.uint8),
        granted_mib=np.full(shape, np.nan, dtype=np.float32),
        vcpus=np.full(shape[0], 4),
        memory_size_mib=np.full(shape[0], 4096),
        app_types=(None,) * shape[0],
    )


def _serve(socket: str) -> None:
    world = _World()
    _Manager.register("world", callable=lambda: world)
    manager = _Manager(address=socket, authkey=KEY)
    server = manager.get_server()
    print("ready", flush=True)
    server.serve_forever()


def _lead(socket: str, url: str) -> None:
    driver = remote(socket)

    def opener(settings: DriverSettings, store: Store, cluster_id: str, clock: Clock) -> Opened:
        return Opened(
            driver=driver,
            clock=clock,
            telemetry=partial(_telemetry, crowded_host(NUM_VMS)),
            params=ExecutorParameters(poll_interval_s=0.5),
        )

    params = KeeperParams(solve=SolveParams(engine="greedy"), past=timedelta(hours=1))
    print("ready", flush=True)
    run(url, threading.Event(), lease_s=LEASE_S, opener=opener, training=False, params=params)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
    else:
        _lead(sys.argv[2], sys.argv[3])
