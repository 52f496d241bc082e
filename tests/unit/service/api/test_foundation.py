"""What every operation has in common, tried on tokens."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Response
from flask.testing import FlaskClient
from flask_openapi3 import APIBlueprint

from service.api.operations import operation
from service.api.services import Services
from service.app import App, create_app
from service.security.policy import SecurityPolicy
from service.security.principal import Role
from tests.answers import document, problem
from tests.unit.service.api.conftest import Ask, whole

TOKENS = "/api/v1/tokens"


def names(client: FlaskClient) -> list[str]:
    """Return the names of all tokens but the test's own."""
    return [
        token["name"]
        for token in document(client.get(TOKENS))["items"]
        if not token["name"].startswith("test-")
    ]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nowhere", "GET", 404),
        ("/api/v1/nowhere", "GET", 404),
        ("/api/v1/tokens/a%00b", "DELETE", 404),
        ("/api/v1/docs/nothing.js", "GET", 404),
        (TOKENS, "PUT", 405),
    ],
)
def test_what_the_router_refuses_is_a_problem(
    admin: FlaskClient, path: str, method: str, status: int
) -> None:
    """Paths and methods that do not exist are answered in the same form as everything else."""
    answer = admin.open(path, method=method)
    assert answer.status_code == status
    problem(answer)
    assert status != 405 or answer.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        (b"", 400, "empty"),
        (b'{"name": "a"', 400, "too early"),
        (b'{"name": "a", "name": "b", "role": "viewer"}', 400, "twice"),
        (b'{"name": NaN}', 400, "NaN"),
        (b'{"name": "\xff"}', 400, "UTF-8"),
        (b'{"name": "a\\u0000", "role": "viewer"}', 400, "NUL"),
        (b'{"name": "a", "role": "viewer", "owner": "\\ud800"}', 400, "half pairs"),
        (b'{"name": 1e999}', 400, "finite"),
        (b'{"name": ' + b"9" * 5000 + b"}", 400, "JSON"),
        (b'{"name": ' + b"[" * 500 + b"]" * 500 + b"}", 400, "nested deeper"),
        (b'"{}"', 422, "object"),
        (b"[]", 422, "object"),
        (b'{"name": "a"}', 422, "role"),
        (b'{"name": 1, "role": "viewer"}', 422, "name"),
        (b'{"name": "a", "role": "viewer", "hue": 1}', 422, "hue"),
        (b'{"name": "a", "role": "boss"}', 422, "role"),
        (b'{"name": "a", "role": "viewer", "expires_at": "2026-03-01"}', 422, "expires_at"),
    ],
)
def test_bad_bodies_are_refused(admin: FlaskClient, body: bytes, status: int, part: str) -> None:
    """What is not JSON gets 400, what is wrong JSON 422 with the path, and nothing is made."""
    answer = admin.post(TOKENS, data=body, content_type="application/json")
    assert answer.status_code == status
    told = problem(answer)
    assert part in f"{told['detail']} {told.get('errors')}"
    assert names(admin) == []


def test_every_error_is_named(admin: FlaskClient) -> None:
    """A body with several errors is told all of them, each with its path."""
    told = problem(admin.post(TOKENS, json={"name": "", "role": "boss", "hue": 1}))
    assert [error["path"] for error in told["errors"]] == ["name", "role", "hue"]


def test_bad_queries_name_the_parameter(admin: FlaskClient) -> None:
    """Query strings are as strict as bodies."""
    for query, path in (
        ("limit=0", "query.limit"),
        ("limit=x", "query.limit"),
        ("limit=1001", "query.limit"),
        ("size=1", "query.size"),
        ("after=%25", "query.after"),
        ("after=gA", "query.after"),
    ):
        answer = admin.get(f"{TOKENS}?{query}")
        assert answer.status_code == 422
        assert problem(answer)["errors"][0]["path"] == path


def test_bodies_of_another_form_are_refused(admin: FlaskClient) -> None:
    """A form of a page of somebody else is never taken for JSON."""
    for form in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data"):
        answer = admin.post(TOKENS, data=b'{"name":"a","role":"viewer"}', content_type=form)
        assert answer.status_code == 415
    assert names(admin) == []


def test_packed_bodies_are_unpacked_within_bounds(admin: FlaskClient) -> None:
    """A packed body is read; one that is a bomb, cut short or of another packing is not."""
    body = b'{"name":"a","role":"viewer"}'

    def post(data: bytes, coding: str = "gzip") -> int:
        answer = admin.post(
            TOKENS, data=data, content_type="application/json", headers={"Content-Encoding": coding}
        )
        return answer.status_code

    packed = gzip.compress(body)
    assert post(packed[:-3]) == 400
    assert post(packed + packed) == 400
    assert post(body) == 400
    assert post(packed, "br") == 415
    assert post(gzip.compress(b" " * 2**24)) == 413
    assert names(admin) == []
    assert post(packed) == 201


def test_large_bodies_are_not_read(admin: FlaskClient) -> None:
    """A body beyond the operation's limit is refused, told or untold how large it is."""
    answer = admin.post(TOKENS, data=b" " * (2**20 + 1), content_type="application/json")
    assert answer.status_code == 413
    problem(answer)


def test_large_answers_are_packed(admin: FlaskClient) -> None:
    """Whoever says so gets a packed answer of the same content."""
    plain = admin.get("/api/v1/openapi.json")
    packed = admin.get("/api/v1/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]


def test_files_of_the_page_are_packed(app: App) -> None:
    """Browsers take packed answers, so the page's files come packed too."""
    client = app.test_client()
    path = "/api/v1/docs/swagger-ui-bundle.js"
    packed = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == client.get(path).data
    assert client.get("/api/v1/docs", headers={"Accept-Encoding": "gzip"}).status_code == 200


def test_lists_come_in_pages(admin: FlaskClient) -> None:
    """Following ``next`` gives everything once, in order."""
    wanted = [f"a{i:02}" for i in range(7)]
    for name in reversed(wanted):
        assert admin.post(TOKENS, json={"name": name, "role": "viewer"}).status_code == 201
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        answer = document(admin.get(f"{TOKENS}?limit=3&after={after}"))
        assert len(answer["items"]) <= 3
        seen += [token["name"] for token in answer["items"]]
        after = answer["next"]
    assert seen == [*wanted, "test-admin"]


def test_a_key_acts_once(admin: FlaskClient) -> None:
    """The same request with the same key is answered the same, less the secret; another is not."""
    wanted = {"name": "a", "role": "viewer"}
    key = {"Idempotency-Key": "5f1c"}
    first = admin.post(TOKENS, json=wanted, headers=key)
    again = admin.post(TOKENS, json=wanted, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert document(again) == {**document(first), "secret": None}
    assert again.headers["Location"] == first.headers["Location"]
    other = admin.post(TOKENS, json={**wanted, "name": "b"}, headers=key)
    assert other.status_code == 422
    assert problem(other)["errors"][0]["path"] == "Idempotency-Key"
    assert names(admin) == ["a"]


def test_a_refused_request_leaves_its_key_free(admin: FlaskClient) -> None:
    """Nothing was done, so the corrected request may use the key."""
    key = {"Idempotency-Key": "k"}
    refused = admin.post(TOKENS, json={"name": "a", "role": "owner"}, headers=key)
    assert refused.status_code == 422
    done = admin.post(TOKENS, json={"name": "a", "role": "owner", "owner": "t"}, headers=key)
    assert done.status_code == 201


def test_keys_are_checked(admin: FlaskClient) -> None:
    """A key that is empty, too long or not visible is refused."""
    for key in ("", "a b", "x" * 201):
        answer = admin.post(
            TOKENS, json={"name": "a", "role": "viewer"}, headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 400
    assert names(admin) == []


def test_roles_are_kept(client_of: Ask) -> None:
    """A role without the right is told so before its request is read."""
    viewer = client_of(Role.VIEWER)
    answer = viewer.post(TOKENS, data=b"{", content_type="application/json")
    assert answer.status_code == 403
    assert problem(answer)["type"].endswith("forbidden-role")


def test_a_bound_token_reaches_its_cluster_alone(client_of: Ask) -> None:
    """Even an admin's token does nothing for the whole service if it is bound to a cluster."""
    answer = client_of(Role.ADMIN, cluster_id="c1").get(TOKENS)
    assert answer.status_code == 403
    assert problem(answer)["type"].endswith("forbidden-object")


def test_other_hosts_are_refused_where_names_are_given(services: Services) -> None:
    """With names in the settings, a page that got its own name to lead here is not answered."""
    named = SecurityPolicy(allowed_hosts=("balancer.example",))
    client = create_app(replace(services, security=named)).test_client()
    assert client.get("/api/v1/docs", base_url="https://balancer.example").status_code == 200
    refused = client.get("/api/v1/docs", base_url="https://evil.example")
    assert refused.status_code == 400
    problem(refused)


def test_nothing_is_made_of_the_host_header(admin: FlaskClient) -> None:
    """Places are told as paths: whoever asks knows where."""
    body = {"name": "a", "role": "viewer"}
    made = admin.post(TOKENS, json=body, headers={"Host": "evil.example"})
    assert made.headers["Location"] == "/api/v1/tokens/a"
    assert "evil" not in str(made.headers) + made.get_data(as_text=True)


def test_without_a_credential_nothing_is_told(app: App) -> None:
    """Nobody, and nobody known, get 401 and how to ask."""
    client = app.test_client()
    for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic YTpi"}):
        answer = client.get(TOKENS, headers=header)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        problem(answer)


def test_unexpected_errors_tell_nothing(
    services: Services, caplog: pytest.LogCaptureFixture, client_of: Ask
) -> None:
    """The asker learns that it failed; what failed is in the log."""

    def breaking(_: Services) -> APIBlueprint:
        api = APIBlueprint("breaking", __name__)

        @api.get("/breaking")
        @operation("docs.page")
        def break_it() -> Response:
            raise RuntimeError("hunter2")

        return api

    answer = create_app(services, [breaking]).test_client().get("/api/v1/breaking")
    assert answer.status_code == 500
    assert "hunter2" not in answer.get_data(as_text=True)
    assert problem(answer)
    assert "hunter2" in caplog.text


def test_an_operation_without_a_row_does_not_start(services: Services) -> None:
    """Nobody forgets to say who may ask."""

    def rowless(_: Services) -> APIBlueprint:
        api = APIBlueprint("rowless", __name__)

        @api.get("/rowless")
        @operation("rowless.show")
        def show() -> Response:
            return Response()

        return api

    def nameless(_: Services) -> APIBlueprint:
        api = APIBlueprint("nameless", __name__)

        @api.get("/nameless")
        def show() -> Response:
            return Response()

        return api

    with pytest.raises(ValueError, match=r"rowless\.show"):
        create_app(services, [rowless])
    with pytest.raises(ValueError, match="no operation"):
        create_app(services, [nameless])


def test_the_page_loads_nothing_from_outside(app: App) -> None:
    """Scripts and styles are served by the service, and the policy allows no others."""
    client = app.test_client()
    page = client.get("/api/v1/docs")
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy
    assert "default-src 'none'" in policy
    html = page.get_data(as_text=True)
    assert "://" not in html
    assert not re.search(r"<script(?![^>]*src=)|<style|\son\w+=", html)
    files = re.findall(r'(?:src|href)="([^"]+)"', html)
    assert len(files) == 3
    for file in files:
        answer = client.get(f"/api/v1/{file}")
        assert answer.status_code == 200
        assert answer.mimetype in ("text/javascript", "text/css")
        assert "@import" not in answer.get_data(as_text=True)[:2000]
        assert not re.search(r"url\([\"']?https?:", answer.get_data(as_text=True))


def test_secrets_are_not_kept(admin: FlaskClient, database: Path) -> None:
    """Neither the credential, nor the log of changes, nor the kept answer holds the secret."""
    made = document(
        admin.post(TOKENS, json={"name": "a", "role": "viewer"}, headers={"Idempotency-Key": "k1"})
    )
    held = whole(database)
    assert "made_by" in held
    assert made["secret"].removeprefix("fst_") not in held
    assert "'k1'" not in held
