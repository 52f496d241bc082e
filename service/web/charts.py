"""Charts of how something went and where it goes, by the clock of whoever looks.

A figure travels with its instants in UTC; the browser puts them into its own zone before it is
drawn (``foreswap.localFigure``), since plotly knows no zones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, dcc, html
from plotly.subplots import make_subplots

from service.web.course import Course, Fan
from service.web.site import Component

HEIGHT_PX: Final = 230
"""Of one resource."""

_GRID: Final = "rgba(128,128,128,0.3)"
_AHEAD: Final = "rgba(28,126,214,0.25)"
_AHEAD_LINE: Final = "#1c7ed6"
_PAST: Final = "rgba(134,142,150,0.35)"
_PAST_LINE: Final = "#868e96"
_OBSERVED: Final = ("#e8590c", "#2f9e44")
_LIMIT: Final = "#e03131"


def chart(name: str, figure: dict[str, Any], label: str, *, nothing: str) -> Component:
    """Return a chart and the figure it is drawn from, which ``listen_to_chart`` joins.

    Parameters
    ----------
    label
        What it shows, for those who do not see it.
    nothing
        Told as long as there is nothing to draw.
    """
    graph = dcc.Graph(
        id=name,
        config=buttons(name),
        style={
            "height": figure["layout"]["height"],
            "display": "block" if figure["data"] else "none",
        },
        responsive=True,
    )
    named: dict[str, Any] = {"role": "figure", "aria-label": label}
    told = html.Div(nothing, id=_nothing(name), hidden=bool(figure["data"]))
    return html.Div([dcc.Store(id=source_of(name), data=figure), told, graph], **named)


def buttons(name: str) -> Any:
    """Return what can be done with a chart: looked at more closely, and saved as a picture."""
    return {
        "displaylogo": False,
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
        # Nothing leaves the service: the first would upload the chart to somebody's cloud.
        "modeBarButtonsToRemove": ["sendChartToCloud", "select2d", "lasso2d", "autoScale2d"],
    }


def source_of(name: str) -> str:
    """Return the id of the store that holds a chart's figure in UTC."""
    return f"{name}-utc"


def listen_to_chart(app: Dash, name: str) -> None:
    """Draw a chart whenever its figure changes."""
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("foreswap", "localFigure"),
        Output(name, "figure"),
        Output(name, "style"),
        Output(_nothing(name), "hidden"),
        Input(source_of(name), "data"),
    )


def _nothing(name: str) -> str:
    return f"{name}-nothing"


def course_figure(courses: Sequence[Course]) -> dict[str, Any]:
    """Return a figure with the course of each resource below the other, on one axis of time."""
    rows = max(1, len(courses))
    figure = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for i, course in enumerate(courses, start=1):
        for trace in _traces(course, first=i == 1):
            figure.add_trace(trace, row=i, col=1)
        unit = course.unit
        title = {"text": f"{unit.name}, {unit.unit}", "standoff": 8}
        figure.update_yaxes(
            title=title, rangemode="tozero", gridcolor=_GRID, automargin=True, row=i, col=1
        )
    figure.update_xaxes(gridcolor=_GRID)
    figure.update_layout(
        height=HEIGHT_PX * rows + 90,
        margin={"l": 60, "r": 10, "t": 60, "b": 30},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="x unified",
        legend={"orientation": "h", "yref": "container", "y": 0.99, "yanchor": "top", "x": 0},
        uirevision="kept",
    )
    told: dict[str, Any] = figure.to_plotly_json()
    # The template says what plotly does anyway, and is most of what would travel.
    told["layout"].pop("template", None)
    return told


def _traces(course: Course, *, first: bool) -> list[go.Scatter]:
    traces = _earlier_traces(course.earlier, first) if course.earlier else []
    if course.ahead is not None:
        traces += _ahead_traces(course.ahead, first)
    for (name, (instants, values)), color in zip(course.observed.items(), _OBSERVED, strict=False):
        traces.append(_line(name, instants, values, color, first, width=1.8))
    if course.limit is not None:
        instants = _span(course)
        limit = _line(course.limit_name, instants, [course.limit] * 2, _LIMIT, first, dash="dot")
        traces.append(limit)
    return traces


def _earlier_traces(fans: Sequence[Fan], first: bool) -> list[go.Scatter]:
    """Return earlier bands as one shape each, with gaps between, and their medians."""
    band_x: list[datetime | None] = []
    band_y: list[float | None] = []
    middle_x: list[datetime | None] = []
    middle_y: list[float | None] = []
    for fan in fans:
        band_x += [*fan.instants, *reversed(fan.instants), None]
        band_y += [*fan.lines["p95"], *reversed(fan.lines["p5"]), None]
        middle_x += [*fan.instants, None]
        middle_y += [*fan.lines["p50"], None]
    band = go.Scatter(
        x=_texts(band_x),
        y=band_y,
        fill="toself",
        fillcolor=_PAST,
        line={"width": 0},
        name="earlier p5–p95",
        legendgroup="earlier",
        showlegend=first,
        hoverinfo="skip",
        mode="lines",
    )
    median = _line("earlier median", middle_x, middle_y, _PAST_LINE, first, dash="dot")
    return [band, median]


def _ahead_traces(fan: Fan, first: bool) -> list[go.Scatter]:
    traces = []
    for low, high, name in (("p5", "p95", "p5–p95"), ("p25", "p75", "p25–p75")):
        traces.append(
            go.Scatter(
                x=_texts([*fan.instants, *reversed(fan.instants)]),
                y=[*fan.lines[high], *reversed(fan.lines[low])],
                fill="toself",
                fillcolor=_AHEAD,
                line={"width": 0},
                name=f"next hour {name}",
                legendgroup=name,
                showlegend=first,
                hoverinfo="skip",
                mode="lines",
            )
        )
    traces.append(_line("next hour p95", fan.instants, fan.lines["p95"], _AHEAD_LINE, False, 0.8))
    traces.append(_line("next hour p5", fan.instants, fan.lines["p5"], _AHEAD_LINE, False, 0.8))
    traces.append(
        _line("next hour median", fan.instants, fan.lines["p50"], _AHEAD_LINE, first, 2.2)
    )
    return traces


def _line(
    name: str,
    instants: Sequence[datetime | None],
    values: Sequence[float | None],
    color: str,
    shown: bool,
    width: float = 1.2,
    *,
    dash: str = "solid",
) -> go.Scatter:
    return go.Scatter(
        x=_texts(instants),
        y=list(values),
        mode="lines",
        line={"color": color, "width": width, "dash": dash},
        name=name,
        legendgroup=name,
        showlegend=shown,
        hovertemplate="%{y:.3~f}",
    )


def _span(course: Course) -> list[datetime]:
    instants = [each for line in course.observed.values() for each in line[0]]
    instants += course.ahead.instants if course.ahead is not None else []
    return [min(instants), max(instants)]


def _texts(instants: Sequence[datetime | None]) -> list[str | None]:
    return [None if at is None else at.isoformat() for at in instants]
