"""Logging in and out, and what keeps others from doing it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from service.api.services import Services
from service.app import App, create_app
from service.security.accounts import reset_password
from service.security.first_start import make_first_admin
from service.security.passwords import Passwords
from service.security.policy import SecurityPolicy
from service.security.principal import Principal, Role
from service.security.users import SERVICE, User, put
from service.store.base import Store
from tests.answers import document, problem
from tests.unit.service.api.conftest import NOW, Ask, Clock, whole

SESSION = "/api/v1/session"
PASSWORD = "correct horse battery"


@pytest.fixture
def anna(store: Store, passwords: Passwords) -> str:
    """A user who may operate, with a password of her own."""
    wanted = User(name="anna", role=Role.OPERATOR, owner="", password_hash=passwords.hash(PASSWORD))
    with store.begin() as tx:
        put(tx, Principal(name="t", role=Role.ADMIN), wanted, expected_revision=0, now=NOW)
    return "anna"


def logged_in(app: App, user: str = "anna", password: str = PASSWORD) -> FlaskClient:
    """Return a client with a session, which shows the token of its page."""
    client = app.test_client()
    answer = client.post(SESSION, json={"user": user, "password": password})
    assert answer.status_code == 201, answer.json
    client.environ_base["HTTP_X_CSRF_TOKEN"] = document(answer)["csrf_token"]
    return client


def status(client: FlaskClient) -> int:
    """Return how the client's question who it is is answered."""
    return client.get(SESSION).status_code


def test_a_session_knows_its_user(app: App, anna: str) -> None:
    """Whoever logged in is told who they are."""
    told = document(logged_in(app).get(SESSION))
    assert (told["name"], told["role"]) == ("anna", "operator")
    assert told["must_change_password"] is False


@pytest.mark.parametrize(
    ("base_url", "address", "secure"),
    [
        ("http://localhost", "127.0.0.1", False),
        ("http://localhost", "10.0.0.7", True),
        ("https://localhost", "127.0.0.1", True),
    ],
)
def test_the_cookie_is_guarded(
    app: App, anna: str, base_url: str, address: str, secure: bool
) -> None:
    """No script reads it, no other site sends it with changes, and TLS carries it."""
    answer = app.test_client().post(
        SESSION,
        json={"user": "anna", "password": PASSWORD},
        base_url=base_url,
        environ_base={"REMOTE_ADDR": address},
    )
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Domain" not in cookie
    assert ("Secure" in cookie) is secure
    assert cookie.startswith("__Host-foreswap=" if secure else "foreswap=")


def test_behind_a_proxy_with_tls_cookies_are_secure(
    services: Services, app: App, anna: str
) -> None:
    """The proxy on the same machine speaks plain HTTP, its askers do not."""
    behind = create_app(replace(services, security=SecurityPolicy(is_behind_tls=True)))
    answer = behind.test_client().post(SESSION, json={"user": "anna", "password": PASSWORD})
    assert "Secure" in answer.headers["Set-Cookie"]


def test_proxy_headers_are_not_believed(app: App, anna: str) -> None:
    """Nobody gets more tries, or another cookie, by saying they come from elsewhere."""
    client = app.test_client()
    for i in range(8):
        answer = client.post(
            SESSION,
            json={"user": "anna", "password": "wrong"},
            headers={"X-Forwarded-For": f"10.0.0.{i}", "X-Forwarded-Proto": "https"},
        )
    assert answer.status_code == 429


def test_changes_by_cookie_need_the_token(app: App, anna: str) -> None:
    """A page of somebody else, which cannot read the token, changes nothing."""
    client = logged_in(app)
    for forged in ({"X-CSRF-Token": ""}, {"X-CSRF-Token": "x"}):
        answer = client.delete(SESSION, headers=forged)
        assert answer.status_code == 403
        assert problem(answer)["type"].endswith("forbidden-csrf")
    del client.environ_base["HTTP_X_CSRF_TOKEN"]
    assert client.delete(SESSION).status_code == 403
    assert status(client) == 200


def test_the_token_is_of_the_session(app: App, anna: str) -> None:
    """The token of one session is worth nothing in another."""
    first, second = logged_in(app), logged_in(app)
    stolen = first.environ_base["HTTP_X_CSRF_TOKEN"]
    assert second.delete(SESSION, headers={"X-CSRF-Token": stolen}).status_code == 403


def test_logging_out_ends_one_session_or_all(app: App, anna: str) -> None:
    """The others go on, unless they are meant too."""
    first, second, third = logged_in(app), logged_in(app), logged_in(app)
    assert first.delete(SESSION).status_code == 204
    assert (status(first), status(second), status(third)) == (401, 200, 200)
    assert second.delete(f"{SESSION}?everywhere=true").status_code == 204
    assert (status(second), status(third)) == (401, 401)


def test_a_cookie_that_was_kept_is_worth_nothing(app: App, anna: str) -> None:
    """Logging out ends the session in the store, not only in the browser."""
    client = logged_in(app)
    cookie = client.get_cookie("foreswap")
    assert cookie is not None
    client.delete(SESSION)
    thief = app.test_client()
    thief.set_cookie("foreswap", cookie.value)
    assert status(thief) == 401


def test_unused_sessions_end(app: App, anna: str, clock: Clock) -> None:
    """An hour of silence ends a session; requests in between keep it."""
    client = logged_in(app)
    for _ in range(3):
        clock.pass_(timedelta(minutes=50))
        assert status(client) == 200
    clock.pass_(timedelta(minutes=61))
    assert status(client) == 401


def test_sessions_end_in_the_end(app: App, anna: str, clock: Clock) -> None:
    """However busy it is, a session lasts twelve hours."""
    client = logged_in(app)
    for _ in range(23):
        clock.pass_(timedelta(minutes=30))
        assert status(client) == 200
    clock.pass_(timedelta(minutes=31))
    assert status(client) == 401


def test_wrong_passwords_are_told_alike(app: App, anna: str) -> None:
    """Nobody learns from the answer whether there is such a user."""
    client = app.test_client()
    wrong = client.post(SESSION, json={"user": "anna", "password": "wrong"})
    nobody = client.post(SESSION, json={"user": "nobody", "password": "wrong"})
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.json == nobody.json


def test_unknown_users_cost_a_hash_too(passwords: Passwords) -> None:
    """The time tells nothing either: a hash is checked where there is none, and never fits."""
    checked: list[str] = []

    class Watched(Passwords):
        def fits(self, password: str, kept: str | None) -> bool:
            checked.append(self._nobodys if kept is None else kept)
            return super().fits(password, kept)

    watched = Watched(time_cost=1, memory_kib=8, parallelism=1)
    assert not watched.fits("x", None)
    assert checked[0].startswith("$argon2id$")


def test_guessing_is_slowed_down(app: App, anna: str, clock: Clock) -> None:
    """After five wrong passwords even the right one waits, from that address."""
    client = app.test_client()
    for _ in range(5):
        assert client.post(SESSION, json={"user": "anna", "password": "x"}).status_code == 401
    refused = client.post(SESSION, json={"user": "anna", "password": PASSWORD})
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    problem(refused)
    elsewhere = app.test_client()
    elsewhere.environ_base["REMOTE_ADDR"] = "10.1.1.1"
    right = {"user": "anna", "password": PASSWORD}
    assert elsewhere.post(SESSION, json=right).status_code == 201
    clock.pass_(timedelta(minutes=16))
    assert client.post(SESSION, json=right).status_code == 201


def test_guessing_is_counted_for_the_address_and_for_the_user(
    services: Services, anna: str
) -> None:
    """Neither many names from one address nor many addresses for one name get around it."""
    limits = SecurityPolicy(max_attempts_per_user=3, max_attempts_per_address=4)
    client = create_app(replace(services, security=limits)).test_client()

    def tried(user: str, address: str) -> int:
        return client.post(
            SESSION,
            json={"user": user, "password": "x"},
            environ_base={"REMOTE_ADDR": address},
        ).status_code

    assert [tried("anna", f"10.0.0.{i}") for i in range(4)] == [401, 401, 401, 429]
    assert [tried(f"user{i}", "10.9.9.9") for i in range(5)] == [401, 401, 401, 401, 429]
    # All addresses of one IPv6 network are one asker's.
    assert [tried(f"user{i}", f"2001:db8::{i}") for i in range(5)][-1] == 429


def test_counts_are_shared_by_replicas(services: Services, anna: str) -> None:
    """Another process on the same store counts on."""
    for _ in range(5):
        client = create_app(services).test_client()
        assert client.post(SESSION, json={"user": "anna", "password": "x"}).status_code == 401
    assert (
        create_app(services).test_client().post(SESSION, json={"user": "anna", "password": "x"})
    ).status_code == 429


def test_a_new_password_ends_the_other_sessions(app: App, anna: str) -> None:
    """Whoever knew the old one is out, and the session that asked goes on."""
    first, second = logged_in(app), logged_in(app)
    wanted = {"current_password": PASSWORD, "new_password": "another horse battery"}
    assert first.put(f"{SESSION}/password", json=wanted).status_code == 204
    assert (status(first), status(second)) == (200, 401)
    assert logged_in(app, password="another horse battery")
    again = app.test_client().post(SESSION, json={"user": "anna", "password": PASSWORD})
    assert again.status_code == 401


@pytest.mark.parametrize(
    ("current", "new", "path"),
    [
        ("wrong", "another horse battery", "current_password"),
        (PASSWORD, PASSWORD, "new_password"),
        (PASSWORD, "short", "new_password"),
        (PASSWORD, "annaannaanna", "new_password"),
        (PASSWORD, "aaaaaaaaaaaaaaaa", "new_password"),
        (PASSWORD, "x" * 257, "new_password"),
    ],
)
def test_bad_new_passwords_are_refused(
    app: App, anna: str, current: str, new: str, path: str
) -> None:
    """The field is named, the password is not repeated, and the old one stays."""
    answer = logged_in(app).put(
        f"{SESSION}/password", json={"current_password": current, "new_password": new}
    )
    assert answer.status_code == 422
    assert problem(answer)["errors"][0]["path"] == path
    assert new not in answer.get_data(as_text=True)
    assert logged_in(app)


def test_the_first_start_makes_one_admin(services: Services, app: App) -> None:
    """The password is for one login: until it is changed, nothing else is allowed."""
    password = make_first_admin(services.store, services.passwords, NOW)
    assert password is not None
    assert make_first_admin(services.store, services.passwords, NOW) is None
    client = logged_in(app, "admin", password)
    refused = client.get("/api/v1/users")
    assert refused.status_code == 403
    assert problem(refused)["type"].endswith("forbidden-password")
    wanted = {"current_password": password, "new_password": "another horse battery"}
    assert client.put(f"{SESSION}/password", json=wanted).status_code == 204
    assert client.get("/api/v1/users").status_code == 200


def test_who_is_locked_out_gets_another_password(services: Services, app: App, anna: str) -> None:
    """A password for one login ends their sessions and has to be changed after it."""
    before = logged_in(app)
    password = "given by somebody"
    with services.store.begin() as tx:
        reset_password(tx, SERVICE, "anna", services.passwords.hash(password), NOW)
    assert status(before) == 401
    assert document(logged_in(app, "anna", password).get(SESSION))["must_change_password"]


def test_old_hashes_are_renewed(services: Services, anna: str) -> None:
    """A login with parameters of before leaves a hash with those of today."""
    dearer = Passwords(time_cost=2, memory_kib=16, parallelism=1)
    app = create_app(replace(services, passwords=dearer))
    logged_in(app)
    with services.store.begin(read_only=True) as tx:
        from service.security.users import get

        kept = get(tx, "anna").password_hash
    assert not dearer.is_outdated(kept)
    assert logged_in(app)


def test_no_secret_is_kept_or_logged(
    app: App, anna: str, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither password nor session is found in the store or in the log at its most talkative."""
    caplog.set_level(logging.DEBUG)
    client = logged_in(app)
    cookie = client.get_cookie("foreswap")
    assert cookie is not None
    app.test_client().post(SESSION, json={"user": "anna", "password": "my other secret"})
    app.test_client().post(SESSION, json={"user": "my other secret", "password": "x"})
    client.put(
        f"{SESSION}/password",
        json={"current_password": PASSWORD, "new_password": "another horse battery"},
    )
    held = whole(database) + caplog.text
    for secret in (PASSWORD, cookie.value, "my other secret", "another horse battery"):
        assert secret not in held
    assert "session.password" in held


def test_tokens_have_no_session(client_of: Ask) -> None:
    """A token says who it is, and cannot log out or have a password."""
    client = client_of(Role.OPERATOR)
    told = document(client.get(SESSION))
    assert (told["name"], told["csrf_token"]) == ("token/test-operator", "")
    assert client.delete(SESSION).status_code == 403


def test_a_session_may_be_shown_as_a_bearer(app: App, anna: str) -> None:
    """A program that logged in as a person shows the secret itself, which no page can do."""
    cookie = logged_in(app).get_cookie("foreswap")
    assert cookie is not None
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {cookie.value}"
    assert client.delete(SESSION).status_code == 204
    assert status(client) == 401
