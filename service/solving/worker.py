"""The worker process: kernels compiled, libraries loaded, one piece of work at a time.

Started by ``service.solving.pool`` as ``python -m service.solving.worker DESCRIPTOR MODULE…``. The
parent's end of the pipe is the worker's life: when it is gone, by whatever death of the parent, the
worker ends at once, so nothing is left behind.
"""

from __future__ import annotations

import importlib
import os
import queue
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from service.interpreter import spare_what_is_loaded
from service.solving.errors import WorkerError
from service.solving.work import Progress, Work
from solver.domain.errors import ForeswapError


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """From the pool: do this work."""

    number: int
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """From the pool: end this work."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """From the worker: everything is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """From the worker: it begins with the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """From the worker: how far it is."""

    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """From the worker: the answer or the error, and how much memory it holds now."""

    answer: bytes | None = None
    error: ForeswapError | None = None
    resident_mib: int = 0


class _Desk:
    """What the worker's two threads share: work to do, and what of it is cancelled."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[tuple[Work, threading.Event]] = queue.SimpleQueue()
        self._cancels: dict[int, threading.Event] = {}

    def listen(self, connection: Connection) -> None:
        """Take messages until the parent is gone, then end the process."""
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                os._exit(0)
            except Exception:  # noqa: BLE001  What cannot be read cannot be answered either.
                traceback.print_exc()
                os._exit(1)
            if isinstance(message, Begin):
                self._cancels = {message.number: threading.Event()}
                self.waiting.put((message.work, self._cancels[message.number]))
            elif isinstance(message, Cancel) and message.number in self._cancels:
                self._cancels[message.number].set()


def serve(connection: Connection, modules: Sequence[str]) -> None:
    """Work until the parent is gone; the modules are loaded beforehand."""
    desk = _Desk()
    threading.Thread(target=desk.listen, args=(connection,), daemon=True).start()
    _load(modules)
    connection.send(Ready())
    while True:
        work, cancel = desk.waiting.get()
        connection.send(Taken())
        ended = _answer(connection, work, cancel)
        del work
        connection.send(ended)


def _answer(connection: Connection, work: Work, cancel: threading.Event) -> Ended:
    try:
        answer = work.run(lambda progress: connection.send(Reached(progress=progress)), cancel)
    except ForeswapError as error:
        return Ended(error=error, resident_mib=resident_mib())
    except Exception as error:  # noqa: BLE001  A fault of ours ends one piece of work, not all.
        traceback.print_exc()
        fault = WorkerError(f"the work met a fault of its own: {type(error).__name__}")
        return Ended(error=fault, resident_mib=resident_mib())
    return Ended(answer=answer, resident_mib=resident_mib())


def _load(modules: Sequence[str]) -> None:
    """Import and compile what work needs, so that no request waits for it."""
    from solver.params import SolveParams
    from solver.solve import prepare

    prepare(SolveParams(), num_hosts=1)
    for module in modules:
        importlib.import_module(module)
    spare_what_is_loaded()


def resident_mib() -> int:
    """Return how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def main() -> None:
    """Serve the pipe whose descriptor is the first argument; others name modules to load."""
    serve(Connection(int(sys.argv[1])), sys.argv[2:])


if __name__ == "__main__":
    # Messages name classes by module: those of ``__main__`` would be strangers to the pool.
    from service.solving.worker import main as run

    run()
