"""Whoever asks passes here before anything of the request is read: who is it, and may they?"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from flask import Flask, g, request
from werkzeug.exceptions import NotFound

from service.api import cookies
from service.api.operations import operation_of
from service.api.services import Services
from service.errors import ForbiddenError, UnauthenticatedError
from service.security import roles
from service.security.authentication import authenticate
from service.security.principal import Principal
from service.security.secrets import csrf_token, same

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def install(app: Flask, services: Services) -> None:
    """Let nothing of an application be reached but through the door."""
    _require_rows(app)

    def enter() -> None:
        _enter(app, services)

    app.before_request(enter)


def _require_rows(app: Flask) -> None:
    for endpoint, view in app.view_functions.items():
        operation = operation_of(view)
        if operation is None:
            raise ValueError(f"view {endpoint!r} has no operation (service.api.operations)")
        if not roles.known(operation.name):
            raise ValueError(
                f"operation {operation.name!r} has no row in service/security/roles.py"
            )


def _enter(app: Flask, services: Services) -> None:
    if "\x00" in request.path:
        raise NotFound("no name holds a zero character")
    if request.endpoint is None or request.method == "OPTIONS":
        return  # Flask's own answer: not found, wrong method, or the methods there are.
    operation = operation_of(app.view_functions[request.endpoint])
    assert operation is not None, request.endpoint
    g.operation = operation
    if operation.name in roles.OPEN:
        return
    g.principal = _principal(services)
    roles.require(g.principal, operation.name, (request.view_args or {}).get("cluster_id"))


def _principal(services: Services) -> Principal:
    secret = _bearer()
    cookie = None if secret else cookies.read(services.security)
    found = authenticate(services.store, services.security, secret or cookie or "", services.now())
    if found is None:
        raise UnauthenticatedError(
            "expected Authorization: Bearer with a token, or the cookie of a session; got "
            + ("one that is unknown, revoked or has ended" if secret or cookie else "neither")
        )
    found = replace(found, origin=request.remote_addr or "")
    return _not_forged(found, cookie) if cookie else found


def _bearer() -> str:
    header = request.headers.get("Authorization", "")
    scheme, _, secret = header.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _not_forged(found: Principal, cookie: str) -> Principal:
    """Return who asks by cookie, who for a change has to show that the page can read answers."""
    expected = csrf_token(cookie)
    if request.method not in SAFE_METHODS:
        shown = request.headers.get(cookies.CSRF_HEADER, "")
        if not same(shown, expected):
            raise ForbiddenError(
                f"expected {cookies.CSRF_HEADER} with the token that GET /api/v1/session tells, "
                f"got {'another' if shown else 'none'}",
                reason="csrf",
            )
    return replace(found, csrf_token=expected)
