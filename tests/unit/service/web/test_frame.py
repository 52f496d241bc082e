"""What a browser is answered first: the document, then the frame with the page in it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.api.services import Services
from service.inventory.clusters import put_cluster, put_snapshot
from service.inventory.policies import ClusterSettings
from service.inventory.priorities import Wanted, set_priorities
from service.security import sessions, users
from service.security.passwords import Passwords
from service.security.principal import Principal, Role
from service.security.users import User
from service.store.sql import open_store
from service.web.app import create_pages
from service.web.marks import KEPT_S
from solver.domain.units import VmId
from tests.builders import NOW, make_cluster, make_host, make_vm

ADMIN = Principal(name="test", role=Role.ADMIN)
PASSWORD = "correct horse battery"
BASE = "http://localhost"


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A service with a cluster and a viewer."""
    store: Any = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    passwords = Passwords(time_cost=1, memory_kib=8, parallelism=1)
    viewer = User(
        name="viewer",
        role=Role.VIEWER,
        owner="",
        password_hash=passwords.hash(PASSWORD),
        must_change_password=False,
    )
    cluster = make_cluster([make_host("h1")], [make_vm("v1", "h1")])
    with store.begin() as tx:
        users.put(tx, ADMIN, viewer, expected_revision=0, now=NOW)
        settings = ClusterSettings(name="one")
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=0, now=NOW)
        put_snapshot(tx, ADMIN, "c1", cluster, now=NOW)
    yield Services(store=store, now=lambda: NOW, passwords=passwords)
    store.close()


@pytest.fixture
def visitor(services: Services) -> FlaskClient:
    """Somebody before the pages."""
    client: FlaskClient = create_pages(services).test_client()
    return client


@pytest.fixture
def viewer(services: Services, visitor: FlaskClient) -> FlaskClient:
    """The viewer, who has logged in."""
    login = sessions.log_in(
        services.store,
        services.security,
        services.passwords,
        name="viewer",
        password=PASSWORD,
        origin="127.0.0.1",
        now=NOW,
    )
    visitor.set_cookie("foreswap", login.secret)
    return visitor


def framed(client: FlaskClient, path: str) -> str:
    """Return the frame that a document asks for."""
    return plain(client.get("/_dash-layout", headers={"Referer": BASE + path}).text)


def plain(answer: str) -> str:
    """Return JSON as it is read more easily."""
    return json.dumps(json.loads(answer), ensure_ascii=False, separators=(",", ":"))


def test_the_page_comes_with_the_frame(viewer: FlaskClient) -> None:
    """So do its title, the navigation, and the mark by which it is seen to have changed."""
    answer = framed(viewer, "/clusters/c1")
    assert "/clusters/c1/hosts/h1" in answer
    assert '"Overview · c1 · foreswap"' in answer
    assert '"pathname":"/clusters/c1"' in answer
    assert '"href":"/clusters/c1/plans"' in answer
    mark = viewer.get("/web/mark/c1").text
    assert mark
    assert mark in answer.replace('\\"', '"')


def test_what_stands_behind_the_path_is_understood(viewer: FlaskClient) -> None:
    """A question in the address is the page's from the first."""
    assert '"value":"plans."' in framed(viewer, "/clusters/c1/audit?action=plans.")


def test_nobody_is_shown_anything(visitor: FlaskClient) -> None:
    """Without a session there is the form for logging in, at every address."""
    answer = framed(visitor, "/clusters/c1")
    assert "login-password" in answer
    assert "h1" not in answer


def test_what_the_role_forbids_is_not_in_the_frame(viewer: FlaskClient) -> None:
    """The frame asks who may see a page, as turning to it does."""
    assert "Not for this role" in framed(viewer, "/users")


def test_a_browser_that_does_not_say_where_it_is_asks_again(viewer: FlaskClient) -> None:
    """Then the frame comes empty, and the address is told once it is there."""
    answer = plain(viewer.get("/_dash-layout").text)
    assert "Loading" in answer
    assert '"pathname":"' not in answer


def test_files_are_kept_and_answers_are_not(viewer: FlaskClient) -> None:
    """Files have an address that changes when they do; all else is asked for anew."""
    document = viewer.get("/clusters/c1/vms")
    assert document.headers["Cache-Control"] == "no-store"
    assert "/assets/overview.css" not in document.text
    assert ".host-cell" in document.text
    assert viewer.get("/_dash-layout").headers["Cache-Control"] == "no-store"
    script = document.text.partition('src="/assets/')[2].partition('"')[0]
    assert viewer.get(f"/assets/{script}").headers["Cache-Control"] == "max-age=31536000, immutable"


def test_scripts_of_a_table_are_loaded_with_the_page_that_shows_it(viewer: FlaskClient) -> None:
    """They are found at the address that the document names, and not loaded for other pages."""
    named = "/_dash-component-suites/dash_ag_grid/async-community."
    _, sep, rest = viewer.get("/clusters/c1/vms").text.partition(named)
    assert sep
    answer = viewer.get(named + rest.partition('"')[0])
    assert answer.status_code == 200
    assert "max-age" in answer.headers["Cache-Control"]
    assert named not in viewer.get("/clusters/c1").text


def test_a_change_has_another_mark(services: Services, viewer: FlaskClient) -> None:
    """Not at once, since what was read a moment ago answers everybody, but soon."""
    before = viewer.get("/web/mark/c1").text
    with services.store.begin() as tx:
        wanted = [Wanted(vm_id=VmId("v1"), priority=9)]
        set_priorities(tx, ADMIN, "c1", wanted, now=NOW)
    begin_s = time.monotonic()
    while viewer.get("/web/mark/c1").text == before:
        assert time.monotonic() < begin_s + 10 * KEPT_S
