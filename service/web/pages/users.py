"""The people who may log in, and letting in another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html, no_update

from service.api.services import Services
from service.security import accounts, users
from service.security.passwords import one_time_password
from service.security.principal import PEOPLE, Role
from service.security.users import User
from service.store.base import Transaction
from service.store.errors import ConflictError
from service.web.door import require
from service.web.fields import every_field, field_id, placed, typed
from service.web.parts import heading, shown_once, small_table
from service.web.site import Component, Page, Visit
from solver.domain.errors import ForeswapError, InvalidInputError

FORM: Final = "new-user"
_TABLE: Final = "users-table"
_ADD: Final = "users-add"
_WRONG: Final = "users-wrong"
_GIVEN: Final = "users-given"
_LIVE: Final = "live"
_MANY: Final = 1000
MOST: Final = 10_000
"""Users that are listed."""

ROLES: Final = {
    Role.VIEWER: "viewer: sees, changes nothing",
    Role.OWNER: "owner: ranks their own VMs",
    Role.OPERATOR: "operator: runs the clusters",
    Role.ADMIN: "admin: all of it, users and tokens too",
}


def show(services: Services, _visit: Visit) -> Component:
    """Return the list and the form."""
    return [
        heading("Users"),
        html.Div(_table(services), id=_TABLE),
        dmc.Fieldset(
            [
                dmc.SimpleGrid(
                    [
                        dmc.TextInput(
                            id=field_id(FORM, "name"),
                            label="Name",
                            description="to log in with: anna",
                        ),
                        role_field(FORM, Role.VIEWER),
                        owner_field(FORM, ""),
                    ],
                    cols={"base": 1, "sm": 3},
                ),
                dmc.Group([dmc.Button("Add", id=_ADD), html.Div(id=_WRONG, role="alert")], mt="sm"),
                html.Div(id=_GIVEN),
            ],
            legend="Let somebody in",
            mt="lg",
        ),
        dmc.Text(
            [
                "Programs get ",
                dmc.Anchor("tokens", href="/tokens", underline="always"),
                " instead.",
            ],
            mt="md",
        ),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""

    @app.callback(Output(_TABLE, "children"), Input(_LIVE, "data"), prevent_initial_call=True)
    def refresh(_live: str) -> Any:
        """Show what has changed meanwhile."""
        require(services, "users.list")
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
        """Let somebody in with a password for one login."""
        if not clicks:
            return no_update, no_update, [no_update] * len(ids), no_update
        try:
            name, password = _added(services, typed(ids, values))
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return no_update, None, beside, apart
        given = shown_once(f"Password of {name} for one login.", password)
        return _table(services), given, [""] * len(ids), ""


def role_field(form: str, value: Role) -> Component:
    """Return the field of a role."""
    return dmc.Select(
        id=field_id(form, "role"),
        label="Role",
        description="what they may do",
        data=[{"value": role.value, "label": words} for role, words in ROLES.items()],
        value=value.value,
        allowDeselect=False,
    )


def owner_field(form: str, value: str) -> Component:
    """Return the field of whose VMs are theirs."""
    return dmc.TextInput(
        id=field_id(form, "owner"),
        label="Whose VMs",
        description="for the role owner; empty: of their own name",
        value=value,
    )


def wanted_user(by_path: Mapping[str, Any], name: str, hashed: str | None) -> accounts.WantedUser:
    """Return the user that was typed.

    :raises InvalidInputError: naming the field that is wrong
    """
    role = str(by_path.get("role") or "")
    if role not in PEOPLE:
        raise InvalidInputError(
            f"expected one of {', '.join(PEOPLE)}, got {role!r:.80}", path="role"
        )
    owner = str(by_path.get("owner") or "")
    return accounts.WantedUser(name=name, role=Role(role), owner=owner, password_hash=hashed)


def _added(services: Services, by_path: Mapping[str, Any]) -> tuple[str, str]:
    """Make a user; return the name and the password."""
    principal = require(services, "users.put")
    name, password = str(by_path.get("name") or ""), one_time_password()
    wanted = wanted_user(by_path, name, services.passwords.hash(password))
    try:
        with services.store.begin() as tx:
            accounts.put(tx, principal, wanted, expected_revision=0, now=services.now())
    except ConflictError as error:
        raise InvalidInputError(f"expected a new name, there is {name!r}", path="name") from error
    return name, password


def _table(services: Services) -> Component:
    with services.store.begin(read_only=True) as tx:
        found = _all(tx)
    names = ("User", "Role", "Whose VMs", "Password")
    return small_table("Users", names, [_row(user) for user in found])


def _all(tx: Transaction) -> list[User]:
    found = list(users.page(tx, after="", limit=_MANY))
    while len(found) % _MANY == 0 and found and len(found) < MOST:
        more = users.page(tx, after=found[-1].name, limit=_MANY)
        if not more:
            break
        found += more
    return found


def _row(user: User) -> tuple[Component, ...]:
    href = f"/users/{quote(user.name, safe='')}"
    name = dmc.Anchor(user.name, href=href, size="sm", underline="always")
    password = "to be changed at the next login" if user.must_change_password else "their own"
    return name, user.role.value, user.owner, password


PAGE: Final = Page(
    path="/users", title="Users", operation="users.list", label="Users", show=show, listen=listen
)
