"""How long and how hard a solve may work.

Two measures. Wall time keeps promises to callers and depends on the machine; *work* is CP-SAT's
deterministic time (about a second of one core, by its own count) and does not, so that the same
seed and work limit give the same answer everywhere. Either may end a solve; the answer is
reproducible as long as wall time does not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Allowance:
    """What is left of a solve's wall time and work.

    Parameters
    ----------
    limit_s
        Wall seconds from now.
    work_limit
        Deterministic seconds; ``None`` for no limit.
    clock
        Monotonic seconds; a test may pass its own.
    """

    def __init__(
        self,
        limit_s: float,
        work_limit: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._started_s = clock()
        self._limit_s = limit_s
        self._work_limit = math.inf if work_limit is None else work_limit
        self._work = 0.0

    @property
    def elapsed_s(self) -> float:
        """Wall seconds since the start."""
        return self._clock() - self._started_s

    @property
    def left_s(self) -> float:
        """Wall seconds left, not negative."""
        return max(0.0, self._limit_s - self.elapsed_s)

    @property
    def spent(self) -> float:
        """Deterministic seconds of work done."""
        return self._work

    @property
    def left_work(self) -> float:
        """Deterministic seconds left, not negative; infinite without a limit."""
        return max(0.0, self._work_limit - self._work)

    @property
    def deterministic(self) -> bool:
        """Whether work is what is meant to end the solve."""
        return math.isfinite(self._work_limit)

    def hold_back(self, seconds: float) -> None:
        """Set wall seconds aside for what comes after the search; at most half of what is left."""
        self._limit_s -= min(seconds, self.left_s / 2)

    def spend(self, work: float) -> None:
        """Count work that was done, in deterministic seconds."""
        self._work += work

    def over(self) -> bool:
        """Whether wall time or work is used up."""
        return self.left_s <= 0.0 or self.left_work <= 0.0

    def late(self) -> bool:
        """Whether wall time is used up, whatever the work."""
        return self.left_s <= 0.0
