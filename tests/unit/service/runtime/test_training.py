"""The process that trains: it never outlives the one that began it."""

from __future__ import annotations

import multiprocessing
import os
import select
import threading

from service.runtime.training import end_with_parent

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 30.0


def _train(into: int) -> None:
    end_with_parent()
    os.write(into, b"begun")
    threading.Event().wait()


def _lead(into: int) -> None:
    process = FORK.Process(target=_train, args=(into,), daemon=True)
    process.start()
    process.join()


def test_it_ends_when_its_parent_is_killed() -> None:
    """Nobody is left who could tell it to: it notices by itself."""
    out, into = os.pipe()
    parent = FORK.Process(target=_lead, args=(into,))
    parent.start()
    os.close(into)
    with os.fdopen(out, "rb", buffering=0) as told:
        assert told.read(5) == b"begun"
        parent.kill()
        parent.join()
        # The pipe is at its end once nobody is left who could write to it.
        ended, _, _ = select.select([told], [], [], PATIENCE_S)
        assert ended, "it goes on without its parent"
        assert told.read(1) == b""
