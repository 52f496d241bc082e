"""Two processes, one cluster: the leader is killed or stands still in the middle of a plan.

The cluster lives in a third process, so that it knows what really happened to its VMs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from executor.records import PlanBegun
from service.inventory.clusters import put_cluster
from service.inventory.policies import ClusterSettings, DriverSettings
from service.plans.document import plan_of
from service.plans.wishes import put_schedule
from service.runtime.kept import RUNTIME
from service.runtime.memory import Memory, write_memory
from service.security.principal import Principal, Role
from service.store.base import PlanStage, Store
from service.store.sql import open_store
from tests import world
from tests.conftest import REPOSITORY
from tests.plans import PLAN_ID, crowded_host, make_kept

ADMIN = Principal(name="ada", role=Role.ADMIN)
TAKEN_OVER_S = 15.0
PATIENCE_S = 90.0


@contextmanager
def _process(*args: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(REPOSITORY / "tests" / "world.py"), *args]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(until: Callable[[], bool]) -> float:
    """Wait until something is so; return how long that took."""
    began_s = time.monotonic()
    while not until():
        assert time.monotonic() - began_s < PATIENCE_S, "it never came"
        time.sleep(0.05)
    return time.monotonic() - began_s


def _prepare(url: str) -> Store:
    """Return a store with a cluster, and nothing planned for the next minutes."""
    store = open_store(url)
    now = datetime.now(UTC)
    with store.begin() as tx:
        settings = ClusterSettings(name="one", driver=DriverSettings(kind="simulated"))
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=0, now=now)
        write_memory(tx, "c1", now, Memory(last_run_at=now))
        schedule = {"interval_minutes": 10_080, "automation": "approve"}
        put_schedule(tx, ADMIN, "c1", schedule, expected_revision=0, now=now)
    return store


def _approve_plan(store: Store) -> None:
    kept = make_kept(crowded_host(world.NUM_VMS), stage=PlanStage.APPROVED)
    with store.begin() as tx:
        tx.plans.put(kept, expected_revision=0)


def _is_looked_after(store: Store) -> bool:
    with store.begin(read_only=True) as tx:
        return tx.blobs.get("c1", RUNTIME) is not None


def _stage(store: Store) -> PlanStage:
    with store.begin(read_only=True) as tx:
        return tx.plans.get("c1", PLAN_ID).stage


def _tokens(store: Store) -> list[int | None]:
    return [record.token for record in store.journal("c1").read()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "store_url",
    [pytest.param("sqlite", marks=pytest.mark.slow), "postgresql"],
    indirect=True,
)
def test_other_process_goes_on_after_a_kill(store_url: str, tmp_path: Path) -> None:
    """Within 15 s of kill -9 another process acts; no VM is lost or doubled."""
    _fail_over(signal.SIGKILL, store_url, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_process_that_stood_still_does_nothing_more(store_url: str, tmp_path: Path) -> None:
    """A leader that is stopped and goes on later finds that it is the leader no longer."""
    _fail_over(signal.SIGSTOP, store_url, tmp_path)


def _fail_over(how: signal.Signals, store_url: str, tmp_path: Path) -> None:
    socket = str(tmp_path / "world")
    store = _prepare(store_url)
    with _process("serve", socket), _process("lead", socket, store_url) as first:
        _wait(lambda: _is_looked_after(store))
        with _process("lead", socket, store_url):
            _approve_plan(store)
            _wait(lambda: len(_tokens(store)) > 3)
            old = _tokens(store)[-1]
            first.send_signal(how)
            took_s = _wait(lambda: _tokens(store)[-1] != old)
            assert took_s < TAKEN_OVER_S
            first.send_signal(signal.SIGCONT)
            _wait(lambda: _stage(store) is PlanStage.DONE)
        _require_whole(store, socket)
    store.close()


def _require_whole(store: Store, socket: str) -> None:
    """Every VM runs once and where the plan has it; each holder wrote after the one before."""
    with store.begin(read_only=True) as tx:
        plan = plan_of(tx.plans.get("c1", PLAN_ID))
    driver = world.remote(socket)
    wanted = plan.placement_after(crowded_host(world.NUM_VMS).placement)
    assert {vm.id: driver.locate(vm.id) for vm in driver.snapshot().vms} == {
        vm_id: (host_id,) for vm_id, host_id in wanted.items()
    }
    tokens = [token for token in _tokens(store) if token is not None]
    assert tokens == sorted(tokens)
    assert len(set(tokens)) >= 2
    records = store.journal("c1").read()
    assert sum(isinstance(r, PlanBegun) and r.plan_id == PLAN_ID for r in records) == 1
