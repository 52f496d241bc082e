"""The fields of a cluster's settings, for one that stands and for one to be connected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import available_timezones

import dash_mantine_components as dmc
from dash import Dash, Input, Output, html
from dash.exceptions import PreventUpdate

from service.inventory.policies import DRIVER_FIELDS
from service.web.cluster_form import DRIVER_KIND, DRIVERS
from service.web.fields import field_id
from service.web.site import Component

FORM: Final = "cluster"
DRIVER: Final = "cluster-driver"
"""The field of the driver's kind: apart from the others, since they depend on it."""

_OF_DRIVER: Final = {
    "hosts_file": ("Hosts file", "on the machine of the service: how hosts are connected"),
    "seed": ("Seed", "what chances are drawn from; empty for any"),
    "speed": ("Speed", "times as fast as life; empty for 1"),
}


def fields(known: Mapping[str, Any], edits: bool) -> list[Component]:
    """Return the fields.

    Parameters
    ----------
    known
        What stands in them, by path.
    """
    return [
        dmc.TextInput(
            id=field_id(FORM, "name"),
            label="Name",
            description="for people",
            value=known.get("name", ""),
            readOnly=not edits,
        ),
        _time_zone(str(known.get("time_zone", "UTC")), edits),
        dmc.Select(
            id=DRIVER,
            label="Driver",
            description="how it is seen and acted on",
            data=[{"value": kind, "label": words} for kind, words in DRIVERS.items()],
            value=known.get(DRIVER_KIND, "libvirt"),
            allowDeselect=False,
            readOnly=not edits,
        ),
        _of_driver(dmc.TextInput, "hosts_file", known, edits),
        _of_driver(dmc.NumberInput, "seed", known, edits),
        _of_driver(dmc.NumberInput, "speed", known, edits),
    ]


def listen(app: Dash) -> None:
    """Show the fields of the driver that is chosen, and no others."""
    names = list(_OF_DRIVER)

    @app.callback(
        *(Output(_around(name), "hidden") for name in names),
        Input(DRIVER, "value"),
    )
    def choose(kind: str | None) -> Any:
        """Show what the driver may be told."""
        if kind not in DRIVER_FIELDS:
            raise PreventUpdate
        return tuple(name not in DRIVER_FIELDS[kind] for name in names)


def _around(name: str) -> str:
    """Return the id of what is shown or hidden with a field."""
    return f"cluster-of-{name}"


def _time_zone(value: str, edits: bool) -> Component:
    return dmc.Select(
        id=field_id(FORM, "time_zone"),
        label="Time zone",
        description="its calendar is meant where a schedule names a time of day",
        data=sorted({*available_timezones(), value}),
        value=value,
        searchable=True,
        limit=50,
        allowDeselect=False,
        nothingFoundMessage="No such time zone",
        readOnly=not edits,
    )


def _of_driver(
    make: Callable[..., Component], name: str, known: Mapping[str, Any], edits: bool
) -> Component:
    """Return a field that only some drivers have; ``make`` is what it is typed into."""
    label, description = _OF_DRIVER[name]
    field = make(
        id=field_id(FORM, f"driver.{name}"),
        label=label,
        description=description,
        value=known.get(f"driver.{name}", ""),
        readOnly=not edits,
    )
    return html.Div(field, id=_around(name), hidden=True)
