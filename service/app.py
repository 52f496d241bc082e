"""Puts the HTTP application together: the door, the nouns, the documents, the errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from flask import Blueprint
from flask_openapi3 import APIBlueprint, Info, OpenAPI

from service.api import (
    answering,
    asking,
    audit,
    clusters,
    contention,
    docs,
    door,
    forecasts,
    groups,
    headers,
    health,
    hosts,
    ingest,
    jobs,
    names,
    observing,
    openapi,
    outlook,
    plans,
    priorities,
    problems,
    rules,
    schedule,
    session,
    solve,
    tokens,
    users,
    vms,
    whatif,
)
from service.api.services import Services

PREFIX: Final = "/api/v1"

MakeBlueprint = Callable[[Services], APIBlueprint]

NOUNS: Final[tuple[MakeBlueprint, ...]] = (
    session.blueprint,
    users.blueprint,
    tokens.blueprint,
    audit.blueprint,
    clusters.blueprint,
    hosts.blueprint,
    vms.blueprint,
    priorities.blueprint,
    groups.blueprint,
    rules.blueprint,
    ingest.blueprint,
    plans.blueprint,
    schedule.blueprint,
    forecasts.blueprint,
    contention.blueprint,
    outlook.blueprint,
    solve.blueprint,
    whatif.blueprint,
    jobs.blueprint,
)
"""Every noun of the API. One with a prefix of its own stands outside of ``PREFIX``."""


class App(OpenAPI):
    """The application; requests are read by the rules of ``service.api.asking``."""

    request_class = asking.StrictRequest


def create_app(services: Services, nouns: Sequence[MakeBlueprint] = NOUNS) -> App:
    """Return the application.

    Raises
    ------
    ValueError
        If a view has no operation, or an operation no row in the table of roles.
    """
    app = App(
        "foreswap",
        info=Info(title="foreswap", version="1", summary="Predictive rebalancing of VMs"),
        doc_ui=False,
        static_folder=None,
        validation_error_callback=asking.refuse,
    )
    app.url_map.merge_slashes = False  # The redirect would be to whatever Host says.
    app.config["TRUSTED_HOSTS"] = list(services.security.allowed_hosts) or None
    names.install(app)
    for make in nouns:
        noun = make(services)
        app.register_api(noun, **({} if noun.url_prefix else {"url_prefix": PREFIX}))
    app.register_blueprint(_docs(app), url_prefix=PREFIX)
    app.register_blueprint(health.blueprint(services))
    problems.install(app)
    observing.install(app, services)
    door.install(app, services)
    app.after_request(answering.pack)
    app.after_request(headers.guard)
    return app


def _docs(app: OpenAPI) -> Blueprint:
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(openapi.document(app))
        return made

    return docs.blueprint(document)
