"""What a store has acknowledged is there afterwards: after kill -9 and after a full disk."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from executor.errors import JournalError
from executor.records import PlanBegun
from service.store.base import AuditEntry, Item, Kind, Retention
from service.store.errors import StoreError
from service.store.sql import SqlStore, open_store
from solver.domain.units import HostId
from tests.builders import NOW
from tests.executor_builders import make_plan, migrate
from tests.telemetry import Fleet

FORK = multiprocessing.get_context("fork")
START = datetime.fromisoformat("2026-03-02T00:00:00+00:00")
NOW_THERE = START + timedelta(days=1)
ROUNDS = 10
HOST = HostId("host-000")

Tell = Callable[[str], None]


def put_item(store: SqlStore, number: int) -> None:
    """Write an item and the entry about it."""
    name = f"{number:06}"
    item = Item(kind=Kind.RULE, cluster_id="c1", id=name, document={"n": number}, changed_at=NOW)
    with store.begin() as tx:
        tx.items.put(item, expected_revision=0)
        tx.audit.append(
            AuditEntry(at=NOW, actor="e", action="rules.put", cluster_id="c1", subject=name)
        )


def append_record(store: SqlStore, number: int) -> None:
    """Write a record of the journal."""
    plan = make_plan(migrate("v1", "h1", "h2"))
    store.journal("c1").append(PlanBegun(plan_id=str(number), at=NOW, plan=plan))


def deliver_minute(store: SqlStore, number: int) -> None:
    """Deliver a minute, and roll up what is due now and then."""
    at = START + number * timedelta(minutes=1)
    record = Fleet(1, 20, seed=number).record(HOST, at)
    answer = store.telemetry.receive("c1", HOST, stream="s", records=[(number, record)])
    assert answer.accepted_through == number
    if number % 4 == 0:
        store.telemetry.tidy(at, Retention())


WORKS = {"item": put_item, "record": append_record, "minute": deliver_minute}


@dataclass
class Kept:
    """What a store holds of each work, by number, in the order it tells them."""

    item: list[int] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    minute: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, url: str) -> Kept:
        """Read a store, and fail if a transaction is there in part."""
        with closing(open_store(url, now=lambda: NOW_THERE)) as store:
            with store.begin(read_only=True) as tx:
                items = [int(each.id) for each in tx.items.page(Kind.RULE, "c1", limit=10_000)]
                audit = [int(each.subject) for each in tx.audit.page(limit=10_000)]
            assert sorted(audit) == items
            store.telemetry.tidy(NOW_THERE, Retention())
            minutes = list(store.telemetry.records("c1", START, NOW_THERE))
            return cls(
                item=items,
                record=[int(each.plan_id) for each in store.journal("c1").read()],
                minute=[int((each.minute_at - START) / timedelta(minutes=1)) for each in minutes],
            )

    def next_numbers(self) -> dict[str, int]:
        """Return with which number each work goes on."""
        return {work: (numbers or [0])[-1] + 1 for work, numbers in vars(self).items()}


def work_on(url: str, numbers: dict[str, int], tell: Tell) -> None:
    """Do every work in turn, and tell of each once it was acknowledged."""
    store = open_store(url, now=lambda: NOW_THERE)
    while True:
        for work, do in WORKS.items():
            do(store, numbers[work])
            tell(f"{work} {numbers[work]}\n")
            numbers[work] += 1


def killed_at_random(
    url: str, numbers: dict[str, int], dice: random.Random
) -> list[tuple[str, int]]:
    """Let a process work, kill it -9 at some moment, and return what it was told is kept."""
    out, into = os.pipe()
    process = FORK.Process(
        target=work_on, args=(url, numbers, lambda line: os.write(into, line.encode()))
    )
    process.start()
    os.close(into)
    with os.fdopen(out) as told:
        lines = [told.readline() for _ in range(dice.randint(1, 12))]
        # Anywhere within the next transaction.
        time.sleep(dice.random() * 0.03)
        process.kill()
        process.join()
        lines += told.readlines()
    assert process.exitcode == -signal.SIGKILL, "it ended by itself"
    return [(work, int(number)) for work, number in (line.split() for line in lines)]


def test_everything_acknowledged_survives_kill_9(store_url: str) -> None:
    """Items with their entries, records of the journal and minutes, killed again and again."""
    dice = random.Random(5)
    open_store(store_url).close()
    acknowledged: set[tuple[str, int]] = set()
    for _ in range(ROUNDS):
        acknowledged |= set(killed_at_random(store_url, Kept.of(store_url).next_numbers(), dice))
        kept = Kept.of(store_url)
        for work, numbers in vars(kept).items():
            # In order, each once, and at most the one that was under way beyond what was told.
            assert numbers == list(range(1, len(numbers) + 1))
            told = {number for of, number in acknowledged if of == work}
            assert told <= set(numbers)
    assert len(acknowledged) > 3 * ROUNDS
    with closing(open_store(store_url)) as store:
        found = store.telemetry.history("c1", START, START + timedelta(hours=1))
    assert found.num_vms == 20


def fill_disk(url: str, limit_bytes: int, tell: Tell) -> None:
    """Write until no file may grow, tell the errors, and go on once files may grow again."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = open_store(url, now=lambda: NOW_THERE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))
    numbers = dict.fromkeys(WORKS, 1)
    full: set[str] = set()
    while full != set(WORKS):
        for work, do in WORKS.items():
            try:
                do(store, numbers[work])
            except (StoreError, JournalError) as error:
                full.add(work)
                tell(f"{type(error).__name__} {work}\n")
            else:
                tell(f"{work} {numbers[work]}\n")
                numbers[work] += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    for work, do in WORKS.items():
        do(store, numbers[work])
        tell(f"{work} {numbers[work]}\n")


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """Every kind of write is refused with an error of its own, and goes on once there is room."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    open_store(url).close()
    limit_bytes = (tmp_path / "store.db").stat().st_size + 200_000
    out, into = os.pipe()
    process = FORK.Process(
        target=fill_disk,
        args=(url, limit_bytes, lambda line: os.write(into, line.encode())),
    )
    process.start()
    os.close(into)
    with os.fdopen(out) as told:
        lines = [line.split() for line in told]
    process.join()
    assert process.exitcode == 0
    errors = {(name, work) for name, work in lines if name.endswith("Error")}
    assert errors >= {
        ("StoreError", "item"),
        ("JournalError", "record"),
        ("StoreError", "minute"),
    }
    kept = Kept.of(url)
    for work, numbers in vars(kept).items():
        assert numbers == [int(number) for name, number in lines if name == work]
