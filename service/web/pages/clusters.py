"""The clusters there are; where there is none yet, how the first one is connected."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

import dash_mantine_components as dmc
from dash import Dash, dcc

from service.api.services import Services
from service.inventory.clusters import page_of_clusters
from service.security.principal import Role
from service.store.base import Item
from service.web.parts import empty, heading
from service.web.site import Component, Page, Visit

_MOST: Final = 200


def show(services: Services, visit: Visit) -> Component:
    """Return the clusters within reach."""
    with services.store.begin(read_only=True) as tx:
        found = page_of_clusters(tx, visit.principal, after="", limit=_MOST)
    if not found:
        return _first_run(visit)
    return [heading("Clusters"), dmc.SimpleGrid([_card(item) for item in found], cols=3)]


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
            dmc.Text(_DRIVERS.get(driver, driver), size="sm", c="dimmed"),
        ],
        withBorder=True,
        p="md",
    )


_DRIVERS: Final = {
    "none": "told by documents",
    "simulated": "simulated",
    "libvirt": "hosts by libvirt",
}


def _first_run(visit: Visit) -> Component:
    if visit.principal.role is not Role.ADMIN:
        return empty("No cluster yet", "An admin has to connect one first.")
    return empty(
        "No cluster yet",
        "Make one, then tell what stands in it; the page follows by itself.",
        dmc.Code(_HOW, block=True),
        dcc.Markdown("The [API's documentation](/api/v1/docs) says what a cluster document holds."),
    )


_HOW: Final = """\
curl -X PUT -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '{"name": "My cluster"}' $SERVICE/api/v1/clusters/mine
curl -X PUT -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d @cluster.json $SERVICE/api/v1/clusters/mine/snapshot"""

PAGE: Final = Page(
    path="/",
    title="Clusters",
    operation="clusters.list",
    label="Clusters",
    show=show,
    listen=listen,
)
