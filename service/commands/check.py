"""``foreswap check``: is a file what it should be, and what is wrong in what it describes?"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands import console
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from forecast.history import History
    from solver.domain.cluster import Cluster
    from solver.domain.plan import Plan
    from solver.domain.scenario import ScenarioSet

    Document = Cluster | Plan | ScenarioSet | History

MOST_NAMED: Final = 5
"""Rules named in one line before the rest is only counted."""


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Cluster, plan or scenario documents, or telemetry in Parquet or CSV.",
            metavar="FILE...",
        ),
    ],
) -> None:
    """Check documents and telemetry, and show what violates rules and capacities.

    Hard rules of a cluster that no placement keeps together are named. A plan given together with
    one cluster is replayed against it, event by event.
    """
    from solver.domain.cluster import Cluster

    documents: list[tuple[Path, Document]] = []
    wrong: list[InvalidInputError] = []
    contradictory = False
    for path in files:
        try:
            documents.append((path, _read(path)))
        except InvalidInputError as error:
            wrong.append(error)
    for path, document in documents:
        console.out().print(f"{path}: {_summary(document)}", soft_wrap=True)
        if isinstance(document, Cluster):
            _show_violations(document)
            contradictory |= _show_contradictions(document)
    broken = _judge_plans(documents)
    for mistake in wrong[:-1]:
        console.err().print(f"error: {mistake}", soft_wrap=True, markup=False)
    if wrong:
        raise wrong[-1]
    if broken or contradictory:
        raise typer.Exit(1)


def _read(path: Path) -> Document:
    """Read a file as what it says it is; a file that says nothing is read as a cluster."""
    from forecast.tidy import read_history
    from solver.instances import read_cluster, read_plan, read_scenarios

    match _kind(path):
        case "plan":
            return read_plan(path)
        case "scenarios":
            return read_scenarios(path)
        case "telemetry":
            return read_history(path)
        case _:
            return read_cluster(path)


def _kind(path: Path) -> str:
    """Return the kind of a file, without judging it."""
    if path.suffix.lower() in (".parquet", ".pq", ".csv"):
        return "telemetry"
    try:
        with path.open("rb") as file:
            if file.read(4) == b"PAR1":
                return "telemetry"
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return "cluster"  # its reader says precisely what is wrong
    kind = document.get("foreswap") if isinstance(document, dict) else None
    return kind if isinstance(kind, str) else "cluster"


def _summary(document: Document) -> str:
    from service.tables import counted, joined
    from solver.domain.cluster import Cluster
    from solver.domain.plan import Plan
    from solver.domain.scenario import ScenarioSet

    if isinstance(document, Cluster):
        states = Counter(host.state.value for host in document.hosts)
        hosts = ", ".join(f"{number} {state}" for state, number in states.items())
        off = sum(vm.host_id is None for vm in document.vms)
        running = f" ({off} to be started)" if off else ""
        return (
            f"cluster of {counted(len(document.hosts), 'host')} ({hosts}), "
            f"{counted(len(document.vms), 'VM')}{running}, "
            f"{counted(len(document.rules), 'rule')}, "
            f"observed {document.observed_at:%Y-%m-%d %H:%M} UTC"
        )
    if isinstance(document, Plan):
        return (
            f"plan of {counted(len(document.steps), 'step')}, made "
            f"{document.made_at:%Y-%m-%d %H:%M} UTC, {document.makespan_ms / 1000:.0f} s long"
        )
    if isinstance(document, ScenarioSet):
        return (
            f"{counted(document.num_scenarios, 'scenario')} of "
            f"{counted(len(document.vm_ids), 'VM')} over {document.horizon_seconds // 60} minutes "
            f"in {counted(document.num_steps, 'step')}, from {document.start_at:%Y-%m-%d %H:%M} UTC"
        )
    report = document.report
    found = {
        "interpolated": report.interpolated,
        "off": report.off,
        "missing": report.missing,
        "of clipped CPU": report.clipped_cpu,
        "of clipped memory": report.clipped_memory,
    }
    told = joined([f"{number:,} {name}" for name, number in found.items() if number]) or "none odd"
    return (
        f"telemetry of {counted(document.num_vms, 'VM')}, {document.start_at:%Y-%m-%d %H:%M} to "
        f"{document.end_at:%Y-%m-%d %H:%M} UTC, {report.rows:,} readings ({told})"
    )


def _show_violations(cluster: Cluster) -> None:
    from service.tables import violation_lines
    from solver.domain.check import check_placement

    lines = violation_lines(check_placement(cluster, cluster.placement))
    for line in lines:
        console.out().print("  ", line, soft_wrap=True)
    if not lines:
        console.out().print("  every rule and capacity holds")


def _show_contradictions(cluster: Cluster) -> bool:
    """Name hard rules that contradict each other; return whether some do."""
    from service.tables import joined
    from solver.validate import find_contradictions

    found = find_contradictions(cluster)
    for contradiction in found.contradictions:
        text = f"  contradiction: {contradiction.message}"
        console.out().print(text, soft_wrap=True, markup=False)
    for rule_ids in found.undecided:
        named = joined([repr(rule_id) for rule_id in rule_ids[:MOST_NAMED]])
        more = f" and {len(rule_ids) - MOST_NAMED} more" if len(rule_ids) > MOST_NAMED else ""
        text = f"  not found out in time: whether some placement keeps rules {named}{more}"
        console.out().print(text, soft_wrap=True, markup=False)
    return bool(found.contradictions)


def _judge_plans(documents: list[tuple[Path, Document]]) -> bool:
    """Replay each plan against the cluster, if there is exactly one; return whether one breaks."""
    from service.tables import violation_lines
    from solver.domain.check import check_plan
    from solver.domain.cluster import Cluster
    from solver.domain.migration import LEAST_SENT_FRACTION
    from solver.domain.plan import Plan

    clusters = [document for _, document in documents if isinstance(document, Cluster)]
    broken = False
    for path, document in documents:
        if len(clusters) == 1 and isinstance(document, Plan):
            # How much of its memory a guest sends is fitted to measured moves by who made the plan.
            found = check_plan(clusters[0], document, least_sent=LEAST_SENT_FRACTION)
            verdict = "breaks what held:" if found else "is safe on this cluster at every instant"
            console.out().print(f"{path}: {verdict}", soft_wrap=True)
            for line in violation_lines(found):
                console.out().print("  ", line, soft_wrap=True)
            broken |= bool(found)
    return broken
