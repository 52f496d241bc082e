"""Plans as rows and figures, out of the documents that ``service.plans.document`` owns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from service.plans.document import AnyPlan, num_steps, plan_of, repairs, step_decisions
from service.store.base import KeptPlan, PlanStage
from solver.domain.plan import Plan, Step
from solver.domain.weights import to_host_s

Row = dict[str, Any]

STAGES: Final = {
    PlanStage.WANTED: "to be made",
    PlanStage.PROPOSED: "proposed",
    PlanStage.APPROVED: "approved, about to begin",
    PlanStage.RUNNING: "running",
    PlanStage.DONE: "done",
    PlanStage.ENDED: "ended early",
    PlanStage.REJECTED: "rejected",
    PlanStage.SUPERSEDED: "superseded",
}
SPANS: Final = {"5m": "5 min", "1h": "1 h", "24h": "24 h"}
"""Spans over which plans are looked back on: name in documents → words."""

OVER: Final = frozenset({"done", "skipped", "failed", "aborted", "adrift"})
"""States of a step that has come to its end."""

_MS_PER_S: Final = 1000
_WORTH_SAYING_HOST_S: Final = 0.05
"""Shortfall that is shown as more than nothing."""


def stage_of(kept: AnyPlan) -> str:
    """Return where a plan is on its way, in words."""
    if kept.document.get("wanted", {}).get("paused") and kept.stage is PlanStage.RUNNING:
        return "running, paused"
    return STAGES.get(kept.stage, kept.stage.value)


def summary(kept: AnyPlan) -> str:
    """Return in one sentence what a plan is worth."""
    count = num_steps(kept)
    moves = "1 move" if count == 1 else f"{count:,} moves"
    expected = kept.document.get("expected")
    if kept.stage is PlanStage.WANTED:
        return "It is still to be made."
    if not count:
        return str(kept.document.get("reason") or "Nothing is worth moving.")
    if repairs(kept) and (not expected or expected["saved_host_s"] < _WORTH_SAYING_HOST_S):
        return f"{moves} would put right what is broken, or empty hosts."
    if expected:
        return (
            f"{moves} would avoid {expected['saved_host_s']:,.1f} host-seconds of shortfall within "
            f"{expected['minutes']:g} minutes."
        )
    return f"{moves} would save {kept.document.get('benefit_host_s', 0):,.1f} host-seconds."


def counted(kept: AnyPlan) -> str:
    """Return how many moves are done, and how many came to another end; empty if none began."""
    told = (kept.document.get("progress") or {}).get("steps", ())
    if not told:
        return ""
    counts = Counter(entry["state"] for entry in told)
    others = (f"{counts[state]} {state}" for state in sorted(OVER - {"done"}) if counts[state])
    return ", ".join((f"{counts['done']} of {len(told)} done", *others))


def percent_over(kept: KeptPlan) -> int:
    """Return how far a plan is: of its moves, each as far as it is sent."""
    told = (kept.document.get("progress") or {}).get("steps", ())
    parts = [1.0 if entry["state"] in OVER else entry.get("fraction", 0.0) for entry in told]
    return round(100 * sum(parts) / len(parts)) if parts else 0


def step_rows(kept: KeptPlan) -> list[Row]:
    """Return a row for each step, in the order of their start."""
    explained = _explained(kept)
    observed = {span: saved_by_steps(kept, span) for span in SPANS}
    rows = []
    for i, (step, live) in enumerate(zip(plan_of(kept).steps, live_parts(kept), strict=True)):
        saved = {f"saved_{span}": worth[i] if worth else None for span, worth in observed.items()}
        rows.append(_row(i, step, explained.get(str(step.vm_id), {})) | live | saved)
    return rows


def live_parts(kept: KeptPlan) -> list[Row]:
    """Return of each step what changes while a plan is carried out."""
    decided = step_decisions(kept)
    told = (kept.document.get("progress") or {}).get("steps", ())
    return [
        _live(decided.get(i, ""), told[i] if i < len(told) else {}) for i in range(num_steps(kept))
    ]


def length_s(plan: Plan) -> float:
    """Return when the last step of a plan ends, from its begin."""
    return max((step.end_ms for step in plan.steps), default=0) / _MS_PER_S


def saved_by_steps(kept: KeptPlan, span: str) -> list[float | None]:
    """Return what each step saved by observed demand; empty where that is not known."""
    saved: list[float | None] = (
        kept.document.get("observed", {}).get(span, {}).get("saved_by_steps", [])
    )
    return saved if len(saved) == num_steps(kept) else []


def outcome_rows(kept: KeptPlan) -> list[Row]:
    """Return a row for each span over which a plan was looked back on, with what was predicted."""
    expected = kept.document.get("expected") or {}
    rows = []
    for span, words in SPANS.items():
        found = kept.document.get("observed", {}).get(span)
        if found is not None:
            as_predicted = expected and expected["minutes"] == found["minutes"]
            predicted = expected["saved_host_s"] if as_predicted else None
            rows.append({"span": words, "predicted": predicted, **found})
    return rows


def one_move(kept: KeptPlan, step_idx: int) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return all that is known of one move, in groups of names and values."""
    step = plan_of(kept).steps[step_idx]
    told = (kept.document.get("progress") or {}).get("steps", ())
    entry = told[step_idx] if step_idx < len(told) else {}
    groups = [
        ("Worth it", _worth(_explained(kept).get(str(step.vm_id), {}))),
        ("What it costs", _terms(step)),
        ("Its course", _course(step, entry)),
        ("What it saved", _came_of_it(kept, step_idx)),
    ]
    return [(title, pairs) for title, pairs in groups if pairs]


def history_row(kept: AnyPlan) -> Row:
    """Return what a list of plans says of one."""
    saved = {
        span: kept.document.get("observed", {}).get(span, {}).get("saved_host_s") for span in SPANS
    }
    return {
        "made_at": kept.made_at,
        "trigger": kept.trigger,
        "stage": stage_of(kept),
        "worth": summary(kept),
        "moves": counted(kept),
        **{span: host_s(value) for span, value in saved.items()},
    }


def changed_rows(before: Iterable[Any], kept: KeptPlan) -> tuple[list[Row], list[list[Any]]]:
    """Return the rows that differ from what a page shows, and what it then shows.

    Parameters
    ----------
    before
        The second part of an earlier answer.
    """
    now = shown(kept)
    was = list(before)
    if was == now:
        return [], now
    rows = step_rows(kept)
    same = len(was) == len(now)
    return [row for i, row in enumerate(rows) if not same or was[i] != now[i]], now


def shown(kept: KeptPlan) -> list[list[Any]]:
    """Return what of each row may change, as briefly as a browser can be given it."""
    return [[live["state"], live["percent"]] for live in live_parts(kept)]


def host_s(value: float | None) -> str:
    """Return host-seconds in words; a dash for none."""
    return "–" if value is None else f"{value:,.1f}"


def _live(decided: str, told: Mapping[str, Any]) -> Row:
    return {
        "state": (told.get("state") or decided or "planned").replace("_", " "),
        "percent": round(100 * told.get("fraction", 0)),
        "took_s": _took_s(told),
        "sent_mib": told.get("transferred_mib"),
        "stood_ms": told.get("downtime_ms"),
    }


def _row(i: int, step: Step, explained: Mapping[str, Any]) -> Row:
    cost = step.cost
    return {
        "id": str(i),
        "step": i,
        "vm": str(step.vm_id),
        "source": str(step.source_id or ""),
        "destination": str(step.destination_id),
        "start_s": step.start_ms / _MS_PER_S,
        "duration_s": (step.end_ms - step.start_ms) / _MS_PER_S,
        "bandwidth": step.bandwidth_mib_per_s,
        "planned_mib": step.transferred_mib,
        "planned_downtime_ms": step.downtime_ms,
        "saves": _rounded(explained.get("saved")),
        "cost": _rounded(cost.total),
        "utilisation": _rounded(cost.utilisation),
        "transfer": _rounded(cost.transfer),
        "downtime": _rounded(cost.downtime),
        "latency": _rounded(cost.latency),
        "next_best": _next_best(explained),
        "why": explained.get("sentence") or step.reason,
    }


def _explained(kept: KeptPlan) -> dict[str, Mapping[str, Any]]:
    result = kept.document.get("result") or {}
    return {item["vm_id"]: item for item in result.get("explanations", ())}


def _next_best(explained: Mapping[str, Any]) -> str:
    """Return the host that would do next best, and how much worse the plan would be with it."""
    other, loss = explained.get("alternative_id"), explained.get("alternative_loss")
    return f"{other} ({to_host_s(loss):+,.1f})" if other and loss is not None else ""


def _worth(explained: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "saved" not in explained:
        return []
    pairs = [
        ("Saves", _worth_of(explained["saved"])),
        ("Relieves its source by", _worth_of(explained["relieved"])),
    ]
    if explained.get("repairs"):
        pairs.append(("Repairs", str(explained["repairs"])))
    other = explained.get("alternative_id")
    if not other:
        return [*pairs, ("Next best host", "no other will do")]
    loss = explained["alternative_loss"]
    parts = (("of it load", "alternative_load"), ("of it a dearer move", "alternative_move"))
    return [
        *pairs,
        ("Next best host", str(other)),
        ("Worse by", _worth_of(loss)),
        *[(name, _worth_of(explained[key])) for name, key in parts if explained.get(key)],
    ]


def _terms(step: Step) -> list[tuple[str, str]]:
    cost = step.cost
    terms = (
        ("Fuller destination", cost.utilisation),
        ("Sending memory", cost.transfer),
        ("Standing still", cost.downtime),
        ("Distance", cost.latency),
        ("Together", cost.total),
    )
    return [(name, _worth_of(amount)) for name, amount in terms]


def _course(step: Step, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    planned = [
        ("Bandwidth", f"{step.bandwidth_mib_per_s:,} MiB/s"),
        ("Takes", _against((step.end_ms - step.start_ms) / _MS_PER_S, _took_s(told), "s")),
        ("Sends", _against(step.transferred_mib, told.get("transferred_mib") or None, "MiB")),
        ("Stands still", _against(step.downtime_ms, told.get("downtime_ms"), "ms")),
    ]
    if told.get("attempts", 0) > 1:
        planned.append(("Tries", str(told["attempts"])))
    if told.get("reason"):
        planned.append(("Remark", str(told["reason"])))
    return planned


def _came_of_it(kept: KeptPlan, step_idx: int) -> list[tuple[str, str]]:
    pairs = []
    for span, words in SPANS.items():
        saved = saved_by_steps(kept, span)
        if saved and saved[step_idx] is not None:
            pairs.append((f"After {words}", f"{host_s(saved[step_idx])} host-s"))
    return pairs


def _took_s(told: Mapping[str, Any]) -> float | None:
    if not (told.get("started_at") and told.get("ended_at")):
        return None
    began, ended = (datetime.fromisoformat(told[name]) for name in ("started_at", "ended_at"))
    return round((ended - began).total_seconds(), 1)


def _against(planned: float, measured: float | None, unit: str) -> str:
    """Return what was planned, and beside it what was measured."""
    told = f"{planned:,g} {unit}"
    return told if measured is None else f"{told} planned, {measured:,g} {unit} measured"


def _worth_of(units: int) -> str:
    return f"{to_host_s(units):,.2f} host-s"


def _rounded(units: int | None) -> float | None:
    return None if units is None else round(to_host_s(units), 3)
