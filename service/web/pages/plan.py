"""One plan: its moves on a time line, what each is for, and what is decided on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dash_mantine_components as dmc
from dash import Dash, Input, Output, Patch, State, ctx, dcc, html, no_update

from service.api.services import Services
from service.inventory.effective import look_up
from service.plans.acting import why_not
from service.store.base import KeptPlan, Kind, PlanStage, Transaction
from service.store.errors import NotFoundError
from service.web import plan_chart, plan_ends, plan_head, plan_hosts, plan_moves, plan_rows
from service.web.door import may, require
from service.web.errors import notice
from service.web.plan_deciding import ABORT, CHOICES, offered, question, which_steps
from service.web.plan_moves import KEY, STEPS, TIME_LINE
from service.web.site import Component, Page, Visit
from solver.domain.errors import InvalidInputError

_CLUSTER: Final = "plan-cluster"
_PLAN: Final = "plan-id"
_HEAD: Final = "plan-head"
_OUTCOME: Final = "plan-outcome"
_SHOWN: Final = "plan-shown"
_MOVE: Final = "plan-move"
_EXPORT: Final = "plan-export"
_ASKED: Final = "plan-asked"
_MODAL: Final = "plan-confirm"
_QUESTION: Final = "plan-question"
_REASON: Final = "plan-reason"
_FINISH: Final = "plan-finish"
_YES: Final = "plan-yes"
_NO: Final = "plan-no"
_LIVE: Final = "live"

_LONGEST_REASON: Final = 1_000


def show(services: Services, visit: Visit) -> Component:
    """Return the plan."""
    with services.store.begin(read_only=True) as tx:
        kept = tx.plans.get(visit.cluster_id, visit.item_id)
        caps = _caps(tx, visit.cluster_id)
    hint = _hint(services, kept)
    acts = may(visit.principal, "plans.approve", visit.cluster_id)
    rows = plan_rows.step_rows(kept)
    return [
        html.Div(visit.cluster_id, id=_CLUSTER, hidden=True),
        html.Div(visit.item_id, id=_PLAN, hidden=True),
        dcc.Store(id=_SHOWN, data=plan_rows.shown(kept)),
        dcc.Store(id=_ASKED),
        _modal(),
        html.Div(plan_head.head(kept, hint), id=_HEAD),
        dmc.Group([*_buttons(kept, acts, hint), _export(rows)], gap="xs", mb="sm"),
        html.Div(plan_moves.key(rows), id=KEY),
        html.Div(plan_moves.time_line(rows)),
        plan_moves.steps_grid(rows, acts),
        html.Div(plan_moves.no_move(), id=_MOVE, role="status"),
        *plan_ends.hosts(kept, caps),
        html.Div(plan_ends.outcome(kept), id=_OUTCOME),
        *plan_ends.failures(kept),
        *plan_ends.refusals(kept),
    ]


def listen(app: Dash, services: Services) -> None:
    """Register what happens on the page."""
    _listen_to_decisions(app, services)
    _listen_to_choosing(app, services)

    @app.callback(
        *_showing(),
        Output(_OUTCOME, "children"),
        Input(_LIVE, "data"),
        State(_SHOWN, "data"),
        State(_CLUSTER, "children"),
        State(_PLAN, "children"),
        prevent_initial_call=True,
    )
    def refresh(_live: str, shown: Any, cluster_id: str, plan_id: str) -> Any:
        """Show how far it is."""
        principal = require(services, "plans.show", cluster_id)
        with services.store.begin(read_only=True) as tx:
            kept = tx.plans.get(cluster_id, plan_id)
        acts = may(principal, "plans.approve", cluster_id)
        return (*_now(kept, acts, shown, _hint(services, kept)), plan_ends.outcome(kept))

    @app.callback(
        Output(STEPS, "exportDataAsCsv"), Input(_EXPORT, "n_clicks"), prevent_initial_call=True
    )
    def export(clicks: int | None) -> Any:
        """Give the moves as a file."""
        return True if clicks else no_update


def _showing(*, again: bool = False) -> list[Output]:
    """Return what follows the plan as it goes on."""
    places = [
        (_HEAD, "children"),
        (STEPS, "rowTransaction"),
        (_SHOWN, "data"),
        (TIME_LINE, "figure"),
        (KEY, "children"),
        *((button, "style") for button in CHOICES),
    ]
    return [Output(name, part, allow_duplicate=again) for name, part in places]


def _listen_to_choosing(app: Dash, services: Services) -> None:
    @app.callback(
        Output(_MOVE, "children"),
        Input(STEPS, "selectedRows"),
        Input(TIME_LINE, "clickData"),
        State(_CLUSTER, "children"),
        State(_PLAN, "children"),
        prevent_initial_call=True,
    )
    def choose(
        selected: Sequence[Mapping[str, Any]] | None,
        clicked: Mapping[str, Any] | None,
        cluster_id: str,
        plan_id: str,
    ) -> Any:
        """Show all that is known of a move."""
        if ctx.triggered_id == TIME_LINE and clicked:
            step_idx = int(clicked["points"][0]["customdata"][3])
        elif selected:
            step_idx = int(selected[-1]["step"])
        else:
            return plan_moves.no_move()
        require(services, "plans.show", cluster_id)
        with services.store.begin(read_only=True) as tx:
            return plan_moves.one_move(tx.plans.get(cluster_id, plan_id), step_idx)


def _listen_to_decisions(app: Dash, services: Services) -> None:
    asking = [button for button, choice in CHOICES.items() if choice.asks]
    at_once = [button for button, choice in CHOICES.items() if not choice.asks]

    @app.callback(
        Output(_MODAL, "opened"),
        Output(_MODAL, "title"),
        Output(_QUESTION, "children"),
        Output(_ASKED, "data"),
        Output(_REASON, "value"),
        Output(_FINISH, "style"),
        *[Input(button, "n_clicks") for button in asking],
        Input(_NO, "n_clicks"),
        State(STEPS, "selectedRows"),
        State(_CLUSTER, "children"),
        State(_PLAN, "children"),
        prevent_initial_call=True,
    )
    def ask(*asked: Any) -> Any:
        """Say what a decision does, and ask for it once more."""
        selected, cluster_id, plan_id = asked[-3:]
        if not any(asked[:-3]) or ctx.triggered_id == _NO:
            return (False, *(no_update,) * 5)
        return _asked(services, str(ctx.triggered_id), cluster_id, plan_id, selected or ())

    @app.callback(
        *_showing(again=True),
        Output(_MODAL, "opened", allow_duplicate=True),
        *[Input(button, "n_clicks") for button in at_once],
        Input(_YES, "n_clicks"),
        State(_ASKED, "data"),
        State(_REASON, "value"),
        State(_FINISH, "checked"),
        State(STEPS, "selectedRows"),
        State(_SHOWN, "data"),
        State(_CLUSTER, "children"),
        State(_PLAN, "children"),
        prevent_initial_call=True,
    )
    def decide(*given: Any) -> Any:
        """Write down what is wanted of the plan."""
        clicks, (asked, reason, finish, selected, shown, cluster_id, plan_id) = (
            given[:-7],
            given[-7:],
        )
        if not any(clicks):
            return (no_update,) * (len(_showing()) + 1)
        confirmed = ctx.triggered_id == _YES
        button = str(asked if confirmed else ctx.triggered_id)
        more: dict[str, Any] = {"reason": _short(reason)} if confirmed else {}
        if button == ABORT:
            more["cancel_running"] = not finish
        kept = _decided(services, button, cluster_id, plan_id, selected or (), more)
        return (*_now(kept, True, shown, _hint(services, kept)), False)


def _short(reason: Any) -> str:
    """Return the reason for a decision, as long as the API takes one."""
    told = str(reason or "")
    if len(told) > _LONGEST_REASON:
        raise InvalidInputError(
            f"expected at most {_LONGEST_REASON} characters, got {len(told)}", path="reason"
        )
    return told


def _asked(
    services: Services, button: str, cluster_id: str, plan_id: str, selected: Any
) -> tuple[Any, ...]:
    choice = CHOICES[button]
    require(services, choice.operation, cluster_id)
    if choice.on_steps and not selected:
        notice(choice.label, "Select the moves first.")
        return (False, *(no_update,) * 5)
    with services.store.begin(read_only=True) as tx:
        kept = tx.plans.get(cluster_id, plan_id)
        cluster = tx.items.get(Kind.CLUSTER, "", cluster_id).document
    driver = str(cluster.get("driver", {}).get("kind", ""))
    steps = [int(row["step"]) for row in selected]
    sentences = [dmc.Text(said) for said in question(button, kept, steps, driver)]
    hidden = {} if button == ABORT else {"display": "none"}
    return True, f"{choice.label}?", sentences, button, "", hidden


def _decided(
    services: Services,
    button: str,
    cluster_id: str,
    plan_id: str,
    selected: Any,
    more: Mapping[str, Any],
) -> KeptPlan:
    choice = CHOICES[button]
    principal = require(services, choice.operation, cluster_id)
    with services.store.begin() as tx:
        kept = tx.plans.get(cluster_id, plan_id)
        for which in which_steps(button, selected):
            kept = choice.act(
                tx, principal, cluster_id, plan_id, *which, now=services.now(), **more
            )
    if choice.on_steps and not selected:
        notice(choice.label, "Select the moves first.")
    else:
        notice(choice.label, "Written down; it is taken up within a second or two.")
    return kept


def _hint(services: Services, kept: KeptPlan) -> str:
    """Return why a plan that waits is never carried out, and what to change; empty if it may."""
    if kept.stage is not PlanStage.PROPOSED:
        return ""
    with services.store.begin(read_only=True) as tx:
        return why_not(tx, kept.cluster_id)


def _now(kept: KeptPlan, acts: bool, shown: Any, hint: str) -> tuple[Any, ...]:
    """Return what the page shows of a plan now, and only what differs from before."""
    styles = [_style(kept, button, acts, hint) for button in CHOICES]
    rows, now_shown = plan_rows.changed_rows(shown or (), kept)
    if not rows:
        same = no_update
        return (plan_head.head(kept, hint), same, same, same, same, *styles)
    every_row = plan_rows.step_rows(kept)
    drawn = Patch()
    drawn["data"][0]["marker"]["color"] = plan_chart.colors(every_row)
    transaction = {"update": rows, "async": False}
    if len(shown or ()) != len(now_shown):
        transaction = {"add": rows, "async": False}
        drawn = plan_chart.time_line(every_row)
    key = plan_moves.key(every_row)
    return (plan_head.head(kept, hint), transaction, now_shown, drawn, key, *styles)


def _caps(tx: Transaction, cluster_id: str) -> Mapping[str, plan_hosts.Caps]:
    """Return the caps of the hosts there are now; none where nothing was seen yet."""
    try:
        return plan_hosts.caps_of(look_up(tx, cluster_id).cluster)
    except NotFoundError:
        return {}


def _style(kept: KeptPlan, button: str, acts: bool, hint: str) -> dict[str, str]:
    shown = acts and button in offered(kept, acting=not hint)
    return {} if shown else {"display": "none"}


def _buttons(kept: KeptPlan, acts: bool, hint: str) -> list[Component]:
    return [
        dmc.Button(
            choice.label,
            id=button,
            variant="filled" if button == "plan-approve" else "default",
            style=_style(kept, button, acts, hint),
        )
        for button, choice in CHOICES.items()
    ]


def _export(rows: Sequence[Any]) -> Component:
    style = {} if rows else {"display": "none"}
    return dmc.Button("Export CSV", id=_EXPORT, variant="default", style=style)


def _modal() -> Component:
    finish = dmc.Switch(
        id=_FINISH, label="Let what is under way come to its end", style={"display": "none"}
    )
    return dmc.Modal(
        id=_MODAL,
        title="",
        opened=False,
        closeButtonProps={"aria-label": "Close"},
        children=dmc.Stack(
            [
                html.Div(id=_QUESTION),
                dmc.TextInput(id=_REASON, label="Reason, for the audit log"),
                finish,
                dmc.Group(
                    [
                        dmc.Button("Cancel", id=_NO, variant="default"),
                        dmc.Button("Yes", id=_YES),
                    ],
                    justify="flex-end",
                ),
            ]
        ),
    )


PAGE: Final = Page(
    path="/clusters/<cluster_id>/plans/<item_id>",
    title="Plan",
    operation="plans.show",
    label="",
    show=show,
    listen=listen,
    has_grid=True,
)
