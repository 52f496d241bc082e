"""A token as fields of a form, and what one reaches in words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from service.security.principal import Role
from service.security.tokens import NewToken
from solver.domain.errors import InvalidInputError

LIFETIMES: Final = {
    "1": "After a day",
    "30": "After 30 days",
    "90": "After 90 days",
    "365": "After a year",
    "": "Never",
}
"""Days a token lasts → words."""

_BOUNDS: Final = (("cluster", "cluster_id"), ("host", "host_id"), ("VMs of", "owner"))


def token_typed(by_path: Mapping[str, Any], now: datetime) -> NewToken:
    """Return the token that was typed.

    :raises InvalidInputError: naming the field that is wrong
    """
    said = {path: str(value) for path, value in by_path.items() if value is not None}
    role = said.get("role", "")
    if role not in list(Role):
        raise InvalidInputError(f"expected one of {', '.join(Role)}, got {role!r:.80}", path="role")
    days = said.get("lifetime_days", "")
    if days not in LIFETIMES:
        raise InvalidInputError(
            f"expected one of {', '.join(filter(None, LIFETIMES))} days or nothing, "
            f"got {days!r:.80}",
            path="lifetime_days",
        )
    return NewToken(
        name=said.get("name", ""),
        role=Role(role),
        owner=said.get("owner", ""),
        cluster_id=said.get("cluster_id", ""),
        host_id=said.get("host_id", ""),
        expires_at=now + timedelta(days=int(days)) if days else None,
    )


def reach(token: Mapping[str, Any]) -> str:
    """Return what a token reaches, of its document.

    >>> reach({"cluster_id": "c1", "host_id": "h1", "owner": ""})
    'cluster c1, host h1'
    """
    parts = [f"{what} {token[name]}" for what, name in _BOUNDS if token.get(name)]
    return ", ".join(parts) or "everything"
