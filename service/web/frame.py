"""What stands around every page: name, navigation, who has logged in, notices, the banner."""

from __future__ import annotations

import secrets
from typing import Any, Final
from urllib.parse import unquote

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from flask import Response, after_this_request, request

from service.api import cookies
from service.api.services import Services
from service.security import sessions
from service.security.principal import Principal
from service.web import router
from service.web.door import require_visitor, visitor
from service.web.errors import NOTICES, SESSION
from service.web.pages.login import give_csrf
from service.web.site import ADDRESS, Component

_PAGE: Final = "page"
_WHO: Final = "who"
_NAVIGATION: Final = "navigation"
_TITLE: Final = "title"
_THEME: Final = "theme"
_DARK: Final = "dark"
_LIVE: Final = "live"
_TICKS: Final = "ticks"
_AWAY: Final = "away"
_OUT: Final = "log-out"

LOOK_EVERY_MS: Final = 700
"""How often a page asks whether something has changed: so that it shows it within a second."""

# Without these, axe finds too little contrast in Mantine's own choices.
THEME: Final = {
    "primaryColor": "blue",
    "primaryShade": {"light": 8, "dark": 8},
    "autoContrast": True,
    "fontFamily": "system-ui, sans-serif",
    "components": {"Notification": {"defaultProps": {"closeButtonProps": {"aria-label": "Close"}}}},
}


def frame() -> Component:
    """Return the frame, with room for a page."""
    return dmc.MantineProvider(
        id=_THEME,
        theme=THEME,
        forceColorScheme="light",
        children=[
            dcc.Location(id=ADDRESS, refresh="callback-nav"),
            dcc.Store(id=SESSION),
            dcc.Store(id=_LIVE, data=""),
            dcc.Store(id=_TITLE),
            dcc.Interval(id=_TICKS, interval=LOOK_EVERY_MS),
            dmc.NotificationContainer(id=NOTICES, position="bottom-right"),
            _banner(),
            html.A("To the content", href="#content", className="skip"),
            dmc.AppShell(
                [_header(), _navbar(), _main()],
                header={"height": 52},
                navbar={"width": 180, "breakpoint": "xs"},
                padding="md",
            ),
        ],
    )


def listen(app: Dash, services: Services) -> None:
    """Register what happens in the frame."""
    _listen_in_browser(app)

    @app.callback(
        Output(_PAGE, "children"),
        Output(_NAVIGATION, "children"),
        Output(_WHO, "children"),
        Output(_TITLE, "data"),
        Input(ADDRESS, "pathname"),
        Input(SESSION, "data"),
        State(ADDRESS, "search"),
    )
    def turn(path: str | None, _session: str | None, query: str | None) -> Any:
        """Show the page of an address to whoever visits."""
        who = visitor(services)
        if who is not None:
            _renew_csrf(services, who)
        place = unquote(path or "/")
        shown = router.show(services, who, place, query or "")
        return shown, _links(who, place), _who(who), router.title(place)

    @app.callback(
        Output(SESSION, "data", allow_duplicate=True),
        Input(_OUT, "n_clicks"),
        prevent_initial_call=True,
    )
    def log_out(clicks: int | None) -> Any:
        """End the session."""
        if clicks:
            _end(services)
        return secrets.token_hex(4)


def _listen_in_browser(app: Dash) -> None:
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("foreswap", "look"),
        Output(_LIVE, "data"),
        Output(_AWAY, "style"),
        Input(_TICKS, "n_intervals"),
        State(ADDRESS, "pathname"),
        State(_LIVE, "data"),
        State(_TITLE, "data"),
        prevent_initial_call=True,
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("foreswap", "scheme"),
        Output(_THEME, "forceColorScheme"),
        Input(_DARK, "checked"),
    )


def _header() -> Component:
    return dmc.AppShellHeader(
        [
            dmc.Group(
                [
                    dmc.Anchor(
                        "foreswap", href="/", fw=700, size="lg", c="inherit", underline="never"
                    ),
                    dmc.Group(
                        [
                            dmc.Switch(id=_DARK, label="Dark", persistence=True, checked=False),
                            html.Div(id=_WHO),
                        ]
                    ),
                ],
                justify="space-between",
                px="md",
                h="100%",
            ),
        ]
    )


def _banner() -> Component:
    away = dmc.Alert(
        "What you change now is not kept. This goes away by itself as soon as the service is back.",
        title="The service does not answer",
        color="red",
        variant="filled",
    )
    return html.Div(away, id=_AWAY, className="away", role="alert", style={"display": "none"})


def _navbar() -> Component:
    return dmc.AppShellNavbar(html.Div(id=_NAVIGATION), **{"aria-label": "Pages"})


def _main() -> Component:
    loading = dmc.Text("Loading …", c="dimmed")
    return dmc.AppShellMain(html.Div(loading, id=_PAGE), id="content")


def _links(who: Principal | None, path: str) -> Component:
    if who is None or who.must_change_password:
        return None
    offered = router.offered(who, path)
    around = [address for _, address in offered if f"{path}/".startswith(address.rstrip("/") + "/")]
    here = max(around, key=len, default="")
    return [
        dmc.NavLink(label=label, href=address, active=address == here, variant="filled")
        for label, address in offered
    ]


def _who(who: Principal | None) -> Component:
    if who is None:
        return html.Div(id=_OUT, hidden=True)
    return dmc.Group(
        [
            dmc.Anchor(who.name, href="/password", c="inherit", underline="always"),
            dmc.Text(who.role.value, size="sm", c="dimmed"),
            dmc.Button("Log out", id=_OUT, variant="default", size="compact-sm"),
        ],
        gap="xs",
    )


def _renew_csrf(services: Services, who: Principal) -> None:
    """Give the token to a browser that has the session and not the token."""
    if request.headers.get(cookies.CSRF_HEADER) == who.csrf_token:
        return

    def give(response: Response) -> Response:
        give_csrf(response, who.csrf_token, secure=request.is_secure)
        return response

    after_this_request(give)


def _end(services: Services) -> None:
    who = require_visitor(services)
    with services.store.begin() as tx:
        sessions.end(tx, who, everywhere=False, now=services.now())

    def forget(response: Response) -> Response:
        cookies.take_back(response, services.security)
        return response

    after_this_request(forget)
