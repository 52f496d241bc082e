"""Connecting a cluster: how it is called, and how it is seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, html, no_update

from service.api.services import Services
from service.errors import WrongStateError
from service.inventory.clusters import put_cluster
from service.store.errors import ConflictError
from service.web.cluster_form import DRIVER_KIND, settings_typed
from service.web.door import require
from service.web.errors import notice
from service.web.fields import every_field, field_id, placed, typed
from service.web.pages import cluster_fields
from service.web.pages.cluster_fields import DRIVER, FORM
from service.web.parts import heading
from service.web.site import ADDRESS, Component, Page, Visit
from solver.domain.errors import ForeswapError, InvalidInputError

_ID: Final = "id"
_CONNECT: Final = "connect-button"
_WRONG: Final = "connect-wrong"


def show(_services: Services, _visit: Visit) -> Component:
    """Return the form."""
    cluster_id = dmc.TextInput(
        id=field_id(FORM, _ID),
        label="Id",
        description="in addresses and commands, for good: prod-1",
    )
    return [
        heading("Connect a cluster"),
        dmc.Text("Nothing is moved: plans of a new cluster are recommendations.", mb="md"),
        dmc.Stack([cluster_id, *cluster_fields.fields({}, edits=True)], gap="sm", maw=480),
        dmc.Group([dmc.Button("Connect", id=_CONNECT), html.Div(id=_WRONG, role="alert")], mt="md"),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    cluster_fields.listen(app)

    @app.callback(
        Output(ADDRESS, "pathname", allow_duplicate=True),
        Output(every_field(FORM), "error", allow_duplicate=True),
        Output(_WRONG, "children"),
        Input(_CONNECT, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(DRIVER, "value"),
        prevent_initial_call=True,
    )
    def connect(clicks: int | None, ids: list[Any], values: list[Any], kind: str) -> Any:
        """Make the cluster, and lead to its settings, which say what is next."""
        if not clicks:
            return no_update, [no_update] * len(ids), no_update
        try:
            cluster_id = _made(services, {**typed(ids, values), DRIVER_KIND: kind})
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return no_update, beside, apart
        notice("Connected", f"{cluster_id} is known to the service.")
        return f"/clusters/{quote(cluster_id, safe='')}/settings", [""] * len(ids), ""


def _made(services: Services, by_path: Mapping[str, Any]) -> str:
    cluster_id = str(by_path.get(_ID) or "")
    principal = require(services, "clusters.put", cluster_id or None)
    if not cluster_id:
        raise InvalidInputError("expected an id, got nothing", path=_ID)
    settings = settings_typed({"name": cluster_id, **_named(by_path)})
    try:
        with services.store.begin() as tx:
            put_cluster(
                tx, principal, cluster_id, settings, expected_revision=0, now=services.now()
            )
    except ConflictError as error:
        raise InvalidInputError(
            f"expected another id: there is a cluster {cluster_id!r}", path=_ID
        ) from error
    except WrongStateError as error:
        raise InvalidInputError(str(error), path=_ID) from error
    return cluster_id


def _named(by_path: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed; a cluster without a name is called by its id."""
    return {path: value for path, value in by_path.items() if path != "name" or value}


PAGE: Final = Page(
    path="/clusters/new",
    title="Connect a cluster",
    operation="clusters.put",
    label="",
    show=show,
    listen=listen,
)
