"""Users, and that somebody is always left who can make them."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from service.app import App
from service.security.principal import Role
from service.store.base import Store
from tests.answers import document, problem
from tests.unit.service.api.conftest import Ask

USERS = "/api/v1/users"
PASSWORD = "correct horse battery"


def make(client: FlaskClient, name: str, role: str = "viewer") -> str:
    """Make a user; return the ETag."""
    answer = client.put(f"{USERS}/{name}", json={"role": role, "password": PASSWORD})
    assert answer.status_code == 201, answer.json
    return answer.headers["ETag"]


def session_of(app: App, name: str) -> FlaskClient:
    """Return a client that has logged in."""
    client = app.test_client()
    answer = client.post("/api/v1/session", json={"user": name, "password": PASSWORD})
    assert answer.status_code == 201
    return client


def test_users_are_made_shown_changed_and_removed(admin: FlaskClient) -> None:
    """The whole life of a user, each step with the revision it was read at."""
    etag = make(admin, "anna", "owner")
    shown = admin.get(f"{USERS}/anna")
    assert shown.headers["ETag"] == etag
    assert document(shown) == {
        "name": "anna",
        "role": "owner",
        "owner": "anna",
        "must_change_password": True,
    }
    changed = admin.put(f"{USERS}/anna", json={"role": "operator"}, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag
    removed = admin.delete(f"{USERS}/anna", headers={"If-Match": changed.headers["ETag"]})
    assert removed.status_code == 204
    assert admin.get(f"{USERS}/anna").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 428),
        ({"If-None-Match": "*"}, 412),
        ({"If-Match": '"7"'}, 412),
        ({"If-Match": 'W/"1"'}, 412),
        ({"If-Match": '"abc"'}, 412),
        ({"If-Match": "1"}, 400),
        ({"If-Match": '"1", "2"'}, 400),
        ({"If-None-Match": '"1"'}, 400),
    ],
)
def test_changes_need_the_right_revision(
    admin: FlaskClient, headers: dict[str, str], status: int
) -> None:
    """Whoever did not read what stands changes nothing of it."""
    make(admin, "anna")
    for method in ("PUT", "DELETE"):
        body = {"role": "operator"} if method == "PUT" else None
        answer = admin.open(f"{USERS}/anna", method=method, json=body, headers=headers)
        assert answer.status_code == status
        problem(answer)
    assert document(admin.get(f"{USERS}/anna"))["role"] == "viewer"


def test_any_revision_is_changed_with_a_star(admin: FlaskClient) -> None:
    """``If-Match: *`` says that whatever stands may go."""
    make(admin, "anna")
    assert admin.delete(f"{USERS}/anna", headers={"If-Match": "*"}).status_code == 204
    assert admin.delete(f"{USERS}/anna", headers={"If-Match": "*"}).status_code == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"role": "viewer"}, "password"),
        ({"role": "viewer", "password": "short"}, "password"),
        ({"role": "agent", "password": PASSWORD}, "role"),
        ({"role": "viewer", "owner": "x", "password": PASSWORD}, "owner"),
    ],
)
def test_bad_users_are_refused(admin: FlaskClient, body: dict[str, str], path: str) -> None:
    """The field is named and nobody is made."""
    answer = admin.put(f"{USERS}/anna", json=body)
    assert answer.status_code == 422
    assert problem(answer)["errors"][0]["path"] == path
    assert admin.get(f"{USERS}/anna").status_code == 404


def test_the_last_admin_stays(admin: FlaskClient) -> None:
    """The last one can neither be removed nor become something else; the one before can."""
    first, second = make(admin, "anna", "admin"), make(admin, "berta", "admin")
    assert admin.delete(f"{USERS}/anna", headers={"If-Match": first}).status_code == 204
    headers = {"If-Match": second}
    refused = admin.delete(f"{USERS}/berta", headers=headers)
    lowered = admin.put(f"{USERS}/berta", json={"role": "viewer"}, headers=headers)
    assert refused.status_code == lowered.status_code == 409
    assert "last admin" in problem(refused)["detail"]
    assert document(admin.get(f"{USERS}/berta"))["role"] == "admin"


def test_changed_users_are_logged_out(admin: FlaskClient, app: App) -> None:
    """Another role, another password, no user any more: each ends the sessions there are."""
    etag = make(admin, "anna")
    for body in ({"role": "operator"}, {"role": "operator", "password": PASSWORD}):
        client = session_of(app, "anna")
        changed = admin.put(f"{USERS}/anna", json=body, headers={"If-Match": etag})
        etag = changed.headers["ETag"]
        assert client.get("/api/v1/session").status_code == 401
    client = session_of(app, "anna")
    assert document(admin.delete(f"{USERS}/anna/sessions")) == {"num_ended": 1}
    assert client.get("/api/v1/session").status_code == 401
    client = session_of(app, "anna")
    admin.delete(f"{USERS}/anna", headers={"If-Match": etag})
    assert client.get("/api/v1/session").status_code == 401


def test_hashes_are_never_shown(admin: FlaskClient, store: Store) -> None:
    """Neither to an admin nor in the log of changes."""
    make(admin, "anna")
    admin.put(
        f"{USERS}/anna", json={"role": "viewer", "password": PASSWORD}, headers={"If-Match": "*"}
    )
    with store.begin(read_only=True) as tx:
        logged = repr(tx.audit.page(limit=100))
    assert "users/anna" in logged
    assert "argon2" not in logged + admin.get(USERS).get_data(as_text=True)
    assert "'password': 'changed'" in logged


def test_only_admins_see_users(client_of: Ask) -> None:
    """Nobody else, whatever they may do with clusters."""
    for role in set(Role) - {Role.ADMIN}:
        assert client_of(role).get(USERS).status_code == 403


def test_a_password_is_reset_once_for_one_login(admin: FlaskClient, app: App, store: Store) -> None:
    """It ends the sessions, has to be changed, is told once and is in no log."""
    make(admin, "anna")
    client = session_of(app, "anna")
    key = {"Idempotency-Key": "k1"}
    given = document(admin.post(f"{USERS}/anna/password", headers=key, json={}))["password"]
    again = document(admin.post(f"{USERS}/anna/password", headers=key, json={}))
    assert again == {"password": None}
    assert client.get("/api/v1/session").status_code == 401
    begun = app.test_client().post("/api/v1/session", json={"user": "anna", "password": given})
    assert document(begun)["must_change_password"]
    with store.begin(read_only=True) as tx:
        assert given not in repr(tx.audit.page(limit=100))
    assert admin.post(f"{USERS}/nobody/password", json={}).status_code == 404


def test_nobody_resets_their_own_password(admin: FlaskClient, app: App) -> None:
    """They would be logged out by an answer they may not get to see."""
    make(admin, "berta", "admin")
    client = session_of(app, "berta")
    changed = {"current_password": PASSWORD, "new_password": "another horse battery"}
    token = document(client.get("/api/v1/session"))["csrf_token"]
    client.environ_base["HTTP_X_CSRF_TOKEN"] = token
    assert client.put("/api/v1/session/password", json=changed).status_code == 204
    refused = client.post(f"{USERS}/berta/password", json={})
    assert refused.status_code == 409
    assert "expected somebody else" in problem(refused)["detail"]
    assert client.get("/api/v1/session").status_code == 200
