"""Whoever asks passes here before anything of the request is read: who is it, and may they?"""

from __future__ import annotations

from typing import Final

from flask import Flask, g, request
from werkzeug.exceptions import NotFound

from service.api.operations import operation_of
from service.api.services import Services
from service.errors import UnauthenticatedError
from service.security import roles, tokens
from service.security.principal import Principal
from service.security.secrets import digest

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
    with services.store.begin() as tx:
        token = tx.credentials.find(tokens.KIND, digest(secret))
    if token is None or (token.expires_at is not None and token.expires_at <= services.now()):
        raise UnauthenticatedError("the token is unknown, revoked or has expired")
    return tokens.principal_of(token, request.remote_addr or "")


def _bearer() -> str:
    header = request.headers.get("Authorization", "")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise UnauthenticatedError("expected Authorization: Bearer with a token")
    return secret.strip()
