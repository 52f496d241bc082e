"""Removes what nobody will ask for again; any replica may, as often as it likes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from service.store.base import Retention, Store
from solver.domain.errors import ForeswapError

INTERVAL_S: Final = 60.0

ANSWERS_KEPT: Final = timedelta(days=1)
"""Idempotency keys: far longer than anything that tries again goes on trying."""

_log = logging.getLogger(__name__)


def tidy(store: Store, retention: Retention, now: datetime) -> None:
    """Remove what has expired, and roll telemetry up.

    Raises
    ------
    StoreError
        If the store cannot be used; the next time goes on where this one ended.
    """
    with store.begin() as tx:
        tx.credentials.forget_expired(now)
        tx.answers.forget(now - ANSWERS_KEPT)
    store.telemetry.tidy(now, retention)


@contextmanager
def kept_tidy(store: Store, retention: Retention, now: Callable[[], datetime]) -> Iterator[None]:
    """Keep a store tidy within the block, in a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(INTERVAL_S):
            try:
                tidy(store, retention, now())
            except ForeswapError as error:
                _log.warning("the store could not be tidied: %s", error)

    thread = threading.Thread(target=run, name="housekeeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
