"""Logging in. It stands at every address until somebody has, so that links lead where they say."""

from __future__ import annotations

import secrets
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, no_update
from flask import Response, after_this_request, request

from service.api import cookies
from service.api.services import Services
from service.errors import TooManyError, UnauthenticatedError
from service.security import sessions
from service.web.errors import SESSION
from service.web.site import Component, Page, Visit

CSRF_COOKIE: Final = "foreswap-csrf"
"""Read by the scripts of the pages, which show it as a header; worth nothing by itself."""

_USER: Final = "login-user"
_PASSWORD: Final = "login-password"
_BUTTON: Final = "login-button"
_ASKED: Final = "login-asked"
_MOST: Final = 1000


def show() -> Component:
    """Return the form."""
    return dmc.Paper(
        dmc.Stack(
            [
                dmc.Title("Log in", order=1, size="h3"),
                dmc.TextInput(id=_USER, label="User", autoComplete="username"),
                dmc.PasswordInput(id=_PASSWORD, label="Password", autoComplete="current-password"),
                dmc.Button("Log in", id=_BUTTON),
                dcc.Store(id=_ASKED),
            ]
        ),
        withBorder=True,
        p="lg",
        maw=380,
        mx="auto",
        mt="12vh",
    )


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("foreswap", "settled"),
        Output(_ASKED, "data"),
        Input(_BUTTON, "n_clicks"),
        Input(_USER, "n_submit"),
        Input(_PASSWORD, "n_submit"),
        prevent_initial_call=True,
    )

    @app.callback(
        Output(SESSION, "data", allow_duplicate=True),
        Output(_PASSWORD, "error"),
        Input(_ASKED, "data"),
        State(_USER, "value"),
        State(_PASSWORD, "value"),
        prevent_initial_call=True,
    )
    def log_in(asked: int | None, user: str | None, password: str | None) -> Any:
        """Begin a session."""
        if not asked:
            return no_update, no_update
        if not user or not password:
            return no_update, "expected a user and a password"
        return _begun(services, user[:_MOST], password[:_MOST])


def give_csrf(response: Response, token: str, *, secure: bool) -> None:
    """Let an answer give the scripts of the pages what their requests have to show."""
    response.set_cookie(CSRF_COOKIE, token, secure=secure, samesite="Strict", path="/")


def _begun(services: Services, user: str, password: str) -> tuple[Any, Any]:
    try:
        login = sessions.log_in(
            services.store,
            services.security,
            services.passwords,
            name=user,
            password=password,
            origin=request.remote_addr or "",
            now=services.now(),
        )
    except UnauthenticatedError:
        return no_update, "user and password do not belong together"
    except TooManyError as error:
        return no_update, f"too many failed logins: wait {error.retry_after_s // 60} minutes"

    def give(response: Response) -> Response:
        cookies.give(response, services.security, login.secret, login.expires_at)
        give_csrf(response, login.csrf_token, secure=request.is_secure)
        return response

    after_this_request(give)
    return secrets.token_hex(4), None


def _show(_services: Services, _visit: Visit) -> Component:
    return show()


PAGE: Final = Page(path="/login", title="Log in", operation="", label="", show=_show, listen=listen)
