"""Settings of the executor, with the reasons for their defaults."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields

from solver.domain.errors import InvalidInputError


class OnTimeout(enum.Enum):
    """What to do with a migration that lasts too long although it is sending."""

    CANCEL = "cancel"
    POST_COPY = "post_copy"
    """Switch it to post-copy where the driver can, else cancel."""


class OnFailure(enum.Enum):
    """What is due when a plan has not done all it was to do."""

    REPLAN = "replan"
    """Reality is not what was planned for: plan anew from where VMs are."""
    RETURN = "return"
    """Bring back what was moved; see ``executor.compensation``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorParameters:
    """Settings of :class:`executor.engine.Executor`.

    Raises
    ------
    InvalidInputError
        If a value is not positive and finite.
    """

    poll_interval_s: float = 2.0
    """Between two looks at a migration; libvirt answers in milliseconds."""

    recheck_interval_s: float = 10.0
    """Between two checks of steps that wait, when nothing of the plan has changed meanwhile."""

    max_attempts: int = 3
    """Tries of one step in all."""

    backoff_s: float = 10.0
    """Pause before the second try; doubles with each further one."""

    backoff_max_s: float = 300.0
    """Longest pause: after five minutes a fault is no longer a hiccup."""

    room_wait_s: float = 600.0
    """How long a step waits for room or for a host: then the plan is too old for it."""

    verify_wait_s: float = 300.0
    """How long reality may be unclear (a host silent, two copies) before a person is called."""

    timeout_factor: float = 4.0
    """A migration may last this many times as long as planned."""

    timeout_min_s: float = 300.0
    """Shortest time limit: plans of seconds are planned less accurately."""

    on_timeout: OnTimeout = OnTimeout.CANCEL
    """Cancelling costs time, post-copy may cost the VM if a host or the link fails under way."""

    stall_s: float = 120.0
    """A migration that sends nothing for so long is cancelled, whatever ``on_timeout`` says: over a
    dead link post-copy would stop its VM."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, OnTimeout) and not (math.isfinite(value) and value > 0):
                raise InvalidInputError(f"expected more than 0, got {value}", path=item.name)

    def pause_s(self, attempt: int, suggested_s: float = 0.0) -> float:
        """Return the pause after a failed try: what was suggested, or longer."""
        doubled = self.backoff_s * 2.0 ** min(attempt - 1, 32)
        return max(suggested_s, min(self.backoff_max_s, doubled))
