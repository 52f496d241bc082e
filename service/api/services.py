"""What the views of the API work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from service.metrics import Metrics
from service.security.passwords import Passwords
from service.security.policy import SecurityPolicy
from service.solving.desk import Desk
from service.store.base import Store


@dataclass(frozen=True, kw_only=True)
class Services:
    """The rest of the program, as the API sees it.

    Parameters
    ----------
    now
        The present instant, aware UTC.
    metrics
        Where requests are counted; ``None`` to count none.
    metrics_access
        Who may read them, as in the settings.
    checks
        What else has to be in order before requests are sent here, by name: each returns what is
        in the way, empty for nothing.
    desk
        Where work for the solver is taken on; ``None`` where there are no workers.
    """

    store: Store
    now: Callable[[], datetime]
    security: SecurityPolicy = field(default_factory=SecurityPolicy)
    metrics: Metrics | None = None
    metrics_access: Literal["local", "token", "everyone"] = "local"
    checks: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    desk: Desk | None = None
    passwords: Passwords = field(default_factory=Passwords)
