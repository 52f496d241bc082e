"""Removes what nobody will ask for again; any replica may, as often as it likes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from service.plans.document import OVER, START_BLOBS
from service.store.base import Retention, Store
from solver.domain.errors import ForeswapError

INTERVAL_S: Final = 60.0

ANSWERS_KEPT: Final = timedelta(days=1)
"""Idempotency keys: far longer than anything that tries again goes on trying."""

ATTEMPTS_KEPT: Final = timedelta(days=1)
"""Failed logins: far longer than any window over which they are counted."""

STARTS_KEPT: Final = timedelta(days=7)
"""Clusters as they were when a plan was made: it is looked back on for a day, if at all."""

PLANS_AT_ONCE: Final = 200
"""More are left for the next time: nobody is to wait for it."""

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
        tx.attempts.forget_before(now - ATTEMPTS_KEPT)
        tx.plans.forget(now - retention.plans, stages=OVER, limit=PLANS_AT_ONCE)
        tx.blobs.forget(START_BLOBS, now - STARTS_KEPT)
    store.telemetry.tidy(now, retention)


@contextmanager
def kept_tidy(
    store: Store,
    retention: Retention,
    now: Callable[[], datetime],
    *,
    interval_s: float = INTERVAL_S,
) -> Iterator[None]:
    """Keep a store tidy within the block, in a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(interval_s):
            try:
                tidy(store, retention, now())
            except ForeswapError as error:
                _log.warning("the store could not be tidied: %s", error)
            except Exception:  # noqa: BLE001  Nobody else tidies: it must not end for ever.
                _log.exception("the store could not be tidied")

    thread = threading.Thread(target=run, name="housekeeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
