"""Where requests to solve are taken: small ones answered at once, large ones as jobs.

Puts pool, jobs and limits together for those who ask. Whoever waits for an answer holds a thread of
the server, so their number is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.security.principal import Principal
from service.solving.errors import OverloadedError
from service.solving.jobs import JobRunner, Transactions
from service.solving.pool import SolverPool
from service.solving.request import SolveLimits
from service.solving.work import Work
from service.store.base import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskSettings:
    """What is answered at once, and how many may wait for it."""

    limits: SolveLimits = field(default_factory=SolveLimits)

    direct_limit_s: float = 10.0
    """Longest search that is waited for."""

    direct_vms: int = 2_000
    """Largest cluster that is waited for."""

    max_direct: int = 6
    """Requests that wait at once."""

    max_streams: int = 4
    """Streams of events at once."""

    store_url: str = ""
    """Where workers find telemetry; empty if they are not to."""


class Desk:
    """Takes work on.

    Parameters
    ----------
    name
        Of this process among all replicas, for ever.
    """

    def __init__(
        self,
        pool: SolverPool,
        store: Transactions,
        *,
        name: str,
        now: Callable[[], datetime],
        settings: DeskSettings | None = None,
    ) -> None:
        self.settings = settings or DeskSettings()
        self.pool = pool
        self.jobs = JobRunner(store, pool, name=name, now=now)
        self._direct = threading.BoundedSemaphore(self.settings.max_direct)
        self._ending = threading.Event()
        self._streams = threading.BoundedSemaphore(self.settings.max_streams)

    def open(self) -> None:
        """Begin to look after jobs."""
        self.jobs.open()

    def close(self) -> None:
        """Write how jobs ended; after the pool is closed."""
        self.jobs.close()

    @property
    def ending(self) -> threading.Event:
        """Set once streams are to end."""
        return self._ending

    def end_streams(self) -> None:
        """Let streams of events end: the service is about to."""
        self._ending.set()

    def is_large(self, num_vms: int, limit_s: float) -> bool:
        """Whether nobody should wait for it with an open request."""
        return num_vms > self.settings.direct_vms or limit_s > self.settings.direct_limit_s

    def answer(self, work: Work) -> bytes:
        """Return the answer to work that is waited for.

        Raises
        ------
        OverloadedError
            If too many are waiting.
        SolvingError
            If there will be no answer.
        ForeswapError
            What the work itself raises.
        """
        if not self._direct.acquire(blocking=False):
            raise OverloadedError(
                f"{self.settings.max_direct} requests are waiting for their answers, as many as "
                "may; come again later, or ask for a job (Prefer: respond-async)",
                retry_after_s=max(1, round(work.limit_s)),
            )
        try:
            return self.pool.submit(work).result()
        finally:
            self._direct.release()

    def begin(
        self,
        principal: Principal,
        kind: str,
        work: Work,
        request: Mapping[str, Any],
        *,
        cluster_id: str = "",
    ) -> Job:
        """Take work on as a job; raises as ``JobRunner.start`` does."""
        return self.jobs.start(principal, kind, work, request, cluster_id=cluster_id)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Hold one of the places for streams of events.

        Raises
        ------
        OverloadedError
            If all are taken.
        """
        if not self._streams.acquire(blocking=False):
            raise OverloadedError(
                f"{self.settings.max_streams} streams of events are open, as many as may; poll "
                "the job instead, or come again later",
                retry_after_s=10,
            )
        try:
            yield
        finally:
            self._streams.release()
