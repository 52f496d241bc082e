"""Moves of a plan on a time line: two lines for each host, what leaves it and what arrives.

Moves of a host at the same time stand below one another, so that how many there are at once is
seen at a glance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

Row = Mapping[str, Any]

MOST_DRAWN: Final = 500
"""Moves on the time line; more could not be told apart."""
LANE_PX: Final = 18
_AROUND_PX: Final = 70

COLORS: Final = {
    "to be done": "#1971c2",
    "under way": "#b35900",
    "done": "#2b8a3e",
    "left out": "#5c636a",
    "not done": "#c92a2a",
}
"""What a bar's colour says; white text on each keeps WCAG AA's contrast."""

_KINDS: Final = {
    "done": "done",
    "skipped": "left out",
    "failed": "not done",
    "aborted": "not done",
    "adrift": "not done",
    "starting": "under way",
    "running": "under way",
    "cancelling": "under way",
    "post copy": "under way",
    "verifying": "under way",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One end of a move.

    Parameters
    ----------
    row
        Position among the rows.
    lane
        Line it stands on, from the top.
    """

    row: int
    lane: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """Where everything stands.

    Parameters
    ----------
    names
        What stands before the first line of a host's moves, by line.
    """

    bars: tuple[Bar, ...]
    names: Mapping[int, str]
    num_lanes: int


def kind_of(state: str) -> str:
    """Return what a bar's colour says of a step's state."""
    return _KINDS.get(state, "to be done")


def kinds_shown(rows: Iterable[Row]) -> list[str]:
    """Return the kinds of moves there are, in the order of their colours."""
    found = {kind_of(row["state"]) for row in rows}
    return [kind for kind in COLORS if kind in found]


def lanes(rows: Sequence[Row]) -> Lanes:
    """Return lines for what leaves and what arrives, host by host in the order of their names."""
    ends: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        if row["source"]:
            ends[row["source"], "out"].append(i)
        ends[row["destination"], "in"].append(i)
    bars: list[Bar] = []
    names: dict[int, str] = {}
    top = 0
    for host, way in sorted(ends, key=lambda end: (end[0], end[1] == "in")):
        names[top] = f"{host} {way}"
        placed = _side_by_side(rows, ends[host, way])
        bars += [Bar(row=i, lane=top + lane) for i, lane in placed.items()]
        top += 1 + max(placed.values())
    return Lanes(bars=tuple(bars), names=names, num_lanes=top)


def _side_by_side(rows: Sequence[Row], which: Sequence[int]) -> dict[int, int]:
    """Return a line for each of some moves, none over another in time."""
    free_at: list[float] = []
    placed = {}
    for i in sorted(which, key=lambda i: (rows[i]["start_s"], i)):
        begin, end = rows[i]["start_s"], rows[i]["start_s"] + rows[i]["duration_s"]
        lane = next((n for n, at in enumerate(free_at) if at <= begin), len(free_at))
        free_at[lane : lane + 1] = [end]
        placed[i] = lane
    return placed


def time_line(rows: Sequence[Row]) -> go.Figure:
    """Return the moves as bars from begin to end."""
    rows = rows[:MOST_DRAWN]
    found = lanes(rows)
    figure = go.Figure(_bars(rows, found))
    figure.update_layout(
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#868e96", "activecolor": "#1971c2"},
        barmode="overlay",
        bargap=0.1,
        xaxis={
            "title": {"text": "seconds from the start", "standoff": 4},
            "side": "top",
            "gridcolor": "rgba(128,128,128,0.3)",
            "rangemode": "tozero",
        },
        yaxis={
            "automargin": True,
            "autorange": False,
            "range": [found.num_lanes - 0.5, -0.5],
            "tickvals": list(found.names),
            "ticktext": list(found.names.values()),
            "gridcolor": "rgba(128,128,128,0.3)",
        },
        showlegend=False,
    )
    return figure


def colors(rows: Sequence[Row]) -> list[str]:
    """Return the colour of each bar, in the order of :func:`lanes`."""
    drawn = rows[:MOST_DRAWN]
    return [COLORS[kind_of(drawn[bar.row]["state"])] for bar in lanes(drawn).bars]


def height_px(rows: Sequence[Row]) -> int:
    """Return how high the time line is."""
    return _AROUND_PX + LANE_PX * max(3, lanes(rows[:MOST_DRAWN]).num_lanes)


def _bars(rows: Sequence[Row], found: Lanes) -> go.Bar:
    of_bars = [rows[bar.row] for bar in found.bars]
    return go.Bar(
        base=[row["start_s"] for row in of_bars],
        x=[row["duration_s"] for row in of_bars],
        y=[bar.lane for bar in found.bars],
        text=[row["vm"] for row in of_bars],
        customdata=[
            [row["source"] or "nowhere", row["destination"], row["bandwidth"], row["step"]]
            for row in of_bars
        ],
        hovertemplate="%{text} from %{customdata[0]} to %{customdata[1]}<br>begins at %{base:.1f} s"
        ", takes %{x:.1f} s, %{customdata[2]:,} MiB/s<extra></extra>",
        orientation="h",
        marker={"color": colors(rows), "line": {"color": "white", "width": 1}},
        textposition="inside",
        insidetextanchor="start",
        textfont={"color": "white"},
    )
