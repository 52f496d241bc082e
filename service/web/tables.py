"""Tables that several pages show: sorted by a click, saved as CSV, leading to other pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import Dash, Input, Output, no_update

from service.web.site import Component

ROW_PX: Final = 34
MOST_ROWS_SHOWN: Final = 10
"""A table with more scrolls."""
TIME: Final = {
    "function": "params.value ? d3.timeFormat('%Y-%m-%d %H:%M:%S')(d3.isoParse(params.value)) : ''"
}
"""Formats an instant by the viewer's clock."""
COLUMN: Final = {
    "flex": 10,
    "minWidth": 60,
    "suppressHeaderMenuButton": True,
    "wrapHeaderText": True,
}
"""What every column is that says nothing else."""
NUMBER: Final = {"type": "rightAligned"}
HOST_S: Final = {
    **NUMBER,
    "valueFormatter": {"function": "params.value == null ? '' : d3.format(',.2f')(params.value)"},
}
"""Formats host-seconds, which may be unknown."""


def place(cluster_id: str, noun: str, item_id: str = "") -> str:
    """Return the address of something of a cluster, or what such addresses begin with."""
    return f"/clusters/{quote(cluster_id, safe='')}/{noun}/{quote(item_id, safe='')}"


def link(base: str) -> dict[str, Any]:
    """Return what makes a column's values lead to their pages, below an address."""
    return {"cellRenderer": "Link", "cellRendererParams": {"base": base}}


def table(
    name: str,
    columns: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    *,
    nothing: str,
) -> Component:
    """Return a table whose rows have an ``id``.

    Parameters
    ----------
    nothing
        Shown where there is no row.
    """
    height = 50 + ROW_PX * max(2, min(MOST_ROWS_SHOWN, len(rows)))
    return dag.AgGrid(
        id=name,
        rowData=rows,
        columnDefs=columns,
        defaultColDef=COLUMN,
        getRowId="params.data.id",
        csvExportParams={"fileName": f"{name}.csv"},
        dashGridOptions={
            "animateRows": False,
            "rowHeight": ROW_PX,
            "headerHeight": 44,
            "localeText": {"noRowsToShow": nothing},
        },
        style={"height": height},
    )


def export_button(name: str) -> Component:
    """Return the button that gives a table as a file."""
    return dmc.Button("Export CSV", id=_button(name), variant="default", size="compact-sm")


def listen_to_export(app: Dash, name: str) -> None:
    """Give a table as a file when its button is pressed."""

    @app.callback(
        Output(name, "exportDataAsCsv"), Input(_button(name), "n_clicks"), prevent_initial_call=True
    )
    def export(clicks: int | None) -> Any:
        """Export it."""
        return True if clicks else no_update


def _button(name: str) -> str:
    return f"{name}-export"
