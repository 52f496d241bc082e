"""The log of changes, of one cluster or of all: asked, read page by page, taken along as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.security import audit
from service.security.audit import Wanted
from service.security.principal import Principal
from service.store.base import AuditEntry
from service.web.audit_rows import NOTHING, address, asked_by, csv_of, differences, wanted_of
from service.web.door import require
from service.web.errors import notice
from service.web.fields import every_field, field_id, placed
from service.web.parts import heading, instant, small_table
from service.web.site import ADDRESS, Component, Page, Visit
from solver.domain.errors import InvalidInputError

FORM: Final = "audit"
_CLUSTER: Final = "audit-cluster"
_ASKED: Final = "audit-asked"
_TABLE: Final = "audit-table"
_TRAIL: Final = "audit-trail"
_NEXT: Final = "audit-next"
_SHOW: Final = "audit-show"
_OLDER: Final = "audit-older"
_NEWER: Final = "audit-newer"
_EXPORT: Final = "audit-export"
_FILE: Final = "audit-file"
_WRONG: Final = "audit-wrong"
_LIVE: Final = "live"

PER_PAGE: Final = 50
MOST_EXPORTED: Final = 10_000
_AT_ONCE: Final = 1000
_MOST_SHOWN: Final = 6
"""Differences of one entry that are seen at once; the others unfold."""

_FIELDS: Final = {
    "cluster_id": ("Cluster", "any", "text"),
    "actor": ("Who", "user or token/name", "text"),
    "action": ("Action begins with", "plans.", "text"),
    "subject": ("Subject begins with", "vms/web", "text"),
    "since": ("From", "", "datetime-local"),
    "until": ("Until", "", "datetime-local"),
}
_TIMES: Final = ("since", "until")


def show(services: Services, visit: Visit) -> Component:
    """Return the form and the first page of what it asks for."""
    names = [name for name in _FIELDS if name != "cluster_id" or not visit.cluster_id]
    asked = asked_by(visit.query)
    found = _found(services, visit.principal, asked, visit.cluster_id, names, [])
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Store(id=_ASKED, data=asked),
        dcc.Store(id=_TRAIL, data=[]),
        dcc.Store(id=_NEXT, data=found.following),
        dcc.Download(id=_FILE),
        heading(
            "Audit" if visit.cluster_id else "All changes",
            dmc.Button("Export CSV", id=_EXPORT, variant="default"),
        ),
        dmc.SimpleGrid(
            [
                _field(name, asked.get(name, ""), wrong)
                for name, wrong in zip(names, found.beside, strict=True)
            ],
            cols={"base": 2, "md": 3, "xl": len(names)},
            spacing="xs",
        ),
        dmc.Group(
            [dmc.Button("Show", id=_SHOW), html.Div(found.apart, id=_WRONG, role="alert")], my="sm"
        ),
        html.Div(found.table, id=_TABLE),
        dmc.Group(
            [
                dmc.Button("Newer", id=_NEWER, variant="default", disabled=True),
                dmc.Button("Older", id=_OLDER, variant="default", disabled=found.following is None),
            ],
            my="sm",
        ),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_in_browser(app)

    @app.callback(
        Output(_TABLE, "children"),
        Output(_TRAIL, "data"),
        Output(_NEXT, "data"),
        Output(_NEWER, "disabled"),
        Output(_OLDER, "disabled"),
        Output(every_field(FORM), "error"),
        Output(_WRONG, "children"),
        Input(_ASKED, "data"),
        Input(_NEWER, "n_clicks"),
        Input(_OLDER, "n_clicks"),
        Input(_LIVE, "data"),
        State(_TRAIL, "data"),
        State(_NEXT, "data"),
        State(_CLUSTER, "children"),
        State(every_field(FORM), "id"),
        prevent_initial_call=True,
    )
    def turn(
        asked: Mapping[str, Any] | None,
        _newer: object,
        _older: object,
        _live: object,
        trail: list[int] | None,
        following: int | None,
        cluster_id: str | None,
        ids: list[Mapping[str, str]],
    ) -> Any:
        """Show a page of the log; one that was turned to stands still."""
        trail = _turned(ctx.triggered_id, trail or [], following)
        if trail is None:
            return (*(no_update,) * 5, [no_update] * len(ids), no_update)
        principal = require(services, "audit.list", cluster_id or None)
        names = [each["path"] for each in ids]
        found = _found(services, principal, asked or {}, cluster_id or "", names, trail)
        if found.table is None:
            return (*(no_update,) * 5, found.beside, found.apart)
        is_last = found.following is None
        turned = found.table, trail, found.following, not trail, is_last
        return *turned, found.beside, found.apart

    @app.callback(
        Output(_FILE, "data"),
        Input(_EXPORT, "n_clicks"),
        State(_ASKED, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def export(clicks: int | None, asked: Mapping[str, Any] | None, cluster_id: str | None) -> Any:
        """Give what fits the question as a file."""
        if not clicks:
            return no_update
        principal = require(services, "audit.list", cluster_id or None)
        entries, left = _all(services, principal, wanted_of(asked or {}, cluster_id or ""))
        if left:
            notice("Cut short", f"The file holds the newest {len(entries):,} entries.")
        return {"content": csv_of(entries), "filename": "audit.csv", "type": "text/csv"}


def _listen_in_browser(app: Dash) -> None:
    """Take times by the clock of whoever looks, which only the browser knows."""
    fields = [field_id(FORM, name) for name in _TIMES]
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("audit", "times"),
        *(Output(field, "value") for field in fields),
        Input(_ASKED, "data"),
    )
    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("audit", "ask"),
        Output(_ASKED, "data"),
        Output(ADDRESS, "search", allow_duplicate=True),
        Input(_SHOW, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        prevent_initial_call=True,
    )


def _turned(trigger: Any, trail: list[int], following: int | None) -> list[int] | None:
    """Return where pages begin up to the one to be shown; ``None`` to leave what is shown."""
    if trigger == _OLDER:
        return None if following is None else [*trail, following]
    if trigger == _NEWER:
        return trail[:-1]
    if trigger == _LIVE:
        return None if trail else []
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What there is to show of a page of the log, or what is wrong with the question.

    Parameters
    ----------
    table
        ``None`` if the question is wrong.
    following
        Where the next page begins; ``None`` on the last.
    beside, apart
        What is wrong at each field, and with none of them.
    """

    table: Component = None
    following: int | None = None
    beside: Sequence[str]
    apart: str = ""


def _found(
    services: Services,
    principal: Principal,
    asked: Mapping[str, Any],
    cluster_id: str,
    names: Sequence[str],
    trail: Sequence[int],
) -> _Found:
    """Return a page of what is asked for by the fields of these names."""
    try:
        wanted = wanted_of(asked, cluster_id)
    except InvalidInputError as error:
        beside, apart = placed(error, names)
        return _Found(beside=beside, apart=apart)
    before = trail[-1] if trail else None
    with services.store.begin(read_only=True) as tx:
        entries, following = audit.page(tx, principal, wanted, before=before, limit=PER_PAGE)
    table = _table(entries, with_cluster=not cluster_id)
    return _Found(table=table, following=following, beside=[""] * len(names))


def _all(services: Services, principal: Principal, wanted: Wanted) -> tuple[list[AuditEntry], bool]:
    """Return the entries that fit, and whether there are more of them."""
    found: list[AuditEntry] = []
    before: int | None = None
    with services.store.begin(read_only=True) as tx:
        while len(found) < MOST_EXPORTED:
            entries, before = audit.page(tx, principal, wanted, before=before, limit=_AT_ONCE)
            found += entries
            if before is None:
                break
    return found, before is not None


def _field(name: str, value: str, wrong: str) -> Component:
    label, placeholder, kind = _FIELDS[name]
    # Times are filled in by the browser, in its own zone.
    text = "" if name in _TIMES else value
    return dmc.TextInput(
        id=field_id(FORM, name),
        label=label,
        placeholder=placeholder,
        value=text,
        error=wrong,
        attributes={"input": {"type": kind}},
    )


def _table(entries: Sequence[AuditEntry], *, with_cluster: bool) -> Component:
    if not entries:
        return dmc.Text("No change fits.")
    names = ("At", "Who", "Action", "Subject", "Change")
    rows = [_row(entry, with_cluster) for entry in entries]
    return small_table("Changes", names, rows, verticalSpacing=4)


def _row(entry: AuditEntry, with_cluster: bool) -> tuple[Component, ...]:
    return (
        instant(entry.at),
        html.Span(entry.actor, title=f"from {entry.origin}" if entry.origin else None),
        entry.action,
        _subject(entry, with_cluster),
        _changes(entry),
    )


def _subject(entry: AuditEntry, with_cluster: bool) -> Component:
    text = entry.subject or "the cluster"
    href = address(entry)
    subject = dmc.Anchor(text, href=href, size="sm", underline="always") if href else text
    if not (with_cluster and entry.cluster_id):
        return subject
    return html.Div([dmc.Text(entry.cluster_id, size="xs", c="dimmed"), subject])


def _changes(entry: AuditEntry) -> Component:
    lines = [_line(each.name, each.before, each.after) for each in differences(entry)]
    seen, folded = lines[:_MOST_SHOWN], lines[_MOST_SHOWN:]
    if folded:
        seen.append(html.Details([html.Summary(f"{len(folded)} more"), *folded]))
    return html.Div(seen)


def _line(name: str, before: str, after: str) -> Component:
    if before == NOTHING:
        return html.Div([html.B(f"{name}: "), after])
    return html.Div([html.B(f"{name}: "), html.Del(before), " → ", after])


def _listen_elsewhere(_app: Dash, _services: Services) -> None:
    """The page of all changes listens for both."""


PAGE: Final = Page(
    path="/audit",
    title="All changes",
    operation="audit.list",
    label="All changes",
    show=show,
    listen=listen,
)
PAGE_OF_CLUSTER: Final = Page(
    path="/clusters/<cluster_id>/audit",
    title="Audit",
    operation="audit.list",
    label="Audit",
    show=show,
    listen=_listen_elsewhere,
)
