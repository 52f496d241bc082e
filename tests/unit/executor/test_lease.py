"""What a lease in a file adds to the promises of all: dead processes, foreign clocks, damage."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from executor.errors import LeaseError, LeaseHeldError, LeaseLostError
from executor.lease import FileLease, boottime_s
from executor.processes import ProcessMark, kill_lock_holder, lock_holder
from solver.domain.errors import InvalidInputError

FORK = multiprocessing.get_context("fork")


def edit(path: Path, **fields: Any) -> None:
    """Change what stands in a lease's file."""
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, **fields}))


def test_a_dead_holder_is_not_waited_for(tmp_path: Path) -> None:
    """On one machine the dead are known to be dead."""
    path = tmp_path / "lease"
    process = FORK.Process(target=lambda: FileLease(path, ttl_s=1e6).acquire())
    process.start()
    process.join()
    assert FileLease(path).acquire() == 2


def test_a_number_that_was_used_again_is_another_process(tmp_path: Path) -> None:
    """A process is named by its number and its start."""
    path = tmp_path / "lease"
    FileLease(path, ttl_s=1e6).acquire()
    mark = json.loads(path.read_text())["process"]
    edit(path, process={**mark, "started_ticks": mark["started_ticks"] + 1})
    assert FileLease(path).acquire() == 2


def test_a_process_of_another_container_may_be_alive(tmp_path: Path) -> None:
    """Its number says nothing here, so its lease has to run out."""
    path = tmp_path / "lease"
    FileLease(path, ttl_s=1e6).acquire()
    mark = json.loads(path.read_text())["process"]
    edit(path, process={**mark, "pid": 2**22 + 1, "namespace": 1})
    with pytest.raises(LeaseHeldError):
        FileLease(path).acquire()


def test_an_instant_of_another_clock_says_nothing(tmp_path: Path) -> None:
    """After a restart of the machine it has run out once it was seen unchanged for so long."""
    path = tmp_path / "lease"
    now_s = 5.0
    FileLease(path, ttl_s=30, now_s=lambda: 1e6).acquire()
    edit(path, clock="another start of the machine")
    other = FileLease(path, now_s=lambda: now_s)
    with pytest.raises(LeaseHeldError):
        other.acquire()
    now_s = 34.0
    edit(path, expires_at_s=2e6)
    with pytest.raises(LeaseHeldError):
        other.acquire()
    now_s = 63.0
    with pytest.raises(LeaseHeldError):
        other.acquire()
    now_s = 64.0
    assert other.acquire() == 2


def test_a_fork_does_not_inherit_it(tmp_path: Path) -> None:
    """The copy of a process is another process."""
    lease = FileLease(tmp_path / "lease")
    lease.acquire()

    def act() -> None:
        with lease.guard():
            pass

    process = FORK.Process(target=_exit_with_error_kind, args=(act,))
    process.start()
    process.join()
    assert process.exitcode == 3
    with lease.guard():
        pass


def _exit_with_error_kind(act: Any) -> None:
    try:
        act()
    except LeaseLostError:
        os._exit(3)
    os._exit(0)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 99}', b'{"format": 1}'])
def test_a_damaged_file_lets_nobody_act(tmp_path: Path, content: bytes) -> None:
    """Whose it is cannot be told, so it is nobody's, and the error names the file."""
    lease = FileLease(tmp_path / "lease")
    lease.acquire()
    (tmp_path / "lease").write_bytes(content)
    with pytest.raises(LeaseError, match="lease"):
        FileLease(tmp_path / "lease").acquire()
    with pytest.raises(LeaseError, match="lease"), lease.guard():
        raise AssertionError("acted")


def test_a_folder_must_exist(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(LeaseError, match="nowhere"):
        FileLease(tmp_path / "nowhere" / "lease").acquire()


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan")])
def test_it_must_last(tmp_path: Path, ttl_s: float) -> None:
    """A lease that has always run out protects nobody."""
    with pytest.raises(InvalidInputError, match="ttl_s"):
        FileLease(tmp_path / "lease", ttl_s=ttl_s)


def test_the_clock_counts_from_the_start_of_the_machine() -> None:
    """It is not the clock on the wall, which may be set."""
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    assert boottime_s() == pytest.approx(uptime_s, abs=60)


def _hold_lock(path: Path) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    while True:
        signal.pause()


def test_who_only_looks_and_stands_still_is_ended_too(tmp_path: Path) -> None:
    """A process stopped while it takes over would otherwise keep everybody out for ever."""
    now_s = 0.0
    lease = FileLease(tmp_path / "lease", ttl_s=30, now_s=lambda: now_s)
    process = FORK.Process(target=_hold_lock, args=(tmp_path / "lease.lock",))
    process.start()
    with (tmp_path / "lease.lock").open("w") as file:
        give_up_at = time.monotonic() + 30
        while lock_holder(file.fileno()) != process.pid:
            assert time.monotonic() < give_up_at
        with pytest.raises(LeaseHeldError, match=f"in use by process {process.pid}"):
            lease.acquire()
        now_s = 29.0
        with pytest.raises(LeaseHeldError, match="in use"):
            lease.acquire()
        now_s = 30.0
        assert lease.acquire() == 1
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_who_holds_no_lock_is_not_killed(tmp_path: Path) -> None:
    """What was seen a moment ago is looked at again before anything is ended."""
    with (tmp_path / "lock").open("w") as file:
        assert lock_holder(file.fileno()) is None
        kill_lock_holder(os.getpid(), file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holder(file.fileno()) == os.getpid()


def test_this_process_lives() -> None:
    """And is known by its mark."""
    assert not ProcessMark.own().is_gone()
