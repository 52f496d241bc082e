"""One user: role, sessions, a password for one login, and their end."""

from __future__ import annotations

from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.security import accounts, users
from service.security.passwords import one_time_password
from service.security.sessions import sessions_of
from service.store.base import Credential
from service.web.door import require
from service.web.errors import notice
from service.web.fields import every_field, placed, typed
from service.web.pages.users import owner_field, role_field, wanted_user
from service.web.parts import heading, instant, removal, shown_once, small_table
from service.web.site import ADDRESS, Component, Page, Visit
from solver.domain.errors import ForeswapError

FORM: Final = "user"
_NAME: Final = "user-name"
_REVISION: Final = "user-revision"
_SAVE: Final = "user-save"
_WRONG: Final = "user-wrong"
_RESET: Final = "user-reset"
_GIVEN: Final = "user-given"
_SESSIONS: Final = "user-sessions"
_END: Final = "user-end-sessions"
_REMOVE: Final = "user-remove"
_CONFIRMED: Final = "user-confirmed"
_LIVE: Final = "live"


def show(services: Services, visit: Visit) -> Component:
    """Return what is known of the user, and what can be done."""
    with services.store.begin(read_only=True) as tx:
        user = users.get(tx, visit.item_id)
    reset = dmc.Button(
        "Give a password for one login",
        id=_RESET,
        variant="default",
        disabled=user.name == visit.principal.name,
    )
    return [
        html.Div(user.name, id=_NAME, hidden=True),
        dcc.Store(id=_REVISION, data=user.revision),
        heading(f"User {user.name}", dmc.Anchor("All users", href="/users", underline="always")),
        dmc.SimpleGrid(
            [role_field(FORM, user.role), owner_field(FORM, user.owner)],
            cols={"base": 1, "sm": 2},
            maw=640,
        ),
        dmc.Group(
            [dmc.Button("Save", id=_SAVE), html.Div(id=_WRONG, role="alert")], mt="sm", mb="lg"
        ),
        dmc.Text("Whoever gets another role or password is logged out.", size="sm", c="dimmed"),
        dmc.Title("Password", order=2, size="h4", mt="lg", mb="xs"),
        reset,
        html.Div(id=_GIVEN),
        dmc.Title("Sessions", order=2, size="h4", mt="lg", mb="xs"),
        html.Div(_sessions(services, user.name), id=_SESSIONS),
        dmc.Button("End all sessions", id=_END, variant="default", mt="xs"),
        removal(
            "Remove this user",
            "Their sessions end; what they have changed stays in the log.",
            word=user.name,
            typed_id=_CONFIRMED,
            button_id=_REMOVE,
        ),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_saving(app, services)
    _listen_to_removing(app, services)

    @app.callback(
        Output(_GIVEN, "children"),
        Output(_REVISION, "data", allow_duplicate=True),
        Output(_SESSIONS, "children", allow_duplicate=True),
        Input(_RESET, "n_clicks"),
        State(_NAME, "children"),
        prevent_initial_call=True,
    )
    def reset(clicks: int | None, name: str) -> Any:
        """Give a password for one login, and show it."""
        if not clicks:
            return (no_update,) * 3
        principal = require(services, "users.reset_password")
        password = one_time_password()
        hashed = services.passwords.hash(password)
        with services.store.begin() as tx:
            accounts.reset_password(tx, principal, name, hashed, services.now())
            revision = users.get(tx, name).revision
        given = shown_once(f"Password of {name} for one login.", password)
        return given, revision, _sessions(services, name)

    @app.callback(
        Output(_SESSIONS, "children"),
        Input(_END, "n_clicks"),
        Input(_LIVE, "data"),
        State(_NAME, "children"),
        prevent_initial_call=True,
    )
    def end(clicks: int | None, _live: str, name: str) -> Any:
        """End every session, or show those there are by now."""
        require(services, "users.show")
        if clicks and ctx.triggered_id == _END:
            principal = require(services, "users.log_out")
            with services.store.begin() as tx:
                ended = users.log_out(tx, principal, name, services.now())
            notice("Logged out", f"{ended} sessions of {name} have ended.")
        return _sessions(services, name)


def _listen_to_saving(app: Dash, services: Services) -> None:
    @app.callback(
        Output(every_field(FORM), "error"),
        Output(_WRONG, "children"),
        Output(_REVISION, "data"),
        Input(_SAVE, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(_REVISION, "data"),
        State(_NAME, "children"),
        prevent_initial_call=True,
    )
    def save(
        clicks: int | None, ids: list[Any], values: list[Any], revision: int, name: str
    ) -> Any:
        """Give the user another role."""
        if not clicks:
            return [no_update] * len(ids), no_update, no_update
        principal = require(services, "users.put")
        try:
            wanted = wanted_user(typed(ids, values), name, None)
            with services.store.begin() as tx:
                user = accounts.put(
                    tx, principal, wanted, expected_revision=revision, now=services.now()
                )
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return beside, apart, no_update
        notice("Saved", f"{name} has the role {user.role.value}.")
        return [""] * len(ids), "", user.revision


def _listen_to_removing(app: Dash, services: Services) -> None:
    @app.callback(
        Output(ADDRESS, "pathname", allow_duplicate=True),
        Output(_CONFIRMED, "error"),
        Input(_REMOVE, "n_clicks"),
        State(_CONFIRMED, "value"),
        State(_NAME, "children"),
        prevent_initial_call=True,
    )
    def remove(clicks: int | None, word: str | None, name: str) -> Any:
        """Remove the user, once the name was typed."""
        if not clicks:
            return no_update, no_update
        principal = require(services, "users.delete")
        if (word or "").strip() != name:
            return no_update, f"expected {name}"
        try:
            with services.store.begin() as tx:
                users.delete(tx, principal, name, expected_revision=None, now=services.now())
        except ForeswapError as error:
            return no_update, str(error)
        notice("Removed", f"{name} cannot log in any more.")
        return "/users", None


def _sessions(services: Services, name: str) -> Component:
    now = services.now()
    with services.store.begin(read_only=True) as tx:
        found = sessions_of(tx, services.security, name, now)
    if not found:
        return dmc.Text("None: they are not logged in anywhere.", c="dimmed")
    names = ("From", "Begun", "Last used")
    return small_table("Sessions", names, [_row(each) for each in found], maw=640)


def _row(session: Credential) -> tuple[Component, ...]:
    used_at = session.last_used_at or session.made_at
    origin = str(session.document.get("origin") or "unknown")
    return origin, instant(session.made_at), instant(used_at)


PAGE: Final = Page(
    path="/users/<item_id>",
    title="User",
    operation="users.show",
    label="",
    show=show,
    listen=listen,
)
