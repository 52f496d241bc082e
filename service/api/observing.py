"""Every request is given a name, timed, counted and written into the log."""

from __future__ import annotations

import logging
import random
import re
import time
from typing import Final

from flask import Flask, Response, g, request

from service.api import names
from service.api.services import Services

HEADER: Final = "X-Request-ID"

_SANE: Final = re.compile(r"[\w.-]{1,64}")
_QUIET: Final = frozenset({"health.live", "health.ready", "metrics.open", "metrics.read"})
"""Asked every few seconds by machines; in the log they would hide the rest."""

_NAMES: Final = random.Random()
"""No secret is made of it. The system's randomness would give other threads the interpreter."""

_log = logging.getLogger(__name__)


def install(app: Flask, services: Services) -> None:
    """Observe the requests of an application; to be installed before whatever may refuse one."""

    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _SANE.fullmatch(given) else _name()
        g.began_s = time.monotonic()

    def end(response: Response) -> Response:
        duration_s = time.monotonic() - g.began_s
        name = g.operation.name if "operation" in g else "none"
        if services.metrics is not None:
            services.metrics.answered(name, response.status_code, duration_s)
        _write(response, name, duration_s)
        response.headers[HEADER] = g.request_id
        return response

    app.before_request(begin)
    app.after_request(end)


def _name() -> str:
    return f"{_NAMES.getrandbits(128):032x}"


def _write(response: Response, name: str, duration_s: float) -> None:
    level = logging.DEBUG if name in _QUIET else logging.INFO
    _log.log(
        level,
        "%s %s %d",
        request.method,
        ascii(request.path.replace(names.PACKED, "%2F"))[1:-1],
        response.status_code,
        extra={
            "request_id": g.request_id,
            "user": g.principal.name if "principal" in g else "-",
            "operation": name,
            "duration_ms": round(duration_s * 1000, 1),
            "origin": request.remote_addr or "-",
        },
    )
