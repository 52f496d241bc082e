"""The cookie of a session, and what keeps pages of others from using it."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Final

from flask import Response, request

from service.security.policy import SecurityPolicy

CSRF_HEADER: Final = "X-CSRF-Token"

# With this prefix a browser takes the cookie from this very host by TLS alone, so that no
# neighbour below the same domain can put one of its own in its place.
_BY_TLS: Final = "__Host-foreswap"
_IN_THE_CLEAR: Final = "foreswap"


def read(settings: SecurityPolicy) -> str | None:
    """Return the session's secret that a request shows; ``None`` if it shows none."""
    return request.cookies.get(_name(settings))


def give(response: Response, settings: SecurityPolicy, secret: str, until: datetime) -> None:
    """Let an answer give a session's secret to the browser."""
    response.set_cookie(
        _name(settings),
        secret,
        expires=until,
        secure=_is_by_tls(settings),
        httponly=True,
        samesite="Lax",
        path="/",
    )


def take_back(response: Response, settings: SecurityPolicy) -> None:
    """Let an answer make the browser forget the session."""
    response.delete_cookie(
        _name(settings), secure=_is_by_tls(settings), httponly=True, samesite="Lax", path="/"
    )


def _name(settings: SecurityPolicy) -> str:
    return _BY_TLS if _is_by_tls(settings) else _IN_THE_CLEAR


def _is_by_tls(settings: SecurityPolicy) -> bool:
    """Return whether the cookie is for TLS alone: always, but in the clear on one machine."""
    return settings.is_behind_tls or request.is_secure or not _is_local(request.remote_addr or "")


def _is_local(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
