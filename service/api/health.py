"""What those who watch over the service ask: does it live, is it ready, what are its figures.

These stand outside of the API, at the root, and are no part of its document.
"""

from __future__ import annotations

import ipaddress
import json
from typing import Final

from flask import Blueprint, Response, request

from service.api.operations import operation
from service.api.services import Services
from service.errors import ForbiddenError
from service.store.errors import StoreError

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def blueprint(services: Services) -> Blueprint:
    """Return the views of health and figures."""
    api = Blueprint("health", __name__)
    by_token = services.metrics_access == "token"

    @api.get("/healthz")
    @operation("health.live")
    def live() -> Response:
        return _json({"alive": True}, 200)

    @api.get("/readyz")
    @operation("health.ready")
    def ready() -> Response:
        states = {name: check() or "ok" for name, check in services.checks.items()}
        states["store"] = _store(services)
        is_ready = all(state == "ok" for state in states.values())
        return _json({"ready": is_ready, "checks": states}, 200 if is_ready else 503)

    @api.get("/metrics")
    @operation("metrics.read" if by_token else "metrics.open")
    def metrics() -> Response:
        if services.metrics_access == "local":
            _require_local()
        text = "" if services.metrics is None else services.metrics.text()
        return Response(text, content_type=METRICS_TYPE)

    return api


def _store(services: Services) -> str:
    try:
        services.store.check()
    except StoreError as error:
        return str(error)
    return "ok"


def _require_local() -> None:
    try:
        is_local = ipaddress.ip_address(request.remote_addr or "").is_loopback
    except ValueError:
        is_local = False
    if not is_local:
        raise ForbiddenError(
            "/metrics is for this machine alone; the setting metrics.access opens it"
        )


def _json(body: object, status: int) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")
