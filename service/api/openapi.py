"""Completes the OpenAPI document: what every operation has, said once here.

flask-openapi3 derives paths, parameters and bodies from the views' types. Added are names of
operations, who may ask, the headers of revisions and keys, and the problems each may answer.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from flask import Flask
from flask_openapi3 import OpenAPI

from service.api.operations import Operation, operation_of
from service.api.problems import MEDIA_TYPE, Problem
from service.security import roles

SECURITY_SCHEMES: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "a token made by an admin"},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-foreswap",
        "description": "of POST /session; without TLS on one machine it is called foreswap",
    },
}

_REF: Final = "#/components/schemas/{model}"
_CHANGES: Final = ("post", "put", "patch", "delete")
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "the ETag that was read; needed to change what stands",
    "schema": {"type": "string", "pattern": r'^(\*|"(0|[1-9][0-9]{0,17})")$'},
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "the same request with the same key acts once",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}
_REASONS: Final = {
    400: "not readable",
    401: "no valid credential",
    403: "not allowed",
    404: "no such thing",
    405: "no such method",
    409: "in conflict with what stands",
    412: "changed meanwhile",
    413: "too large",
    415: "not read in this form",
    422: "not valid",
    428: "If-Match is missing",
    429: "too many",
    503: "not possible now",
}


def document(app: OpenAPI) -> dict[str, Any]:
    """Return the whole document of an application."""
    told: dict[str, Any] = copy.deepcopy(app.api_doc)
    schemas = told["components"].setdefault("schemas", {})
    parts = Problem.model_json_schema(mode="serialization", ref_template=_REF)
    schemas.update(parts.pop("$defs", {}))
    schemas["Problem"] = parts
    told["components"]["securitySchemes"] = SECURITY_SCHEMES
    for path, methods in told["paths"].items():
        for method, entry in methods.items():
            _complete(entry, method, _operation(app, path, method))
    return told


def _operation(app: Flask, path: str, method: str) -> Operation:
    for rule in app.url_map.iter_rules():
        plain = rule.rule.replace("<", "{").replace(">", "}")
        if plain == path and method.upper() in (rule.methods or ()):
            found = operation_of(app.view_functions[rule.endpoint])
            if found is not None:
                return found
    raise ValueError(f"no view for {method} {path}")


def _complete(entry: dict[str, Any], method: str, operation: Operation) -> None:
    entry["operationId"] = operation.name
    parameters = entry.setdefault("parameters", [])
    if operation.revisioned:
        parameters.append(_IF_MATCH)
    if operation.keyed:
        parameters.append(_KEY)
    if operation.name in roles.OPEN:
        entry["security"] = []
    else:
        entry["security"] = [{name: []} for name in SECURITY_SCHEMES]
        entry["x-roles"] = sorted(roles.ROLES[operation.name])
    answers = entry.setdefault("responses", {})
    answers.pop("422", None)
    for status in _statuses(entry, method, operation):
        answers.setdefault(str(status), _problem(_REASONS[status]))


def _statuses(entry: dict[str, Any], method: str, operation: Operation) -> set[int]:
    statuses = {400, 404, 422, 503}
    if operation.name not in roles.OPEN:
        statuses |= {401, 403}
    elif method in _CHANGES:
        statuses.add(401)  # What is open and changes something is a login.
    if method in _CHANGES:
        statuses |= {409, 429}
    if "requestBody" in entry or operation.keyed:
        statuses |= {413, 415}
    if operation.revisioned:
        statuses |= {412, 428}
    return statuses


def _problem(reason: str) -> dict[str, Any]:
    schema = {"$ref": _REF.format(model="Problem")}
    return {"description": reason, "content": {MEDIA_TYPE: {"schema": schema}}}
