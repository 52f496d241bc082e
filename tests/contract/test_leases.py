"""Every lease keeps every promise of ``executor.lease.Lease``.

A lease joins by a ``Room``: it makes leases that compete for the same right, as two processes
would, and lets time pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from executor.errors import LeaseHeldError, LeaseLostError
from executor.lease import FileLease, Lease
from service.store.columns import EPOCH
from service.store.engine import Database
from service.store.lease import RowLease
from service.store.sql import open_store
from tests.postgresql import PostgreSQL

TTL_S = 30.0


class Room(Protocol):
    """Where competing leases are made."""

    def lease(self) -> Lease:
        """Return another one for the same right."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


class FileRoom:
    """Leases in one file, by a clock that is wound."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lease"
        self._now_s = 1000.0

    def lease(self) -> Lease:
        """Return another one for the same file."""
        return FileLease(self._path, ttl_s=TTL_S, now_s=lambda: self._now_s)

    def wait(self, seconds: float) -> None:
        """Wind the clock."""
        self._now_s += seconds


class RowRoom:
    """Leases in one row of PostgreSQL, by a clock that is wound."""

    def __init__(self, server: PostgreSQL) -> None:
        url = server.new_database()
        open_store(url).close()
        self.database = Database(url)
        self._now = EPOCH + timedelta(days=1)

    def lease(self) -> Lease:
        """Return another one for the same row."""
        return RowLease(self.database, "leader", ttl_s=TTL_S, now=lambda _: self._now)

    def wait(self, seconds: float) -> None:
        """Wind the clock."""
        self._now += timedelta(seconds=seconds)


@pytest.fixture(params=["file", "row"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    """Where the leases of each kind compete."""
    if request.param == "file":
        yield FileRoom(tmp_path)
        return
    room = RowRoom(request.getfixturevalue("postgresql_server"))
    yield room
    room.database.close()


def test_one_holds_it_and_others_are_told(room: Room) -> None:
    """The second comes in vain, and the first does not notice."""
    first, second = room.lease(), room.lease()
    token = first.acquire()
    assert first.token == token
    with pytest.raises(LeaseHeldError, match="held"):
        second.acquire()
    assert second.token is None
    with first.guard() as inside:
        assert inside == token


def test_acquiring_again_changes_nothing(room: Room) -> None:
    """Whoever holds it keeps the token, and has it for another while."""
    lease = room.lease()
    token = lease.acquire()
    room.wait(TTL_S - 1)
    assert lease.acquire() == token
    room.wait(TTL_S - 1)
    with pytest.raises(LeaseHeldError):
        room.lease().acquire()


@pytest.mark.parametrize("how", ["released", "run out"])
def test_every_holder_has_a_larger_token(room: Room, how: str) -> None:
    """So that whatever was written says who wrote later; the same one again counts too."""
    tokens = []
    for lease in (room.lease(), room.lease(), room.lease()):
        tokens.append(lease.acquire())
        if how == "released":
            lease.release()
            assert lease.token is None
            tokens.append(lease.acquire())
        room.wait(TTL_S)
    assert tokens == sorted(set(tokens))


def test_renewing_keeps_it(room: Room) -> None:
    """As long as the holder comes back in time nobody else gets it."""
    lease, other = room.lease(), room.lease()
    lease.acquire()
    assert 0 < lease.renew_interval_s <= TTL_S / 2
    for _ in range(10):
        room.wait(lease.renew_interval_s)
        lease.renew()
        with pytest.raises(LeaseHeldError):
            other.acquire()


def test_who_lost_it_can_do_nothing(room: Room) -> None:
    """Neither act nor stay, and releasing it does not take it from the new holder."""
    first, second = room.lease(), room.lease()
    first.acquire()
    room.wait(TTL_S)
    token = second.acquire()
    entered = False
    with pytest.raises(LeaseLostError), first.guard():
        entered = True
    assert not entered
    assert first.token is None
    with pytest.raises(LeaseLostError):
        first.renew()
    first.release()
    with pytest.raises(LeaseHeldError):
        first.acquire()
    with second.guard() as inside:
        assert inside == token


def test_who_came_late_but_first_goes_on(room: Room) -> None:
    """Running out means only that others may take it; while nobody has, nothing is lost."""
    lease = room.lease()
    token = lease.acquire()
    room.wait(10 * TTL_S)
    with lease.guard() as inside:
        assert inside == token
    with pytest.raises(LeaseHeldError):
        room.lease().acquire()


def test_nobody_takes_over_while_somebody_acts(room: Room) -> None:
    """However long it lasts: the lock outlives the lease."""
    first, second = room.lease(), room.lease()
    first.acquire()
    with first.guard():
        room.wait(10 * TTL_S)
        with pytest.raises(LeaseHeldError, match="in use"):
            second.acquire()
    second.acquire()


def test_guards_may_be_nested(room: Room) -> None:
    """What acts may write down what it does, which is guarded too."""
    lease = room.lease()
    token = lease.acquire()
    with lease.guard(), lease.guard() as inner:
        assert inner == token
        lease.renew()


def test_an_error_inside_frees_the_guard(room: Room) -> None:
    """A failed action does not keep others out."""
    first, second = room.lease(), room.lease()
    first.acquire()
    with pytest.raises(ZeroDivisionError), first.guard():
        raise ZeroDivisionError
    first.release()
    second.acquire()


def test_without_acquiring_nothing_may_be_done(room: Room) -> None:
    """The error says so."""
    lease = room.lease()
    with pytest.raises(LeaseLostError, match="not held"), lease.guard():
        raise AssertionError("acted")
    with pytest.raises(LeaseLostError, match="not held"):
        lease.renew()
    lease.release()
