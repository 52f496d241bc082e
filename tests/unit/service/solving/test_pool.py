"""Worker processes: fed, cancelled, replaced, ended with whoever started them."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.errors import UnavailableError
from service.solving.errors import (
    OverloadedError,
    PoolClosedError,
    WorkCancelledError,
    WorkerError,
)
from service.solving.pool import PoolSettings, SolverPool
from service.solving.work import Progress
from solver.domain.errors import InvalidInputError
from tests.pool_work import (
    ComesTooSoon,
    Dies,
    Echo,
    Garbles,
    Refuses,
    Stumbles,
    UntilCancelled,
)

SOON_S = 60.0


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    """One worker, and room for two pieces of work to wait."""
    pool = SolverPool(PoolSettings(num_workers=1, max_waiting=2))
    pool.start()
    assert pool.wait_until_ready(SOON_S)
    yield pool
    pool.close()


def pid_of(pool: SolverPool) -> int:
    """Return the process that does the work now."""
    return int(json.loads(pool.submit(Echo()).result(SOON_S))["pid"])


def is_gone(process_id: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its end yet."""
    with suppress(FileNotFoundError, ProcessLookupError):
        stat = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
        return stat.rpartition(")")[2].split()[0] in "ZX"
    return True


def eventually(holds: Callable[[], bool]) -> bool:
    """Return whether something came to hold within the time."""
    ends_s = time.monotonic() + SOON_S
    while not holds() and time.monotonic() < ends_s:
        time.sleep(0.01)
    return holds()


def test_work_is_done_with_progress(pool: SolverPool) -> None:
    """The answer comes from another process, and what it told on the way comes before."""
    told: list[Progress] = []
    answer = json.loads(pool.submit(Echo(number=7), on_progress=told.append).result(SOON_S))
    assert answer["number"] == 7
    assert answer["pid"] != os.getpid()
    assert told == [Progress(best=7, bound=0, engine="echo")]


def test_the_same_worker_does_the_next_work(pool: SolverPool) -> None:
    """A worker is kept: loading takes longer than a small solve."""
    assert pid_of(pool) == pid_of(pool)


def test_an_error_of_the_work_is_raised_here(pool: SolverPool) -> None:
    """A wrong input keeps its type and its path on the way back."""
    with pytest.raises(InvalidInputError) as caught:
        pool.submit(Refuses()).result(SOON_S)
    assert caught.value.path == "history.demand"


def test_an_error_with_more_than_a_message_comes_back_whole(pool: SolverPool) -> None:
    """One that could not be unpickled once ended the thread that serves the worker, for ever."""
    with pytest.raises(UnavailableError, match="come again") as caught:
        pool.submit(ComesTooSoon()).result(SOON_S)
    assert caught.value.retry_after_s == 7


def test_what_cannot_be_read_costs_its_work_alone(pool: SolverPool) -> None:
    """Whoever waits is told at once, and a new worker does what comes next."""
    with pytest.raises(WorkerError, match="cannot be read"):
        pool.submit(Garbles()).result(SOON_S)
    assert json.loads(pool.submit(Echo(number=3)).result(SOON_S))["number"] == 3


def test_a_fault_ends_the_work_alone(pool: SolverPool) -> None:
    """An error that nobody foresaw is told by name, and the worker goes on."""
    before = pid_of(pool)
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        pool.submit(Stumbles()).result(SOON_S)
    assert pid_of(pool) == before


def test_cancelled_work_answers_with_what_it_has(pool: SolverPool) -> None:
    """Cancelling reaches work that runs."""
    begun: queue.Queue[Progress] = queue.Queue()
    ticket = pool.submit(UntilCancelled(), on_progress=begun.put)
    begun.get(timeout=SOON_S)
    pool.cancel(ticket)
    assert json.loads(ticket.result(SOON_S)) == {"cancelled": True}


def test_waiting_work_is_cancelled_at_once(pool: SolverPool) -> None:
    """What no worker has begun is dropped, and the queue goes on behind it."""
    begun: queue.Queue[Progress] = queue.Queue()
    running = pool.submit(UntilCancelled(), on_progress=begun.put)
    begun.get(timeout=SOON_S)
    waiting = pool.submit(Echo())
    last = pool.submit(Echo(number=3))
    pool.cancel(waiting)
    with pytest.raises(WorkCancelledError):
        waiting.result(0)
    pool.cancel(running)
    assert json.loads(last.result(SOON_S))["number"] == 3


def test_too_much_is_refused_at_once(pool: SolverPool) -> None:
    """Beyond what may wait, work is refused with when to come again, and nothing is lost."""
    begun: queue.Queue[Progress] = queue.Queue()
    running = pool.submit(UntilCancelled(), on_progress=begun.put)
    begun.get(timeout=SOON_S)
    waiting = [pool.submit(Echo(number=n)) for n in range(2)]
    with pytest.raises(OverloadedError) as caught:
        pool.submit(Echo())
    assert caught.value.retry_after_s >= 1
    pool.cancel(running)
    assert [json.loads(t.result(SOON_S))["number"] for t in waiting] == [0, 1]


def test_a_worker_that_dies_fails_its_work_and_is_replaced(pool: SolverPool) -> None:
    """The reason names the signal; the next work finds a new worker."""
    before = pid_of(pool)
    with pytest.raises(WorkerError, match="SIGKILL"):
        pool.submit(Dies()).result(SOON_S)
    assert pid_of(pool) != before


def test_a_worker_that_died_idle_costs_no_work(pool: SolverPool) -> None:
    """Work given to a worker that is no more goes to its successor."""
    before = pid_of(pool)
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: is_gone(before))
    assert pid_of(pool) != before


def test_a_worker_that_has_grown_is_replaced() -> None:
    """Memory is bounded: beyond it the worker is ended between two pieces of work."""
    pool = SolverPool(PoolSettings(max_resident_mib=1))
    pool.start()
    try:
        first = pid_of(pool)
        assert pid_of(pool) != first
        assert eventually(lambda: is_gone(first))
    finally:
        pool.close()


def test_closing_fails_what_is_not_done() -> None:
    """Running and waiting work is told that the service ends; no process is left."""
    other = SolverPool(PoolSettings(max_waiting=4))
    other.start()
    process_id = pid_of(other)
    begun: queue.Queue[Progress] = queue.Queue()
    tickets = [other.submit(UntilCancelled(), on_progress=begun.put), other.submit(Echo())]
    begun.get(timeout=SOON_S)
    other.close()
    for ticket in tickets:
        with pytest.raises(PoolClosedError):
            ticket.result(SOON_S)
    with pytest.raises(PoolClosedError):
        other.submit(Echo())
    assert is_gone(process_id)


def test_workers_end_with_a_parent_that_is_killed() -> None:
    """A server that is killed leaves no worker behind."""
    program = (
        "from service.solving.pool import SolverPool, PoolSettings\n"
        "pool = SolverPool(PoolSettings())\n"
        "pool.start()\n"
        f"assert pool.wait_until_ready({SOON_S})\n"
        "print(pool.process_ids[0], flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert not is_gone(worker)
        parent.kill()
        assert eventually(lambda: is_gone(worker))


def test_work_that_ended_is_told(pool: SolverPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counts learns how it ended, and how long it took."""
    told: list[tuple[str, float]] = []
    monkeypatch.setattr(pool, "on_ended", lambda status, took_s: told.append((status, took_s)))
    pool.submit(Echo()).result(SOON_S)
    with pytest.raises(InvalidInputError):
        pool.submit(Refuses()).result(SOON_S)
    assert [status for status, _ in told] == ["answered", "refused"]
    assert all(took_s > 0 for _, took_s in told)
