"""Parts that several pages show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import dash_mantine_components as dmc
from dash import html

from service.web.site import Component


def heading(text: str, *beside: Component) -> Component:
    """Return the heading of a page, with what stands beside it."""
    return dmc.Group(
        [dmc.Title(text, order=1, size="h3"), *beside], justify="space-between", mb="sm"
    )


def subheading(text: str, *beside: Component) -> Component:
    """Return the heading of a part of a page."""
    return dmc.Group(
        [dmc.Title(text, order=2, size="h5"), *beside], justify="space-between", mt="md", mb="xs"
    )


def empty(title: str, message: str, *below: Component) -> Component:
    """Return what is shown where there is nothing to show, and why."""
    return dmc.Stack(
        [dmc.Title(title, order=1, size="h3"), dmc.Text(message), *below],
        align="center",
        mt="15vh",
        gap="sm",
    )


def instant(at: datetime) -> Component:
    """Return an instant, which the browser shows by its viewer's clock."""
    return html.Time(f"{at:%Y-%m-%d %H:%M} UTC", dateTime=at.isoformat())


def clock(at: datetime) -> Component:
    """Return an instant of today or so, of which the browser shows the time of day alone."""
    return html.Time(f"{at:%H:%M} UTC", dateTime=at.isoformat(), className="clock")


def figure(label: str, value: Component) -> Component:
    """Return one number with what it is."""
    return html.Div(
        [
            dmc.Text(label, size="sm", c="dimmed"),
            dmc.Text(value, size="lg", fw=600),
        ]
    )


def in_the_way(message: str, *, title: str = "Not saved") -> Component:
    """Return why a form was not saved; without a message, that single fields say so."""
    if not message:
        return dmc.Text("Some fields need a look.", c="var(--mantine-color-error)", mt="xs")
    return dmc.Alert(message, title=title, color="red", variant="default", mt="sm")


def whole(value: Any) -> Any:
    """Return a number of the browser, which knows no whole ones; the rest is judged elsewhere."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def removal(title: str, hint: str, *, word: str, typed_id: str, button_id: str) -> Component:
    """Return what removes something for good, once its name was typed."""
    return dmc.Fieldset(
        [
            dmc.Text(hint, mb="xs"),
            dmc.Group(
                [
                    dmc.TextInput(id=typed_id, label=f"Type {word} to confirm", w=260),
                    dmc.Button(title, id=button_id, color="red", mt=25),
                ],
                align="flex-start",
            ),
        ],
        legend=title,
        mt="xl",
        maw=640,
    )


def shown_once(title: str, secret: str) -> Component:
    """Return a secret, to be copied now."""
    told = dmc.Alert(
        dmc.Group(
            [
                dmc.Code(secret, fz="md"),
                dmc.CopyButton(
                    value=secret, children="Copy", copiedChildren="Copied", variant="default"
                ),
            ]
        ),
        title=f"{title} It is shown this once.",
        color="blue",
        variant="outline",
        my="md",
    )
    return html.Div(told, role="status")


def small_table(
    name: str, head: Sequence[str], rows: Iterable[Iterable[Component]], **more: Any
) -> Component:
    """Return a few rows that need neither sorting nor a file; it scrolls by itself where it must.

    Parameters
    ----------
    name
        For those who do not see it.
    more
        Properties of the table itself.
    """
    names = dmc.TableThead(dmc.TableTr([dmc.TableTh(each) for each in head]))
    body = dmc.TableTbody([dmc.TableTr([dmc.TableTd(cell) for cell in row]) for row in rows])
    table = dmc.Table([names, body], striped=True, **more)
    # Focus, since whoever has no mouse scrolls by keys.
    named: dict[str, Any] = {"aria-label": name}
    return html.Div(table, className="wide", tabIndex=0, role="region", **named)
