"""One process on one SQLite file: a second service beside it would act on the same hosts.

Several replicas share a PostgreSQL, where a lease of the store says who acts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from solver.domain.errors import ForeswapError, InvalidInputError


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder of the store for this process; it is made if it is not there.

    The lock goes with the process, however that ends.

    Raises
    ------
    InvalidInputError
        If the folder cannot be made or written to.
    ForeswapError
        If another process holds it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / "service.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise InvalidInputError(
            f"expected a folder to write to, got {str(folder)!r}: {error.strerror}",
            path="store.folder",
        ) from error
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise ForeswapError(
            f"store.folder: {folder} is in use by a service that runs already (process {holder}); "
            "several replicas need PostgreSQL (store.url)"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
