"""The settings of a cluster: name, time zone, driver, what is still to be done, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from service.api.services import Services
from service.inventory.clusters import delete_cluster, get_cluster, put_cluster
from service.inventory.policies import ClusterSettings
from service.security.principal import Principal
from service.store.base import Item
from service.web.cluster_form import DRIVER_KIND, next_steps, settings_typed
from service.web.door import may, require
from service.web.errors import notice
from service.web.fields import every_field, flat, placed, typed
from service.web.pages import cluster_fields
from service.web.pages.cluster_fields import DRIVER, FORM
from service.web.parts import heading, instant, removal
from service.web.site import ADDRESS, Component, Page, Visit
from solver.domain.errors import ForeswapError

_CLUSTER: Final = "settings-cluster"
_REVISION: Final = "settings-revision"
_CHANGED: Final = "settings-changed"
_SAVE: Final = "settings-save"
_WRONG: Final = "settings-wrong"
_SEEN: Final = "settings-seen"
_REMOVE: Final = "settings-remove"
_CONFIRMED: Final = "settings-confirmed"
_LIVE: Final = "live"


def show(services: Services, visit: Visit) -> Component:
    """Return the settings."""
    with services.store.begin(read_only=True) as tx:
        item = get_cluster(tx, visit.cluster_id)
    edits = may(visit.principal, "clusters.put", visit.cluster_id)
    hidden = {} if edits else {"display": "none"}
    known = flat(ClusterSettings.from_document(item.document).to_document())
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Store(id=_REVISION, data=item.revision),
        heading("Settings"),
        html.Div(_seen(services, visit.cluster_id, edits), id=_SEEN),
        dmc.Stack(cluster_fields.fields(known, edits), gap="sm", maw=480),
        dmc.Group(
            [dmc.Button("Save", id=_SAVE, style=hidden), html.Div(id=_WRONG, role="alert")],
            mt="md",
        ),
        html.Div(_changed(item), id=_CHANGED),
        html.Div(
            removal(
                "Remove this cluster",
                "Its policies, rules, schedule, forecasts and models go with it; no VM is touched.",
                word=visit.cluster_id,
                typed_id=_CONFIRMED,
                button_id=_REMOVE,
            ),
            style=hidden,
        ),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_saving(app, services)

    @app.callback(
        Output(_SEEN, "children"),
        Input(_LIVE, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, cluster_id: str) -> Any:
        """Tell once something was seen."""
        principal = require(services, "snapshots.show", cluster_id)
        return _seen(services, cluster_id, may(principal, "clusters.put", cluster_id))

    @app.callback(
        Output(ADDRESS, "pathname", allow_duplicate=True),
        Output(_CONFIRMED, "error"),
        Input(_REMOVE, "n_clicks"),
        State(_CONFIRMED, "value"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def remove(clicks: int | None, word: str | None, cluster_id: str) -> Any:
        """Remove the cluster, once its id was typed."""
        if not clicks:
            return no_update, no_update
        principal = require(services, "clusters.delete", cluster_id)
        if (word or "").strip() != cluster_id:
            return no_update, f"expected {cluster_id}"
        with services.store.begin() as tx:
            delete_cluster(tx, principal, cluster_id, expected_revision=None, now=services.now())
        notice("Removed", f"{cluster_id} is unknown to the service from now on.")
        return "/", None


def _listen_to_saving(app: Dash, services: Services) -> None:
    @app.callback(
        Output(every_field(FORM), "error", allow_duplicate=True),
        Output(_WRONG, "children"),
        Output(_REVISION, "data"),
        Output(_CHANGED, "children"),
        Input(_SAVE, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(DRIVER, "value"),
        State(_REVISION, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def save(
        clicks: int | None,
        ids: list[Any],
        values: list[Any],
        kind: str,
        revision: int,
        cluster_id: str,
    ) -> Any:
        """Change the settings to what was typed."""
        if not clicks:
            return [no_update] * len(ids), no_update, no_update, no_update
        principal = require(services, "clusters.put", cluster_id)
        try:
            item = _saved(
                services, principal, cluster_id, {**typed(ids, values), DRIVER_KIND: kind}, revision
            )
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            return beside, apart, no_update, no_update
        notice("Saved", "The settings are in force.")
        return [""] * len(ids), "", item.revision, _changed(item)


def _saved(
    services: Services,
    principal: Principal,
    cluster_id: str,
    by_path: Mapping[str, Any],
    revision: int,
) -> Item:
    settings = settings_typed(by_path)
    with services.store.begin() as tx:
        return put_cluster(
            tx, principal, cluster_id, settings, expected_revision=revision, now=services.now()
        )


def _changed(item: Item) -> Component:
    at = [" at ", instant(item.changed_at)] if item.changed_at else []
    who = item.changed_by or "the service"
    return dmc.Text(["Changed last by ", who, *at], size="sm", c="dimmed", mt="xs")


def _seen(services: Services, cluster_id: str, edits: bool) -> Component:
    """Return when the cluster was seen last, or what is to be done so that it is."""
    with services.store.begin(read_only=True) as tx:
        observed_at = tx.snapshots.observed_at(cluster_id)
        driver = get_cluster(tx, cluster_id).document.get("driver", {})
    if observed_at is not None:
        return dmc.Text(["Seen last at ", instant(observed_at)], mb="md")
    if not edits:
        return dmc.Text("Nothing was seen of it yet.", mb="md")
    return dmc.Paper(
        [
            dmc.Title("Nothing was seen of it yet", order=2, size="h5"),
            *_steps(cluster_id, str(driver.get("kind", "none"))),
        ],
        withBorder=True,
        p="md",
        mb="md",
    )


def _steps(cluster_id: str, kind: str) -> list[Component]:
    return [
        part
        for why, command in next_steps(cluster_id, kind)
        for part in (dmc.Text(why, mt="xs"), dmc.Code(command, block=True, my="xs"))
    ]


PAGE: Final = Page(
    path="/clusters/<cluster_id>/settings",
    title="Settings",
    operation="snapshots.show",
    label="Settings",
    show=show,
    listen=listen,
)
