"""What may be decided on a plan at each stage, and what is asked before VMs are moved by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.plans import wishes
from service.plans.document import plan_of, step_decisions
from service.store.base import KeptPlan, PlanStage

Decide = Callable[..., KeptPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Something to be decided.

    Parameters
    ----------
    operation
        Of the API.
    on_steps
        Whether it is about selected moves rather than the plan.
    asks
        Whether it is asked once more, because VMs are moved by it or left half-way.
    """

    label: str
    operation: str
    act: Decide
    on_steps: bool = False
    asks: bool = False


CHOICES: Final[Mapping[str, Choice]] = {
    "plan-approve": Choice(
        label="Approve", operation="plans.approve", act=wishes.approve, asks=True
    ),
    "plan-reject": Choice(label="Reject", operation="plans.reject", act=wishes.reject),
    "plan-pause": Choice(label="Pause", operation="plans.pause", act=wishes.pause),
    "plan-resume": Choice(label="Resume", operation="plans.resume", act=wishes.resume),
    "plan-abort": Choice(label="Abort", operation="plans.abort", act=wishes.abort, asks=True),
    "plan-approve-steps": Choice(
        label="Approve selected",
        operation="plans.approve_step",
        act=wishes.approve_step,
        on_steps=True,
        asks=True,
    ),
    "plan-skip-steps": Choice(
        label="Skip selected", operation="plans.skip_step", act=wishes.skip_step, on_steps=True
    ),
}
"""Button → what it decides."""

ABORT: Final = "plan-abort"

_ON_STEPS: Final = frozenset({"plan-approve-steps", "plan-skip-steps"})
_OFFERED: Final[Mapping[PlanStage, frozenset[str]]] = {
    PlanStage.WANTED: frozenset({"plan-reject"}),
    PlanStage.PROPOSED: frozenset({"plan-approve", "plan-reject", *_ON_STEPS}),
    PlanStage.APPROVED: frozenset({"plan-reject", *_ON_STEPS}),
    PlanStage.RUNNING: frozenset({"plan-pause", "plan-abort", *_ON_STEPS}),
}
"""Buttons that make sense at a stage; the use cases judge for themselves."""

_WHAT_ACTS: Final = {
    "libvirt": "These are real hosts: VMs are migrated live.",
    "simulated": "The cluster is simulated: nothing real is touched.",
}


def offered(kept: KeptPlan, *, acting: bool = True) -> frozenset[str]:
    """Return the buttons that make sense now.

    Parameters
    ----------
    acting
        Whether plans of the cluster are ever carried out.
    """
    found = _OFFERED.get(kept.stage, frozenset())
    if kept.document.get("wanted", {}).get("paused") and "plan-pause" in found:
        found = (found - {"plan-pause"}) | {"plan-resume"}
    if not kept.document.get("stepwise") and kept.stage is not PlanStage.PROPOSED:
        found -= {"plan-approve-steps"}
    return found if acting else found - {"plan-approve", *_ON_STEPS}


def which_steps(button: str, selected: Iterable[Mapping[str, Any]]) -> list[tuple[int, ...]]:
    """Return the arguments that name what a button is about: the plan, or each selected step."""
    if not CHOICES[button].on_steps:
        return [()]
    return [(int(row["step"]),) for row in selected]


def question(button: str, kept: KeptPlan, selected: Iterable[int], driver: str) -> list[str]:
    """Return what is asked before something is decided, sentence by sentence.

    Parameters
    ----------
    selected
        Positions of the selected steps.
    driver
        Kind of what acts on the cluster.
    """
    if button == ABORT:
        return [
            "Nothing more is begun. VMs that have arrived stay where they are.",
            "What is under way is cancelled, and those VMs stay at their source.",
        ]
    steps = plan_of(kept).steps
    skipped = {i for i, what in step_decisions(kept).items() if what == "skipped"}
    if CHOICES[button].on_steps:
        chosen, rest = sorted(set(selected)), "The others wait until they are approved, too."
    else:
        chosen = [i for i in range(len(steps)) if i not in skipped]
        rest = f"{_moves(len(skipped))} left out." if skipped else ""
    hosts = {end for i in chosen for end in (steps[i].source_id, steps[i].destination_id) if end}
    sent_gib = sum(steps[i].transferred_mib for i in chosen) / 1024
    what = f"{_moves(len(chosen))} on {len(hosts)} hosts, {sent_gib:,.1f} GiB to be sent."
    return [part for part in (what, rest, _WHAT_ACTS.get(driver, "")) if part]


def _moves(count: int) -> str:
    return "1 move" if count == 1 else f"{count:,} moves"
