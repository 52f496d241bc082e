"""Choosing a password of one's own."""

from __future__ import annotations

import secrets
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, no_update

from service.api.services import Services
from service.errors import TooManyError
from service.security import sessions
from service.security.principal import Principal
from service.web.door import require_visitor
from service.web.errors import SESSION, notice
from service.web.site import Component, Page, Visit
from solver.domain.errors import InvalidInputError

_PRESENT: Final = "password-present"
_NEW: Final = "password-new"
_AGAIN: Final = "password-again"
_BUTTON: Final = "password-button"


def show(_services: Services, visit: Visit) -> Component:
    """Return the form."""
    why = (
        "Your password was given by somebody else. Choose one of your own to go on."
        if visit.principal.must_change_password
        else "Your other sessions end with it."
    )
    return dmc.Paper(
        dmc.Stack(
            [
                dmc.Title("Choose a password", order=1, size="h3"),
                dmc.Text(why),
                dmc.PasswordInput(
                    id=_PRESENT, label="Present password", autoComplete="current-password"
                ),
                dmc.PasswordInput(
                    id=_NEW,
                    label="New password",
                    description="12 to 256 characters",
                    autoComplete="new-password",
                ),
                dmc.PasswordInput(
                    id=_AGAIN, label="New password again", autoComplete="new-password"
                ),
                dmc.Button("Change it", id=_BUTTON),
            ]
        ),
        withBorder=True,
        p="lg",
        maw=420,
        mx="auto",
        mt="8vh",
    )


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""

    @app.callback(
        Output(SESSION, "data", allow_duplicate=True),
        Output(_PRESENT, "error"),
        Output(_NEW, "error"),
        Output(_AGAIN, "error"),
        Input(_BUTTON, "n_clicks"),
        State(_PRESENT, "value"),
        State(_NEW, "value"),
        State(_AGAIN, "value"),
        prevent_initial_call=True,
    )
    def change(clicks: int | None, present: str | None, new: str | None, again: str | None) -> Any:
        """Change the password of whoever has logged in."""
        if not clicks:
            return (no_update,) * 4
        if new != again:
            return no_update, None, None, "expected the same as above"
        return _changed(services, require_visitor(services), present or "", new or "")


def _changed(services: Services, who: Principal, present: str, new: str) -> tuple[Any, ...]:
    try:
        sessions.change_password(
            services.store,
            services.security,
            services.passwords,
            who,
            current=present,
            new=new,
            now=services.now(),
        )
    except InvalidInputError as error:
        told = str(error).removeprefix(f"{error.path}: ")
        at_new = error.path == "new_password"
        return no_update, None if at_new else told, told if at_new else None, None
    except TooManyError as error:
        return no_update, str(error), None, None
    notice("Password changed", "Your other sessions have ended.")
    return secrets.token_hex(4), None, None, None


PAGE: Final = Page(
    path="/password", title="Password", operation="", label="", show=show, listen=listen
)
