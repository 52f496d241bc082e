"""The tokens of programs: listed, made, their secret shown once, and revoked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ALL, Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.errors import WrongStateError
from service.inventory.clusters import page_of_clusters
from service.security import tokens
from service.security.principal import Principal, Role
from service.store.base import Credential
from service.web.door import require
from service.web.errors import notice
from service.web.fields import every_field, field_id, placed, typed
from service.web.parts import heading, instant, shown_once, small_table
from service.web.site import Component, Page, Visit
from service.web.token_form import LIFETIMES, reach, token_typed
from solver.domain.errors import ForeswapError, InvalidInputError

FORM: Final = "new-token"
_TABLE: Final = "tokens-table"
_ADD: Final = "tokens-add"
_WRONG: Final = "tokens-wrong"
_GIVEN: Final = "tokens-given"
_REVOKE: Final = "tokens-revoke"
_SURE: Final = "tokens-sure"
_DOOMED: Final = "tokens-doomed"
_LIVE: Final = "live"

MOST: Final = 1000
"""Tokens that are listed, and clusters to choose among."""

_ROLES: Final = {
    Role.AGENT: "agent: delivers the telemetry of a host",
    Role.VIEWER: "viewer: sees, changes nothing",
    Role.OWNER: "owner: ranks somebody's VMs",
    Role.OPERATOR: "operator: runs the clusters",
    Role.ADMIN: "admin: all of it",
}


def show(services: Services, visit: Visit) -> Component:
    """Return the list and the form."""
    return [
        dcc.ConfirmDialog(id=_SURE, message=""),
        dcc.Store(id=_DOOMED),
        heading("Tokens"),
        html.Div(_table(services), id=_TABLE),
        dmc.Fieldset(
            [
                dmc.SimpleGrid(
                    _fields(services, visit.principal), cols={"base": 1, "sm": 2, "lg": 3}
                ),
                dmc.Group(
                    [dmc.Button("Make it", id=_ADD), html.Div(id=_WRONG, role="alert")], mt="sm"
                ),
                html.Div(id=_GIVEN),
            ],
            legend="A token for a program",
            mt="lg",
        ),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_revoking(app, services)

    @app.callback(Output(_TABLE, "children"), Input(_LIVE, "data"), prevent_initial_call=True)
    def refresh(_live: str) -> Any:
        """Show what has changed meanwhile."""
        require(services, "tokens.list")
        return _table(services)

    @app.callback(
        Output(_TABLE, "children", allow_duplicate=True),
        Output(_GIVEN, "children"),
        Output(every_field(FORM), "error"),
        Output(_WRONG, "children"),
        Input(_ADD, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        prevent_initial_call=True,
    )
    def add(clicks: int | None, ids: list[Any], values: list[Any]) -> Any:
        """Make a token, and show its secret."""
        if not clicks:
            return no_update, no_update, [no_update] * len(ids), no_update
        try:
            name, secret = _added(services, typed(ids, values))
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return no_update, None, beside, apart
        return _table(services), shown_once(f"Token {name}.", secret), [""] * len(ids), ""


def _listen_to_revoking(app: Dash, services: Services) -> None:
    @app.callback(
        Output(_SURE, "displayed"),
        Output(_SURE, "message"),
        Output(_DOOMED, "data"),
        Input({"type": _REVOKE, "name": ALL}, "n_clicks"),
        prevent_initial_call=True,
    )
    def ask(_clicks: Sequence[int | None]) -> Any:
        """Ask whether it is meant."""
        # Buttons that have just been drawn say so, too.
        if not any(event["value"] for event in ctx.triggered):
            return (no_update,) * 3
        name = ctx.triggered_id["name"]
        return True, f"Revoke {name}? Whatever uses it is refused from then on.", name

    @app.callback(
        Output(_TABLE, "children", allow_duplicate=True),
        Input(_SURE, "submit_n_clicks"),
        State(_DOOMED, "data"),
        prevent_initial_call=True,
    )
    def revoke(clicks: int | None, name: str | None) -> Any:
        """Revoke the token."""
        if not clicks or not name:
            return no_update
        principal = require(services, "tokens.delete")
        with services.store.begin() as tx:
            tokens.delete(tx, principal, name, services.now())
        notice("Revoked", f"{name} is unknown from now on.")
        return _table(services)


def _added(services: Services, by_path: Mapping[str, Any]) -> tuple[str, str]:
    """Make a token; return its name and its secret."""
    principal = require(services, "tokens.create")
    wanted = token_typed(by_path, services.now())
    try:
        with services.store.begin() as tx:
            _, secret = tokens.create(tx, principal, wanted, services.now())
    except WrongStateError as error:
        raise InvalidInputError(str(error), path="name") from error
    return wanted.name, secret


def _fields(services: Services, principal: Principal) -> list[Component]:
    with services.store.begin(read_only=True) as tx:
        clusters = page_of_clusters(tx, principal, after="", limit=MOST)
    names = [{"value": item.id, "label": item.id} for item in clusters]
    return [
        dmc.TextInput(id=field_id(FORM, "name"), label="Name", description="what it is for"),
        dmc.Select(
            id=field_id(FORM, "role"),
            label="Role",
            description="what it may do",
            data=[{"value": role.value, "label": words} for role, words in _ROLES.items()],
            value=Role.VIEWER.value,
            allowDeselect=False,
        ),
        dmc.Select(
            id=field_id(FORM, "lifetime_days"),
            label="Ends",
            description="from when on it is unknown",
            data=[{"value": days, "label": words} for days, words in LIFETIMES.items()],
            value="365",
            allowDeselect=False,
        ),
        dmc.Select(
            id=field_id(FORM, "cluster_id"),
            label="Cluster",
            description="the only one it reaches",
            data=[{"value": "", "label": "All clusters"}, *names],
            value="",
            searchable=True,
            allowDeselect=False,
        ),
        dmc.TextInput(
            id=field_id(FORM, "host_id"),
            label="Host",
            description="of an agent: the only one it delivers for",
        ),
        dmc.TextInput(
            id=field_id(FORM, "owner"), label="Whose VMs", description="for the role owner"
        ),
    ]


def _table(services: Services) -> Component:
    with services.store.begin(read_only=True) as tx:
        found = tokens.page(tx, after="", limit=MOST)
    if not found:
        return dmc.Text("No token yet: a monitor, or a script, needs one.")
    names = ("Token", "Role", "Reaches", "Made by", "Last used", "Ends", "")
    return small_table("Tokens", names, [_row(token) for token in found])


def _row(token: Credential) -> tuple[Component, ...]:
    revoke = dmc.Button(
        "Revoke",
        id={"type": _REVOKE, "name": token.subject},
        variant="default",
        size="compact-sm",
        **{"aria-label": f"Revoke {token.subject}"},
    )
    known = token.document
    return (
        token.subject,
        known["role"],
        reach(known),
        known["made_by"],
        "never" if token.last_used_at is None else instant(token.last_used_at),
        "never" if token.expires_at is None else instant(token.expires_at),
        revoke,
    )


PAGE: Final = Page(
    path="/tokens",
    title="Tokens",
    operation="tokens.list",
    label="Tokens",
    show=show,
    listen=listen,
)
