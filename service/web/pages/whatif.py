"""What-if: a change of a cluster, asked about before it is made; the address says the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html, no_update

from service.api.services import Services
from service.api.solve import desk_of
from service.inventory.effective import look_up
from service.present import present
from service.security.principal import Principal
from service.solving import jobs
from service.store.base import Job
from service.store.errors import NotFoundError
from service.web.door import require
from service.web.fields import every_field, placed, typed, validated
from service.web.pages import whatif_answer
from service.web.pages.whatif_fields import FORM, fields
from service.web.parts import heading, in_the_way
from service.web.site import ADDRESS, Component, Page, Visit
from service.web.whatif_form import address_of, document_of, fields_of, question_in
from service.whatif.request import summary, whatif_work
from service.whatif.schema import WhatIfRequest
from solver.domain.errors import ForeswapError

_CLUSTER: Final = "whatif-cluster"
_REST: Final = "whatif-rest"
_JOB: Final = "whatif-job"
_ASK: Final = "whatif-ask"
_CANCEL: Final = "whatif-cancel"
_EXPORT: Final = "whatif-export"
_WRONG: Final = "whatif-wrong"
_LOOK: Final = "whatif-look"
_ANSWER: Final = "whatif-answer"

LOOK_EVERY_MS: Final = 500
"""Between two looks at a question that is not answered yet."""

_LABEL: Final[dict[str, Any]] = {"aria-label": "Answer"}

_NONE_YET: Final = (
    "Choose what is to change and ask. Nothing is changed by asking, and the address of this page "
    "then leads others to the same question."
)


def show(services: Services, visit: Visit) -> Component:
    """Return the form, and the answer that the address names."""
    with services.store.begin(read_only=True) as tx:
        cluster = look_up(tx, visit.cluster_id).cluster
    document, job_id = question_in(visit.query)
    known, rest = fields_of(document)
    job = _found(services, visit.principal, visit.cluster_id, job_id)
    is_open = job is not None and job.stage not in jobs.ENDED
    hosts = [str(host.id) for host in cluster.hosts]
    groups = sorted({vm.group for vm in cluster.vms} - {""})
    form = [html.Div(_asked_besides(rest)), *fields(known, hosts, groups)]
    asking = dmc.Group(
        [
            dmc.Button("Ask", id=_ASK),
            dmc.Button("Cancel", id=_CANCEL, variant="default", disabled=not is_open),
            html.Div(id=_WRONG, role="alert"),
        ],
        mb="md",
    )
    export = dmc.Button("Export moves", id=_EXPORT, variant="default", style={"display": "none"})
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        dcc.Store(id=_REST, data=rest),
        dcc.Store(id=_JOB, data=job_id if is_open else ""),
        dcc.Interval(id=_LOOK, interval=LOOK_EVERY_MS, disabled=not is_open),
        heading("What if", export),
        dmc.Grid(
            [
                dmc.GridCol(form, span={"base": 12, "md": 4}),
                dmc.GridCol(
                    # In view however far down the form somebody is; to be scrolled by keyboard too.
                    html.Div(
                        [asking, html.Div(_told(job), id=_ANSWER, role="status")],
                        className="beside",
                        tabIndex=0,
                        role="region",
                        **_LABEL,
                    ),
                    span={"base": 12, "md": 8},
                ),
            ]
        ),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_questions(app, services)

    @app.callback(
        Output(_ANSWER, "children"),
        Output(_LOOK, "disabled"),
        Output(_CANCEL, "disabled"),
        Input(_LOOK, "n_intervals"),
        State(_JOB, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def look(_ticks: int | None, job_id: str, cluster_id: str) -> Any:
        """Show how far the question is."""
        if not job_id:
            return no_update, True, True
        principal = require(services, "jobs.show")
        job = _found(services, principal, cluster_id, job_id)
        ended = job is None or job.stage in jobs.ENDED
        return _told(job), ended, ended

    @app.callback(
        Output(_CANCEL, "disabled", allow_duplicate=True),
        Input(_CANCEL, "n_clicks"),
        State(_JOB, "data"),
        prevent_initial_call=True,
    )
    def cancel(clicks: int | None, job_id: str) -> Any:
        """End the search; what it has found until then is the answer."""
        if not clicks or not job_id:
            return no_update
        principal = require(services, "jobs.cancel")
        with services.store.begin() as tx:
            jobs.cancel(tx, principal, job_id, services.now())
        desk_of(services).jobs.nudge()
        return True

    @app.callback(
        Output(whatif_answer.MOVES, "exportDataAsCsv"),
        Input(_EXPORT, "n_clicks"),
        prevent_initial_call=True,
    )
    def export(clicks: int | None) -> Any:
        """Give the moves as a file."""
        return True if clicks else no_update

    @app.callback(Output(_EXPORT, "style"), Input(whatif_answer.MOVES, "rowData"))
    def offer(rows: list[Any] | None) -> dict[str, str]:
        """Offer the file where there are moves."""
        return {} if rows else {"display": "none"}


def _listen_to_questions(app: Dash, services: Services) -> None:
    @app.callback(
        Output(every_field(FORM), "error"),
        Output(_WRONG, "children"),
        Output(_JOB, "data"),
        Output(_LOOK, "disabled", allow_duplicate=True),
        Output(_CANCEL, "disabled", allow_duplicate=True),
        Output(ADDRESS, "search", allow_duplicate=True),
        Input(_ASK, "n_clicks"),
        State(every_field(FORM), "id"),
        State(every_field(FORM), "value"),
        State(_REST, "data"),
        State(_CLUSTER, "children"),
        prevent_initial_call=True,
    )
    def ask(
        clicks: int | None,
        ids: list[Any],
        values: list[Any],
        rest: dict[str, Any] | None,
        cluster_id: str,
    ) -> Any:
        """Take the question on, or say what is wrong with it."""
        if not clicks:
            return [no_update] * len(ids), *[no_update] * 5
        principal = require(services, "whatif.ask", cluster_id)
        document = document_of(typed(ids, values), rest or {})
        try:
            job = _begun(services, principal, cluster_id, document)
        except ForeswapError as error:
            beside, apart = placed(error, [each["path"] for each in ids])
            wrong = in_the_way(apart, title="Not asked")
            return beside, wrong, *[no_update] * 4
        return [""] * len(ids), None, job.id, False, False, address_of(document, job.id)


def _begun(
    services: Services, principal: Principal, cluster_id: str, document: Mapping[str, Any]
) -> Job:
    """Take a question on as a job, as the API does."""
    request = validated(WhatIfRequest, document)
    desk = desk_of(services)
    with services.store.begin(read_only=True) as tx:
        cluster = look_up(tx, cluster_id).cluster
        now = present(tx, cluster_id, services.now())
    work = whatif_work(
        cluster_id,
        cluster,
        request,
        now=now,
        limits=desk.settings.limits,
        store_url=desk.settings.store_url,
    )
    return desk.begin(principal, "whatif", work, summary(work), cluster_id=cluster_id)


def _found(services: Services, principal: Principal, cluster_id: str, job_id: str) -> Job | None:
    """Return a what-if of the cluster; ``None`` for one that is gone, or somebody else's."""
    if not job_id:
        return None
    try:
        with services.store.begin(read_only=True) as tx:
            job = jobs.see(tx, principal, job_id)
    except NotFoundError:
        return None
    return job if (job.kind, job.cluster_id) == ("whatif", cluster_id) else None


def _told(job: Job | None) -> Component:
    if job is None:
        return dmc.Text(_NONE_YET, c="dimmed")
    if job.stage not in jobs.ENDED:
        return whatif_answer.progress(job)
    if job.result is None:
        return whatif_answer.failed(job)
    return whatif_answer.answer(job.result, cancelled=job.stage.value == "cancelled")


def _asked_besides(rest: Mapping[str, Any]) -> Component:
    if not rest:
        return None
    names = ", ".join(name.replace("_", " ") for name in rest)
    return dmc.Text(f"The address asks besides, unchanged: {names}.", size="sm", mb="sm")


PAGE: Final = Page(
    path="/clusters/<cluster_id>/whatif",
    title="What if",
    operation="whatif.ask",
    label="What if",
    show=show,
    listen=listen,
)
