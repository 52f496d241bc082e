"""What the views of the API work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from service.security.settings import SecuritySettings
from service.store.base import Store


@dataclass(frozen=True, kw_only=True)
class Services:
    """The rest of the program, as the API sees it.

    Parameters
    ----------
    now
        The present instant, aware UTC.
    """

    store: Store
    now: Callable[[], datetime]
    security: SecuritySettings = field(default_factory=SecuritySettings)
