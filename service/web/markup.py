"""Writes plain elements as HTML, for what a page has hundreds of.

Each of Dash's components listens to every change of the page, so that a thousand of them take a
second to draw. What is written here is put into the page in one piece by ``assets/markup.js``, and
drawn anew only where it differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

from dash import ClientsideFunction, Dash, Input, State, dcc, html
from dash.development.base_component import Component as Element

from service.web.site import Component

_PLAIN: Final = "dash_html_components"
_NAMES: Final = {"className": "class", "dateTime": "datetime"}


def drawn(name: str, component: Component) -> Component:
    """Return a place of the page that shows plain elements.

    A callback that changes them has ``Output(name, "data")`` and returns what is ``written``.
    """
    return [html.Div(id=_place(name)), dcc.Store(id=name, data=written(component))]


def listen_to(app: Dash, name: str) -> None:
    """Let what is drawn follow what is written."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("markup", "draw"), Input(name, "data"), State(_place(name), "id")
    )


def written(component: Component) -> str:
    """Return elements as HTML; text in them is escaped, styles are named as style sheets do.

    Raises
    ------
    TypeError
        If a component is not one of ``dash.html``.
    """
    if component is None:
        return ""
    if isinstance(component, (list, tuple)):
        return "".join(map(written, component))
    if not isinstance(component, Element):
        return escape(str(component))
    told: Mapping[str, Any] = component.to_plotly_json()  # type: ignore[no-untyped-call]
    if told["namespace"] != _PLAIN:
        raise TypeError(f"expected an element of dash.html, got {told['namespace']}.{told['type']}")
    tag, props = told["type"].lower(), dict(told["props"])
    inside = written(props.pop("children", None))
    return f"<{tag}{''.join(map(_attribute, props.items()))}>{inside}</{tag}>"


def _attribute(prop: tuple[str, Any]) -> str:
    name, value = prop
    if value is None:
        return ""
    if name == "style":
        value = ";".join(f"{field}:{of}" for field, of in value.items())
    return f' {_NAMES.get(name, name)}="{escape(str(value))}"'


def _place(name: str) -> str:
    return f"{name}-drawn"
