"""What one process changes, another sees at once, though both keep decoded clusters."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

import pytest

from service.inventory.clusters import keep_snapshot
from service.inventory.effective import effective
from service.inventory.priorities import Wanted, set_priorities, set_priority
from service.inventory.rules import delete_rule, put_rule
from service.store.base import Store
from service.store.sql import open_store
from solver.domain.rules import AntiAffinity
from solver.domain.units import VmId
from tests.builders import NOW
from tests.inventories import CLUSTER, OPERATOR, fill, small_cluster

FORK = multiprocessing.get_context("fork")
DEADLINE_S = 60.0
V1, V2 = VmId("v1"), VmId("v2")

Look = tuple[list[int], list[str], int]
"""Priorities of the VMs, ids of the rules, and the number of hosts."""


def look(store: Store) -> Look:
    """Return what a process sees of the cluster."""
    with store.begin(read_only=True) as tx:
        cluster = effective(tx, CLUSTER)
    rules = [rule.id for rule in cluster.rules]
    return [vm.priority for vm in cluster.vms], rules, len(cluster.hosts)


def other_process(url: str, asked: Connection) -> None:
    """Look at the cluster as often as asked to."""
    store: Any = open_store(url)
    while asked.recv():
        asked.send(look(store))
    store.close()


class Replica:
    """A process of its own on the same store."""

    def __init__(self, url: str) -> None:
        self._ours, theirs = FORK.Pipe()
        self._process = FORK.Process(target=other_process, args=(url, theirs))
        self._process.start()

    def look(self) -> Look:
        """Return what it sees."""
        self._ours.send(True)
        assert self._ours.poll(DEADLINE_S)
        seen: Look = self._ours.recv()
        return seen

    def end(self) -> None:
        """Let it end."""
        self._ours.send(False)
        self._process.join(DEADLINE_S)
        assert self._process.exitcode == 0


@pytest.fixture
def replica(store_url: str) -> Iterator[Replica]:
    """Another process; begun before this one opens anything, so that nothing is inherited."""
    open_store(store_url).close()
    replica = Replica(store_url)
    yield replica
    replica.end()


@pytest.fixture
def store(store_url: str, replica: Replica) -> Iterator[Store]:
    """The store of this process, with the small cluster in it."""
    opened: Any = open_store(store_url)
    yield fill(opened)
    opened.close()


def test_every_change_is_seen_by_the_other_process(store: Store, replica: Replica) -> None:
    """Priorities, one and many, rules made and removed, a snapshot: each right after the other."""
    assert replica.look() == look(store) == ([5, 5, 8, 5], [], 3)
    with store.begin() as tx:
        wanted = Wanted(vm_id=V1, priority=2)
        set_priority(tx, OPERATOR, CLUSTER, wanted, expected_revision=None, now=NOW)
    assert replica.look() == ([2, 5, 8, 5], [], 3)
    with store.begin() as tx:
        many = [Wanted(vm_id=V1, priority=3), Wanted(vm_id=V2, priority=4)]
        set_priorities(tx, OPERATOR, CLUSTER, many, now=NOW)
    assert replica.look() == ([3, 4, 8, 5], [], 3)
    rule = AntiAffinity(id="apart", vm_ids=(V1, V2))
    with store.begin() as tx:
        put_rule(tx, OPERATOR, CLUSTER, rule, proposal=None, expected_revision=0, now=NOW)
    assert replica.look() == ([3, 4, 8, 5], ["apart"], 3)
    with store.begin() as tx:
        delete_rule(tx, OPERATOR, CLUSTER, "apart", expected_revision=1, now=NOW)
    seen = small_cluster()
    later = replace(seen, observed_at=NOW + timedelta(seconds=1))
    with store.begin() as tx:
        keep_snapshot(tx, CLUSTER, replace(later, vms=later.vms[:2]), now=NOW)
    assert replica.look() == look(store) == ([3, 4], [], 3)


def test_an_unfinished_change_is_seen_by_nobody_else(store: Store, replica: Replica) -> None:
    """Until the transaction ends, the other process sees what stood before."""
    before = replica.look()
    with store.begin() as tx:
        wanted = Wanted(vm_id=V1, priority=2)
        set_priority(tx, OPERATOR, CLUSTER, wanted, expected_revision=None, now=NOW)
        assert effective(tx, CLUSTER).vms[0].priority == 2
        assert replica.look() == before
    assert replica.look() != before
