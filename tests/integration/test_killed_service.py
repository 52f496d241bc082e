"""The service is killed -9 at random moments, and started again on the same store each time.

Meanwhile a monitor delivers, somebody edits, and a plan is carried out. All of it is killed, or
the process that answers alone, before that the one that acts, or all while it is being started.
Whatever was acknowledged is there afterwards, and no process is left behind.
"""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from executor.clock import SystemClock
from executor.records import MoveChanged, PlanBegun
from executor.states import MOVE_TRANSITIONS, MoveState
from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings, DriverSettings
from service.plans.wishes import put_schedule
from service.runtime.memory import Memory, write_memory
from service.runtime.simulated import SimulatedCluster
from service.runtime.window import on_grid
from service.security import tokens
from service.security.principal import Principal, Role
from service.store.base import Retention, Store
from service.store.sql import open_store
from tests.acknowledged import MOVED, NUM_VMS, TOLD, Asker, Editor, GoneError, Monitor, Operator
from tests.plans import crowded_host
from tests.served import COMMAND, Served, served, surroundings

ADMIN = Principal(name="ada", role=Role.ADMIN)
SPEED = 10.0
"""Times real time: a migration takes some seconds."""
SETTINGS = {"FORESWAP_RUNTIME__LEASE_S": "2"}
SEED = 20
PATIENCE_S = 180.0

ALL, WEB, RUNTIME, AT_START = "all", "web alone", "runtime, then web", "at start"


def _prepare(store: Store) -> dict[Role, str]:
    """Make two clusters in a store, with nothing planned by itself; return tokens by role."""
    now = datetime.now(UTC)
    cluster = replace(crowded_host(NUM_VMS), observed_at=now)
    driver = DriverSettings(kind="simulated", seed=1, speed=SPEED)
    with store.begin() as tx:
        for name, settings in (
            (MOVED, ClusterSettings(name="Moved", driver=driver)),
            (TOLD, ClusterSettings(name="Told")),
        ):
            put_cluster(tx, ADMIN, name, settings, expected_revision=0, now=now)
            keep_snapshot(tx, name, cluster, now=now)
        write_memory(tx, MOVED, now, Memory(last_run_at=now))
        schedule = {"automation": "approve", "interval_minutes": 10_080, "retries": 0}
        put_schedule(tx, ADMIN, MOVED, schedule, expected_revision=0, now=now)
        admin = tokens.NewToken(name="program", role=Role.ADMIN)
        agent = tokens.NewToken(name="monitors", role=Role.AGENT, cluster_id=TOLD)
        secrets = {each.role: tokens.create(tx, ADMIN, each, now)[1] for each in (admin, agent)}
    # An hour of telemetry is too little to train on, which would take all processors.
    made_up = SimulatedCluster(seed=1, before=cluster, journal=(), clock=SystemClock())
    end_at = on_grid(now)
    store.telemetry.put_history(MOVED, made_up.telemetry(end_at - timedelta(hours=1), end_at))
    return secrets


class Killing:
    """A service on one store, its clients, and dice that say when to kill.

    Parameters
    ----------
    home
        Where the service keeps what it keeps.
    """

    def __init__(self, home: Path, seed: int) -> None:
        self._home = home
        self._dice = random.Random(seed)
        self._left: list[psutil.Process] = []
        self._errors: list[Exception] = []
        self.editor, self.monitor, self.operator = Editor(), Monitor(), Operator()
        folder = home / "state" / "foreswap"
        folder.mkdir(parents=True)
        self._url = f"sqlite:///{folder / 'foreswap.db'}"
        with closing(open_store(self._url)) as store:
            self._secrets = _prepare(store)

    def round(self, kind: str) -> None:
        """Start the service, compare, let it work, and kill it."""
        if kind == AT_START:
            self._kill_at_start()
            return
        with served(self._home, **SETTINGS) as service:
            asker = self._asker(service)
            self._check(asker)
            self.monitor.change_host()
            with self._working(service):
                self._wait_for_work()
                if kind == RUNTIME:
                    _kill_runtime(service, asker)
                self._left += self._kill(service.process, web_alone=kind in (WEB, RUNTIME))

    def finish(self) -> int:
        """Start the service, let the plan come to its end, compare; return the bins compared."""
        with closing(open_store(self._url)) as store:
            store.telemetry.tidy(datetime.now(UTC), Retention())
        with served(self._home, **SETTINGS) as service:
            asker = self._asker(service)
            self._check(asker)
            num_bins = self.monitor.check_history(asker)
            with self._working(service):
                _wait(lambda: self.operator.is_idle, "the plan is over")
            self._check(asker)
            self._left += psutil.Process(service.process.pid).children(recursive=True)
            assert service.stop() == 0
        self._require_nothing_left()
        return num_bins

    def _check(self, asker: Asker) -> None:
        """Compare what the service shows and the store holds with what was acknowledged."""
        self.editor.check(asker)
        self.operator.check(asker)
        self._require_nothing_left()
        with closing(open_store(self._url)) as store:
            self.monitor.check(store)
            _check_journal(store)
            self.operator.propose(store, asker)

    def _asker(self, service: Served, role: Role = Role.ADMIN) -> Asker:
        return Asker(service.url, self._secrets[role])

    def _require_nothing_left(self) -> None:
        _wait(lambda: not any(map(_lives, self._left)), "nothing is left of a killed service")
        self._left.clear()

    @contextmanager
    def _working(self, service: Served) -> Iterator[None]:
        """Let all clients work within the block, or until the service is gone."""
        ended = threading.Event()

        def work(client: Editor | Monitor | Operator) -> None:
            asker = self._asker(service, Role.AGENT if client is self.monitor else Role.ADMIN)
            try:
                while not ended.is_set():
                    client.act(asker)
            except GoneError:
                return
            except Exception as error:  # noqa: BLE001  The thread that waits for it tells of it.
                self._errors.append(error)

        clients = (self.editor, self.monitor, self.operator)
        threads = [threading.Thread(target=work, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(PATIENCE_S)
            if self._errors:
                raise self._errors[0]

    def _wait_for_work(self) -> None:
        """Wait for some work to be acknowledged, and then for a moment."""
        edits = self.editor.acknowledged + self._dice.randint(1, 8)
        minutes = self.monitor.acknowledged + self._dice.randint(1, 8)
        progress = self.operator.num_progress + self._dice.choice((0, 1, 2, 4))
        _wait(
            lambda: (
                bool(self._errors)
                or (
                    self.editor.acknowledged >= edits
                    and self.monitor.acknowledged >= minutes
                    and (self.operator.num_progress >= progress or self.operator.is_idle)
                )
            ),
            f"{edits} edits, {minutes} minutes, {progress} changes of the plan",
        )
        time.sleep(self._dice.random() * 0.5)

    def _kill_at_start(self) -> None:
        with (self._home / "service.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(
                [COMMAND, "serve", "--port", "0"],
                env=surroundings(self._home, **SETTINGS),
                stdout=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )
            time.sleep(self._dice.random() * 3)
            self._left += self._kill(process, web_alone=False)

    def _kill(self, process: subprocess.Popen[str], *, web_alone: bool) -> list[psutil.Process]:
        """Kill the service, in any order; return the processes it had."""
        web = psutil.Process(process.pid)
        others = web.children(recursive=True)
        victims = [web] if web_alone else self._dice.sample([web, *others], 1 + len(others))
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        process.wait()
        return others


def _kill_runtime(service: Served, asker: Asker) -> None:
    """Kill the process that acts, and wait until another one does."""
    _wait(lambda: _runtime_of(service) is not None, "there is a runtime")
    before = _runtime_of(service)
    assert before is not None
    before.kill()
    _wait(lambda: not _lives(before), "the runtime is gone")
    seen_at = asker.get(f"/clusters/{MOVED}")["observed_at"]
    _wait(
        lambda: asker.get(f"/clusters/{MOVED}")["observed_at"] != seen_at,
        "another runtime looks at the cluster",
    )
    after = _runtime_of(service)
    assert after is not None
    assert after.pid != before.pid


def _runtime_of(service: Served) -> psutil.Process | None:
    for child in psutil.Process(service.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if "service.runtime" in child.cmdline():
                return child
    return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait(until: Callable[[], bool], what: str) -> None:
    ends_s = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < ends_s, f"it never came: {what}"
        time.sleep(0.02)


def _check_journal(store: Store) -> None:
    """Every plan was begun once, by legal transitions alone, and later holders wrote later."""
    records = store.journal(MOVED).read()
    begun = [record.plan_id for record in records if isinstance(record, PlanBegun)]
    assert len(begun) == len(set(begun))
    states: dict[tuple[str, int], MoveState] = {}
    for record in records:
        if isinstance(record, MoveChanged):
            step = record.plan_id, record.step_idx
            before = states.get(step, MoveState.WAITING)
            assert MOVE_TRANSITIONS[before][record.event] is record.state
            states[step] = record.state
    written = [record.token for record in records if record.token is not None]
    assert written == sorted(written)


def _killed(home: Path, kinds: list[str], seed: int) -> None:
    print(f"seed {seed}: {dict(Counter(kinds))}")
    killing = Killing(home, seed)
    for number, kind in enumerate(kinds, start=1):
        print(f"round {number}: {kind}", flush=True)
        killing.round(kind)
    num_bins = killing.finish()
    print(
        f"acknowledged: {killing.editor.acknowledged} edits, {killing.monitor.acknowledged} minutes"
        f" ({num_bins} bins compared), {killing.operator.acknowledged} decisions on plans,"
        f" {killing.operator.num_done} steps of plans that are over"
    )
    assert killing.operator.num_done >= 1
    assert killing.editor.acknowledged >= len(kinds)
    assert num_bins >= 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_is_killed_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """The process that acts, and once there is another, the one that answers: all end with it."""
    _killed(tmp_path, [RUNTIME], SEED)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_killed_fifty_times(tmp_path: Path) -> None:
    """In the same ways, in any order."""
    dice = random.Random(SEED + 1)
    _killed(tmp_path, dice.choices([ALL, WEB, RUNTIME, AT_START], [5, 3, 1, 1], k=50), SEED + 1)
