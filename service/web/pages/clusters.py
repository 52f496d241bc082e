"""The clusters there are; where there is none yet, how the first one is connected."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, dcc

from service.api.services import Services
from service.inventory.clusters import NEW, page_of_clusters
from service.store.base import Item
from service.web.cluster_form import DRIVERS
from service.web.door import may
from service.web.parts import empty, heading
from service.web.site import Component, Page, Visit

_MOST: Final = 200


def show(services: Services, visit: Visit) -> Component:
    """Return the clusters within reach."""
    with services.store.begin(read_only=True) as tx:
        found = page_of_clusters(tx, visit.principal, after="", limit=_MOST)
    if not found:
        return _first_run(visit)
    cards = dmc.SimpleGrid([_card(item) for item in found], cols={"base": 1, "sm": 2, "lg": 3})
    return [heading("Clusters", *_connecting(visit)), cards]


def listen(_app: Dash, _services: Services) -> None:
    """Nothing happens on this page."""


def _card(item: Item) -> Component:
    driver = str(item.document.get("driver", {}).get("kind", "none"))
    return dmc.Paper(
        [
            dmc.Anchor(
                str(item.document.get("name") or item.id),
                href=f"/clusters/{quote(item.id, safe='')}",
                fw=600,
                underline="always",
            ),
            dmc.Text(DRIVERS.get(driver, driver), size="sm", c="dimmed"),
        ],
        withBorder=True,
        p="md",
    )


def _connecting(visit: Visit) -> list[Component]:
    """Return what leads to the form that connects one, for those who may."""
    if not may(visit.principal, "clusters.put", NEW):
        return []
    return [dcc.Link(dmc.Button("Connect a cluster", tabIndex=-1), href=f"/clusters/{NEW}")]


def _first_run(visit: Visit) -> Component:
    connecting = _connecting(visit)
    if not connecting:
        return empty("No cluster yet", "An admin has to connect one first.")
    return empty(
        "No cluster yet",
        "Connect one: real hosts by libvirt, a simulated one to try things, or one of documents.",
        *connecting,
        dcc.Markdown("By program: the [API's documentation](/api/v1/docs)."),
    )


PAGE: Final = Page(
    path="/",
    title="Clusters",
    operation="clusters.list",
    label="Clusters",
    show=show,
    listen=listen,
)
