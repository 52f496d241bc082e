"""The OpenAPI document, and a page that shows it, with scripts and styles of our own alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import flask_openapi3_swagger
from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

from service.api.answering import answer
from service.api.operations import operation

_OURS: Final = Path(__file__).parent / "static"
_SWAGGER: Final = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"
_PAGE: Final = _OURS / "docs.html"
_ASSETS: Final = {
    "start.js": (_OURS / "start.js", "text/javascript"),
    "swagger-ui.css": (_SWAGGER / "css" / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_SWAGGER / "js" / "swagger-ui-bundle.js", "text/javascript"),
}


def blueprint(document: Callable[[], dict[str, Any]]) -> Blueprint:
    """Return the pages; ``document`` makes the OpenAPI document."""
    api = Blueprint("docs", __name__)

    @api.get("/openapi.json")
    @operation("docs.openapi")
    def openapi() -> Response:
        return answer(document())

    @api.get("/docs")
    @operation("docs.page")
    def page() -> Response:
        return Response(_PAGE.read_bytes(), mimetype="text/html")

    @api.get("/docs/<name>")
    @operation("docs.asset")
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            raise NotFound(f"no file of the page is called {name!r}")
        path, media_type = _ASSETS[name]
        response = Response(path.read_bytes(), mimetype=media_type)
        response.headers["Cache-Control"] = "public, max-age=3600"
        return response

    return api
