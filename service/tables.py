"""Clusters, plans and results as tables for a terminal; every figure comes from the domain's own.

Used by the commands and by the demonstration. Nothing is computed here beyond sums and shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from executor.report import ExecutionReport
from solver.domain.check import Violation
from solver.domain.cluster import Cluster, reserved_amounts
from solver.domain.plan import Plan, StepKind
from solver.domain.result import Result
from solver.domain.scenario import ScenarioSet
from solver.domain.score import (
    UNLIMITED,
    HostContention,
    Score,
    capacity_array,
    host_loads,
)
from solver.domain.units import Resource
from solver.domain.weights import to_host_s
from solver.instances import TERMS


def host_s(units: int) -> str:
    """Return a cost in host-seconds, with as many decimals as tell something."""
    value = to_host_s(units)
    if value == 0:
        return "0"
    if abs(value) < 0.005:
        return "~0"
    return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def percent(fraction: float | None) -> str:
    """Return a fraction in per cent; a dash for what has no limit."""
    return "–" if fraction is None else f"{100 * fraction:.0f} %"


def contention_table(cluster: Cluster, scenarios: ScenarioSet, result: Result) -> Table:
    """Return the contended hosts, worst first: load, score and overload before and after.

    Hosts without any contention before and after are counted in the caption.
    """
    table = Table(
        title="Contention by host",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("host", no_wrap=True)
    table.add_column("state")
    for name in (
        "VMs",
        "CPU\nnow",
        "memory\nnow",
        "score\nnow",
        "score\n1 h",
        "P(over)\n1 h",
        "score\nafter",
        "P(over)\nafter",
    ):
        table.add_column(name, justify="right")
    loads = present_load(cluster, scenarios)
    guests = {host.id: 0 for host in cluster.hosts}
    for vm in cluster.vms:
        if vm.host_id is not None:
            guests[vm.host_id] += 1
    rows = [
        row
        for row in zip(
            cluster.hosts, result.contention_before, result.contention_after, loads, strict=True
        )
        if _worth_a_row(row[1]) or _worth_a_row(row[2])
    ]
    rows.sort(key=lambda row: (-row[1].total, -row[2].total))
    for host, before, after, load in rows:
        table.add_row(
            host.id,
            host.state.value,
            str(guests[host.id]),
            percent(load[Resource.CPU]),
            percent(load[Resource.MEMORY]),
            host_s(before.current),
            host_s(before.predicted),
            percent(before.overload_ppm / 1e6),
            host_s(after.total),
            percent(after.overload_ppm / 1e6),
        )
    calm = len(cluster.hosts) - len(rows)
    if calm:
        table.caption = f"{calm} of {len(cluster.hosts)} hosts without contention; host-seconds"
    else:
        table.caption = "scores in host-seconds of priority-weighted shortfall"
    return table


def _worth_a_row(contention: HostContention) -> bool:
    return to_host_s(contention.total) >= 0.005 or contention.overload_ppm > 0


def present_load(cluster: Cluster, scenarios: ScenarioSet) -> list[tuple[float | None, ...]]:
    """Return the share of its usable capacity that each host's VMs want now.

    Returns
    -------
    list
        Per host a fraction for each :class:`Resource`; ``None`` where it is unlimited.
    """
    import numpy as np

    ordered = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
    position = {host.id: h for h, host in enumerate(cluster.hosts)}
    hosts = np.array(
        [-1 if vm.host_id is None else position[vm.host_id] for vm in cluster.vms], dtype=np.int64
    )
    loads = host_loads(ordered.demand[0, :, :, 0], hosts, len(cluster.hosts))
    capacity = capacity_array(cluster)
    return [
        tuple(
            None if limit == UNLIMITED else load / max(1, limit)
            for load, limit in zip(row, limits, strict=True)
        )
        for row, limits in zip(loads.tolist(), capacity.tolist(), strict=True)
    ]


def plan_table(plan: Plan, reasons: Mapping[str, str] | None) -> Table:
    """Return the steps of a plan in their order, with a column of reasons if there are any."""
    table = Table(
        title="Plan", title_justify="left", box=SIMPLE_HEAD, show_lines=reasons is not None
    )
    table.add_column("step", justify="right")
    table.add_column("VM", no_wrap=True)
    table.add_column("from → to", no_wrap=True)
    table.add_column("start to end, s", justify="right")
    table.add_column("MiB", justify="right")
    table.add_column("cost", justify="right")
    if reasons is not None:
        table.add_column("reason", ratio=1)
    for number, step in enumerate(plan.steps, 1):
        way = f"{step.source_id or '(off)'} → {step.destination_id}"
        if step.kind is StepKind.START:
            way = f"start on {step.destination_id}"
        elif step.parking:
            way += " (parked)"
        table.add_row(
            str(number),
            step.vm_id,
            way,
            f"{step.start_ms / 1000:.0f} to {step.end_ms / 1000:.0f}",
            f"{step.transferred_mib:,}",
            host_s(step.cost.total),
            *(() if reasons is None else (reasons.get(step.vm_id, step.reason),)),
        )
    return table


def terms_table(before: Score, after: Score) -> Table:
    """Return every term of the objective, of doing nothing and of the plan."""
    table = Table(title="Objective, host-seconds", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("term")
    table.add_column("doing nothing", justify="right")
    table.add_column("with the plan", justify="right")
    for term in TERMS:
        values = getattr(before, term), getattr(after, term)
        if any(values):
            table.add_row(term.replace("_", " "), *(host_s(value) for value in values))
    table.add_section()
    table.add_row("total", host_s(before.total), host_s(after.total), style="bold")
    return table


def hosts_table(cluster: Cluster) -> Table:
    """Return the hosts: state, VMs, and the memory that is reserved of what they have."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("host", no_wrap=True)
    table.add_column("state")
    for name in ("VMs", "vCPUs", "cores", "memory\nreserved", "memory\nMiB"):
        table.add_column(name, justify="right")
    table.add_column("processor")
    for host in cluster.hosts:
        vms = [vm for vm in cluster.vms if vm.host_id == host.id]
        memory = sum(reserved_amounts(vm, host)[Resource.MEMORY] for vm in vms)
        cpu, usable = host.usable()[Resource.CPU], host.usable()[Resource.MEMORY]
        table.add_row(
            host.id,
            host.state.value,
            f"{len(vms)}",
            f"{sum(vm.allocation.cpu_millicores for vm in vms) // 1000}",
            "–" if cpu is None else f"{cpu / 1000:g}",
            percent(memory / usable if usable else None),
            "–" if usable is None else f"{usable:,}",
            host.cpu_model,
        )
    return table


def moves_table(report: ExecutionReport) -> Table:
    """Return the steps of a plan that is being carried out, and where each stands."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("VM", "from", "to", "state"):
        table.add_column(name, no_wrap=name != "state")
    for name in ("sent\nMiB", "down\nms", "tries"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for outcome in report.outcomes:
        step, state = outcome.step, outcome.state.value.replace("_", " ")
        running = 0 < outcome.fraction < 1
        table.add_row(
            step.vm_id,
            step.source_id or "",
            step.destination_id,
            f"{state} {percent(outcome.fraction)}" if running else state,
            f"{outcome.transferred_mib:,}" if outcome.transferred_mib else "",
            "" if outcome.downtime_ms is None else f"{outcome.downtime_ms:,}",
            f"{outcome.attempts}" if outcome.attempts else "",
            outcome.reason,
        )
    return table


def violation_lines(violations: Iterable[Violation]) -> list[Text]:
    """Return one line per violation, the hard ones first."""
    lines = []
    for violation in sorted(violations, key=lambda violation: not violation.hard):
        kind = Text("hard  ", "bold red") if violation.hard else Text("soft  ", "yellow")
        lines.append(kind + Text(violation.message))
    return lines


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, plural where it is due.

    >>> counted(1, "move"), counted(2, "move")
    ('1 move', '2 moves')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def joined(parts: Sequence[str]) -> str:
    """Return parts as one phrase.

    >>> joined(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
