"""What is said of a plan as a whole: its stage, what it is worth, how far it is."""

from __future__ import annotations

import dash_mantine_components as dmc

from service.plans.document import plan_of
from service.store.base import KeptPlan, PlanStage
from service.web import plan_rows
from service.web.parts import figure, heading, instant
from service.web.site import Component
from service.web.tables import place


def head(kept: KeptPlan, hint: str) -> Component:
    """Return what is said of the plan as a whole.

    Parameters
    ----------
    hint
        Why it is never carried out, and what to change; empty if it may be.
    """
    decided = kept.document.get("decision") or {}
    progress = kept.document.get("progress") or {}
    figures = [
        figure("Stage", plan_rows.stage_of(kept)),
        figure("Made at", instant(kept.made_at)),
        figure("For", kept.trigger),
        figure("Length", f"{plan_rows.length_s(plan_of(kept)):,.0f} s"),
    ]
    if decided:
        figures.append(figure(str(decided["decision"]).capitalize(), f"by {decided['by']}"))
    if progress:
        figures.append(figure("Moves", plan_rows.counted(kept)))
    reason = progress.get("reason") or kept.document.get("reason") or ""
    plans = place(kept.cluster_id, "plans").rstrip("/")
    return [
        heading("Plan", dmc.Anchor("All plans", href=plans, underline="always")),
        dmc.Text(plan_rows.summary(kept), mb="xs"),
        dmc.Group(figures, gap="xl", mb="sm"),
        _progress(kept),
        dmc.Text(reason, size="sm", c="dimmed", mb="sm"),
        *([dmc.Text(f"A recommendation: {hint}.", size="sm", mb="sm")] if hint else []),
        *_objections(kept),
    ]


def _progress(kept: KeptPlan) -> Component:
    if not kept.document.get("progress"):
        return None
    return dmc.Progress(
        value=plan_rows.percent_over(kept),
        mb="sm",
        color="blue" if kept.stage is PlanStage.RUNNING else "gray",
        **{"aria-label": "How far the plan is"},
    )


def _objections(kept: KeptPlan) -> list[Component]:
    found = kept.document.get("objections") or ()
    if not found:
        return []
    return [
        dmc.Alert(
            "; ".join(found),
            title="The telemetry it is made of is poor",
            variant="outline",
            color="red",
            mb="sm",
        )
    ]
