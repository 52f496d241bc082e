"""What stands around every page: name, navigation, who has logged in, notices, the banner."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html
from flask import Response, after_this_request, has_request_context, request

from service.api import cookies
from service.api.services import Services
from service.security import sessions
from service.security.principal import Principal
from service.web import router
from service.web.door import require_visitor, visitor
from service.web.errors import NOTICES, SESSION, sentence
from service.web.marks import mark_at
from service.web.pages.login import CSRF_COOKIE, give_csrf
from service.web.parts import empty
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
_FRAME: Final = "/_dash-layout"
"""Where the browser asks for the frame."""

LOOK_EVERY_MS: Final = 400
"""How often a page asks whether something has changed: so that it shows it well within a second."""

# Without these, axe finds too little contrast in Mantine's own choices.
THEME: Final = {
    "primaryColor": "blue",
    "primaryShade": {"light": 8, "dark": 8},
    "autoContrast": True,
    "fontFamily": "system-ui, sans-serif",
    "components": {"Notification": {"defaultProps": {"closeButtonProps": {"aria-label": "Close"}}}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turned:
    """What an address shows to whoever visits.

    Parameters
    ----------
    path
        As the browser writes it; ``None`` if it told none, and asks again when it has the frame.
    mark
        Of what is shown; read before it, so that nothing that changes meanwhile is missed.
    """

    page: Component
    path: str | None = None
    links: Component = None
    who: Component = None
    title: str = ""
    mark: str = ""


def frame(services: Services) -> Component:
    """Return the frame, with the page of the address that asks for it already in it."""
    opened = _opened(services)
    return dmc.MantineProvider(
        id=_THEME,
        theme=THEME,
        forceColorScheme="light",
        children=[
            dcc.Location(id=ADDRESS, refresh="callback-nav", pathname=opened.path),
            dcc.Store(id=SESSION),
            dcc.Store(id=_LIVE, data=opened.mark),
            dcc.Store(id=_TITLE, data=opened.title),
            dcc.Interval(id=_TICKS, interval=LOOK_EVERY_MS),
            dmc.NotificationContainer(id=NOTICES, position="bottom-right"),
            _banner(),
            html.A("To the content", href="#content", className="skip"),
            dmc.AppShell(
                [_header(opened.who), _navbar(opened.links), _main(opened.page)],
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
        # The first page comes with the frame.
        prevent_initial_call=True,
    )
    def turn(path: str | None, _session: str | None, query: str | None) -> Any:
        """Show the page of an address to whoever visits."""
        turned = _turned(services, path or "/", query or "")
        return turned.page, turned.links, turned.who, turned.title

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


def _opened(services: Services) -> _Turned:
    """Return what the address shows whose document asks for the frame."""
    loading = _Turned(page=dmc.Text("Loading …", c="dimmed"))
    asking = urlsplit((has_request_context() and request.referrer) or "")
    # Some browsers tell no path to anybody, and then it is empty or the root's.
    if asking.path in ("", "/") or request.path != _FRAME:
        return loading
    try:
        query = f"?{asking.query}" if asking.query else ""
        return _turned(services, asking.path, query)
    except Exception as error:  # noqa: BLE001  Without the frame there is nothing.
        return replace(loading, page=empty("Cannot be shown now", sentence(error)))


def _turned(services: Services, path: str, query: str) -> _Turned:
    who = visitor(services)
    if who is not None:
        _renew_csrf(who)
    place = unquote(path)
    return _Turned(
        path=path,
        mark=mark_at(services, who, path),
        page=router.show(services, who, place, query),
        links=_links(who, place),
        who=_who(who),
        title=router.title(place),
    )


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


def _header(who: Component) -> Component:
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
                            html.Div(who, id=_WHO),
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


def _navbar(links: Component) -> Component:
    return dmc.AppShellNavbar(html.Div(links, id=_NAVIGATION), **{"aria-label": "Pages"})


def _main(page: Component) -> Component:
    return dmc.AppShellMain(html.Div(page, id=_PAGE), id="content")


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


def _renew_csrf(who: Principal) -> None:
    """Give the token to a browser that has the session and not the token."""
    if request.cookies.get(CSRF_COOKIE) == who.csrf_token:
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
