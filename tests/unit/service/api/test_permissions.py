"""Every operation with every role, and with none: the table of roles is what happens.

Requests are made of the OpenAPI document and of the routes, so that what is added later is asked
too. A request need not be right: who may not ask is told so before anything of it is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api.operations import operation_of
from service.app import App
from service.security import roles
from service.security.principal import Role
from tests.answers import document, problem
from tests.unit.service.api.conftest import Ask

READING = ("GET", "HEAD")


@dataclass(frozen=True)
class Asked:
    """One way to ask for an operation."""

    operation: str
    method: str
    path: str


def asked(app: App) -> Iterator[Asked]:
    """Yield every operation of an application, with a path that leads to it."""
    for rule in app.url_map.iter_rules():
        told = operation_of(app.view_functions[rule.endpoint])
        assert told is not None, rule
        path = re.sub(r"<int:[^>]+>", "1", rule.rule)
        path = re.sub(r"<[^>]+>", "c1", path)
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            yield Asked(told.name, method, path)


def ask(client: FlaskClient, wanted: Asked) -> TestResponse:
    """Return the answer to a request that says nothing; streams are not read to their end."""
    answer = client.open(wanted.path, method=wanted.method, json={}, buffered=False)
    answer.close()
    return answer


def is_refused(answer: TestResponse) -> bool:
    """Return whether the role was why nothing was done."""
    return answer.status_code == 403 and problem(answer)["type"].endswith("forbidden-role")


def test_every_operation_keeps_to_its_row(app: App, client_of: Ask) -> None:
    """Whoever has a mark in the table may ask, and nobody else."""
    clients = {role: client_of(role) for role in Role}
    wrong = []
    for wanted in asked(app):
        for role, client in clients.items():
            allowed = wanted.operation in roles.OPEN or role in roles.ROLES[wanted.operation]
            if is_refused(ask(client, wanted)) is allowed:
                wrong.append(f"{wanted} by {role}: expected {'yes' if allowed else 'no'}")
    assert not wrong, "\n".join(wrong)


def test_nobody_gets_in_without_a_credential(app: App) -> None:
    """All but what is open answers 401, and what is open never does but for a wrong password."""
    client = app.test_client()
    wrong = []
    for wanted in asked(app):
        answer = ask(client, wanted)
        is_open = wanted.operation in roles.OPEN
        if (answer.status_code == 401) is is_open:
            wrong.append(f"{wanted}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)


def test_a_token_of_one_cluster_is_held_to_it(app: App, client_of: Ask) -> None:
    """Bound to a cluster, even an admin reaches no other, and nothing of the whole service."""
    client = client_of(Role.ADMIN, cluster_id="another")
    wrong = [
        str(wanted)
        for wanted in asked(app)
        if wanted.operation not in roles.OPEN | roles.WITHOUT_CLUSTER
        and ask(client, wanted).status_code != 403
    ]
    assert not wrong, "\n".join(wrong)


def test_the_document_holds_every_operation(app: App) -> None:
    """What can be asked for below the API is described there, under its name and with its roles."""
    told = document(app.test_client().get("/api/v1/openapi.json"))
    described = {
        (entry["operationId"], method.upper())
        for methods in told["paths"].values()
        for method, entry in methods.items()
    }
    there = {
        (one.operation, one.method)
        for one in asked(app)
        if one.path.startswith("/api/v1/") and not one.operation.startswith("docs.")
    }
    assert described == there


def test_rows_and_operations_are_the_same(app: App) -> None:
    """No row speaks of an operation that is not there."""
    there = {one.operation for one in asked(app)}
    assert set(roles.ROLES) | roles.OPEN >= there
    optional = {"metrics.read", "metrics.open"}  # One or the other, as it is set.
    assert set(roles.ROLES) | roles.OPEN == there | optional
    assert set(roles.ROLES) >= roles.WITHOUT_CLUSTER | roles.WITH_OLD_PASSWORD


def test_operations_have_one_method_and_path(app: App) -> None:
    """A row is about one thing."""
    names = [one.operation for one in asked(app)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", sorted(roles.ROLES))
def test_rows_are_sound(name: str) -> None:
    """Whatever a viewer may, an operator may; whatever an operator may, an admin may."""
    row = roles.ROLES[name]
    assert row
    assert Role.VIEWER not in row or Role.OPERATOR in row
    assert Role.OPERATOR not in row or Role.ADMIN in row


def test_viewers_change_nothing(app: App) -> None:
    """But their own session, and what they ask to be computed."""
    changing = {
        one.operation
        for one in asked(app)
        if one.method not in READING and Role.VIEWER in roles.ROLES.get(one.operation, ())
    }
    assert changing <= {
        "session.end",
        "session.password",
        "solve.run",
        "jobs.cancel",
        "whatif.ask",
    }


def test_agents_deliver_and_nothing_else(app: App) -> None:
    """A token on a host that somebody broke into reads nothing."""
    allowed = {name for name, row in roles.ROLES.items() if Role.AGENT in row}
    assert {name for name in allowed if not name.startswith("ingest.")} <= {"session.show"}
