"""Who visits a page: the session behind the cookie, as the API reads it."""

from __future__ import annotations

from dataclasses import replace

from flask import request

from service.api import cookies
from service.api.services import Services
from service.errors import ForbiddenError, UnauthenticatedError
from service.security import roles
from service.security.authentication import authenticate
from service.security.principal import Principal
from service.security.secrets import csrf_token, same


def visitor(services: Services) -> Principal | None:
    """Return who visits; ``None`` for somebody who has not logged in, or whose session ended."""
    secret = cookies.read(services.security)
    if not secret:
        return None
    found = authenticate(services.store, services.security, secret, services.now())
    if found is None:
        return None
    origin = request.remote_addr or ""
    return replace(found, origin=origin, csrf_token=csrf_token(secret))


def require(services: Services, operation: str, cluster_id: str | None = None) -> Principal:
    """Return who visits, if they may do what an operation of the API does.

    Raises
    ------
    UnauthenticatedError
        If nobody has logged in.
    ForbiddenError
        If they may not, or the request may come from a page of somebody else.
    """
    found = require_visitor(services)
    roles.require(found, operation, cluster_id)
    return found


def require_visitor(services: Services) -> Principal:
    """Return who visits; raises as ``require`` does, whatever their role."""
    found = visitor(services)
    if found is None:
        raise UnauthenticatedError("nobody has logged in here, or the session has ended")
    if request.method == "POST" and not same(
        request.headers.get(cookies.CSRF_HEADER, ""), found.csrf_token
    ):
        raise ForbiddenError("the request does not come from a page of this session", reason="csrf")
    return found


def may(principal: Principal, operation: str, cluster_id: str | None = None) -> bool:
    """Return whether somebody may do what an operation of the API does."""
    try:
        roles.require(principal, operation, cluster_id)
    except ForbiddenError:
        return False
    return True
