"""The answer to a what-if question: before and after side by side, moves, what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dash_ag_grid as dag
import dash_mantine_components as dmc

from service.store.base import Job, JobStage
from service.web import whatif_words as words
from service.web.parts import small_table
from service.web.site import Component
from service.web.tables import COLUMN
from solver.domain.weights import to_host_s

MOVES: Final = "whatif-moves"
_MOST_BLOCKED: Final = 50

_RUNNING: Final = {
    JobStage.QUEUED: "Waiting for a free worker …",
    JobStage.RUNNING: "Searching …",
    JobStage.CANCELLING: "Ending …",
}


def progress(job: Job) -> Component:
    """Return how far a question is that is not answered yet."""
    told = job.progress or {}
    reached = ""
    if told.get("best") is not None:
        reached = f" Best so far: {to_host_s(told['best']):,.1f} host-seconds, by {told['engine']}."
    return dmc.Group([dmc.Loader(size="sm"), dmc.Text(f"{_RUNNING[job.stage]}{reached}")])


def failed(job: Job) -> Component:
    """Return why a question was not answered."""
    if job.stage is JobStage.CANCELLED:
        return dmc.Text("Cancelled before anything was found.", c="dimmed")
    problem = job.problem or {}
    where = [f"{each['path']}: {each['message']}" for each in problem.get("errors", ())]
    return dmc.Alert(
        "; ".join(where) or str(problem.get("detail", "")),
        title="There is no answer",
        color="red",
        variant="default",
    )


def answer(found: Mapping[str, Any], *, cancelled: bool = False) -> list[Component]:
    """Return the answer."""
    sentences = [
        words.takes(found),
        words.survives(found),
        words.fits(found),
        words.needed(found),
        "The search was cut short." if cancelled else "",
    ]
    return [
        _verdict(found),
        dmc.List([dmc.ListItem(each) for each in sentences if each], mb="md"),
        _table("Now and then", ("", *words.STATES.values()), words.compared(found)),
        _title("What would be left, once moved"),
        _table("What would be left", _LEFT, words.left(found)),
        *_hosts(words.hosts(found)),
        *_moves(words.moves(found)),
        dmc.Text(words.judged_by(found), size="sm", c="dimmed", mt="md"),
    ]


_LEFT: Final = ("", "Usable", "Reserved", "Expected", "Peak", "Left at peak")


def _verdict(found: Mapping[str, Any]) -> Component:
    if found["feasible"]:
        return dmc.Alert(
            "Every VM runs, and nothing hard is broken that is not broken now.",
            title="It can be done",
            color="green",
            variant="default",
            mb="sm",
        )
    blocked = found["blocked_by"]
    more = len(blocked) - _MOST_BLOCKED
    items = [dmc.ListItem(each) for each in blocked[:_MOST_BLOCKED]]
    if more > 0:
        items.append(dmc.ListItem(f"and {more:,} more"))
    return dmc.Alert(
        dmc.List(items, size="sm"), title="In the way", color="red", variant="default", mb="sm"
    )


def _hosts(rows: Sequence[words.Row]) -> list[Component]:
    if not rows:
        return []
    head = ("Host", "Contention now", "Afterwards")
    table = _table("Hosts that change most", head, rows)
    return [_title("Hosts that change most, host-seconds"), table]


def _moves(rows: Sequence[words.Row]) -> list[Component]:
    if not rows:
        return []
    grid = dag.AgGrid(
        id=MOVES,
        rowData=list(rows),
        columnDefs=_COLUMNS,
        defaultColDef=COLUMN,
        getRowId="params.data.id",
        csvExportParams={"fileName": "whatif-moves.csv"},
        dashGridOptions={"animateRows": False, "rowHeight": 34, "headerHeight": 48},
        style={"height": min(420, 60 + 60 * len(rows))},
    )
    return [_title("What it would take"), grid]


_RIGHT: Final = {"type": "rightAligned"}
_TALL: Final = {"wrapText": True, "autoHeight": True}
_WRAPPED: Final = {"lineHeight": "1.4", "paddingTop": "6px", "paddingBottom": "6px"}
_COLUMNS: Final = [
    {"field": "vm", "headerName": "VM"},
    {"field": "kind", "headerName": "What", "flex": 7},
    {"field": "source", "headerName": "From", "flex": 8},
    {"field": "destination", "headerName": "To", "flex": 8},
    {"field": "begin_s", "headerName": "Start s", "flex": 7, **_RIGHT},
    {"field": "takes_s", "headerName": "Takes s", "flex": 7, **_RIGHT},
    {"field": "why", "headerName": "Why", "flex": 22, "cellStyle": _WRAPPED, **_TALL},
]


def _title(text: str) -> Component:
    return dmc.Title(text, order=3, size="h5", mt="md", mb="xs")


def _table(name: str, head: Sequence[str], rows: Sequence[words.Row]) -> Component:
    return small_table(name, head, (row.values() for row in rows))
