"""How a frame looks: renderables for a terminal of any size, from plain data alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from executor.states import MoveState
from service.demo.frame import Frame, HostFrame, MoveFrame, Summary, Usage
from service.tables import counted

WIDE: Final = 165
"""Columns from which hosts and plan stand side by side."""
NARROW: Final = 98
"""Columns below which memory is told in numbers only."""
BAR_ENDS_AT: Final = 1.25
"""Demand, as a fraction of capacity, at the right end of a bar."""
_HOSTS_WIDTH: Final = 96

_ORDER: Final = {
    MoveState.ADRIFT: 0,
    MoveState.FAILED: 1,
    MoveState.RUNNING: 2,
    MoveState.STARTING: 2,
    MoveState.VERIFYING: 2,
    MoveState.CANCELLING: 2,
    MoveState.POST_COPY: 2,
    MoveState.BACKING_OFF: 3,
    MoveState.WAITING: 4,
    MoveState.UNAPPROVED: 4,
}
"""What the operator wants to see first where not everything fits; all else comes last."""


def draw(frame: Frame, width: int, height: int) -> RenderableType:
    """Return a frame as it fits a terminal of ``width`` columns and ``height`` rows."""
    title = _title(frame)
    figures = _figures(frame)
    if width >= WIDE:
        hosts = host_table(frame.hosts, _HOSTS_WIDTH, height - 3)
        right = Group(figures, Text(), plan_panel(frame, width - _HOSTS_WIDTH - 4, height - 8))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=_HOSTS_WIDTH)
        grid.add_column()
        grid.add_row(hosts, right)
        return Group(title, Text(), grid)
    # Every host if the plan keeps a few rows, else as many as leave it some.
    rows = max(3, min(len(frame.hosts) + 1, height - 12))
    plan_rows = height - rows - 7
    return Group(
        title, host_table(frame.hosts, width, rows), figures, plan_panel(frame, width, plan_rows)
    )


def host_table(hosts: Sequence[HostFrame], width: int, rows: int) -> Table:
    """Return the hosts, or where they do not all fit in ``rows`` the hottest of them."""
    shown = list(hosts)
    if len(hosts) > rows - 1:
        hottest = sorted(hosts, key=lambda host: -_heat(host))[: max(1, rows - 2)]
        kept = {host.id for host in hottest}
        shown = [host for host in hosts if host.id in kept]
    roomy = width >= NARROW - 2
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("host", no_wrap=True)
    table.add_column("VMs", justify="right")
    table.add_column("CPU █ now ▒ p95 in 1 h" if roomy else "CPU", no_wrap=True)
    for name in ("now", "p50", "p95"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("memory" if roomy else "mem", no_wrap=True, justify="left")
    for name in ("now", "p50", "p95") if roomy else ("p95",):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("P(over)", justify="right", no_wrap=True)
    table.add_column("moves", no_wrap=True)
    for host in shown:
        memory: list[RenderableType] = [_number(host.memory.now)]
        if roomy:
            memory.insert(0, bar(host.memory, 8))
            memory.append(_number(host.memory.p50))
        memory.append(_number(host.memory.p95))
        table.add_row(
            host.id,
            str(host.num_vms),
            bar(host.cpu, 25 if roomy else 12),
            _number(host.cpu.now),
            _number(host.cpu.p50),
            _number(host.cpu.p95),
            *memory,
            _score(host.score_host_s),
            _chance(host.overload),
            _arrows(host),
        )
    if len(shown) < len(hosts):
        table.add_row(f"… {len(hosts) - len(shown)} cooler", style="dim")
    return table


def bar(usage: Usage, cells: int) -> Text:
    """Return demand as a bar: solid what is wanted now, shaded up to the predicted p95.

    The capacity is marked; what lies beyond it is red.
    """
    capacity = round(cells / BAR_ENDS_AT)
    now = round(usage.now * capacity)
    later = round(usage.p95 * capacity)
    text = Text(no_wrap=True)
    for cell in range(cells):
        over = cell >= capacity
        if cell < now:
            text.append("█", "red" if over else _colour(usage.now))
        elif cell < later:
            text.append("▒", "red" if over else _colour(usage.p95))
        else:
            text.append("│" if cell == capacity else "·" if cell < capacity else " ", "dim")
    return text


def plan_panel(frame: Frame, width: int, rows: int) -> RenderableType:
    """Return the present plan, a move a row; what is under way comes first if not all fit."""
    head = Text("plan", "bold")
    if frame.engine:
        head.append(
            f": {counted(len(frame.moves), 'move')}, made in {frame.planning_s:.1f} s", "default"
        )
    if not frame.moves:
        told = "nothing worth moving" if frame.engine else "none yet"
        return Panel(Text(told, "dim"), title=head, title_align="left", padding=(0, 1))
    rows = max(3, rows)
    shown = list(frame.moves)
    if len(shown) > rows:
        shown.sort(key=lambda move: _ORDER.get(move.state, 9))
        shown = shown[: rows - 1]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False)
    # Only the reason gives way in a narrow terminal.
    way = max(len(_way(move)) for move in shown)
    for least in (max(len(move.vm_id) for move in shown), 3, way, 15):
        table.add_column(no_wrap=True, min_width=least)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for move in shown:
        table.add_row(
            move.vm_id,
            f"p{move.priority}",
            _way(move),
            _progress(move),
            Text(move.reason),
        )
    rest = len(frame.moves) - len(shown)
    if rest:
        done = sum(move.state is MoveState.DONE for move in frame.moves)
        table.add_row("…", "", f"{rest} more", f"{done} done", style="dim")
    return Panel(
        table,
        title=head,
        title_align="left",
        subtitle=Text("priority p; saves and costs in host-seconds", "dim"),
        subtitle_align="right",
        padding=(0, 1),
        width=width,
    )


def summary_report(summary: Summary) -> RenderableType:
    """Return what the demonstration came to."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("left alone", justify="right")
    table.add_column("with foreswap", justify="right")
    ours, control, expected = summary.ours, summary.control, summary.expected
    if expected.num_paths:
        table.add_row(
            "expected shortfall, first plan, host-s (weighted)",
            f"{expected.without_plan:,.1f}",
            f"{expected.with_plan:,.1f}",
        )
    table.add_row(
        "shortfall that came, host-s (weighted)",
        f"{control.weighted_host_s:,.1f}",
        f"{ours.weighted_host_s:,.1f}",
    )
    table.add_row(
        "shortfall that came, host-s (plain)",
        f"{control.plain_host_s:,.1f}",
        f"{ours.plain_host_s:,.1f}",
    )
    table.add_row(
        "overloaded host-intervals of 5 minutes",
        f"{control.overloaded_host_intervals:,}",
        f"{ours.overloaded_host_intervals:,}",
    )
    effort = summary.effort
    failed = f" ({effort.failed_migrations} failed)" if effort.failed_migrations else ""
    head = "interrupted; " if summary.interrupted else ""
    return Group(
        Text(
            f"{head}{summary.started_at:%H:%M} to {summary.ended_at:%H:%M} UTC, simulated: "
            f"{counted(summary.cycles, 'plan')}, {summary.plans_with_moves} with moves, "
            f"{summary.planning_s:.1f} s each (median)"
        ),
        Text(
            f"{counted(effort.migrations, 'migration')}{failed}, {effort.gib_moved:,.0f} GiB sent, "
            f"{effort.downtime_s:.1f} s of downtime in all, "
            f"{counted(effort.violations, 'violation')} of rules or capacities"
        ),
        Text(),
        table,
    )


def _title(frame: Frame) -> Text:
    return Text.assemble(
        ("foreswap demo", "bold"),
        f" · {frame.now:%a %d %b %H:%M:%S} UTC, simulated · ",
        f"plan {frame.cycle} of {frame.num_cycles} · ",
        (frame.phase, "bold cyan"),
        no_wrap=True,
        overflow="ellipsis",
    )


def _figures(frame: Frame) -> RenderableType:
    """Return the figures before and after, expected and suffered."""
    expected, ours, control = frame.expected, frame.ours, frame.control
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    for _ in range(2):
        table.add_column(no_wrap=True, min_width=10)
    table.add_row(
        Text("shortfall, host-s, weighted", "bold"),
        Text("left alone", "bold"),
        Text("foreswap", "bold"),
    )
    table.add_row(
        f"expected in the next hour ({expected.num_paths} paths)",
        _shortfall(expected.without_plan),
        _shortfall(expected.with_plan),
    )
    table.add_row(
        "suffered so far (in a twin, and here)",
        _shortfall(control.weighted_host_s),
        Text.assemble(
            _shortfall(ours.weighted_host_s),
            f"  ({counted(frame.effort.migrations, 'move')}, {frame.effort.gib_moved:,.0f} GiB)",
        ),
    )
    return table


def _way(move: MoveFrame) -> str:
    return f"{move.source_id} → {move.destination_id}"


def _progress(move: MoveFrame) -> Text:
    match move.state:
        case MoveState.DONE:
            return Text("✓ done", "green")
        case MoveState.WAITING:
            return Text("waits", "dim")
        case MoveState.RUNNING:
            cells = 9
            full = round(move.fraction * cells)
            return Text.assemble(
                ("━" * full, "cyan"),
                ("─" * (cells - full), "dim"),
                f" {100 * move.fraction:3.0f} %",
            )
        case MoveState.FAILED | MoveState.ADRIFT | MoveState.ABORTED | MoveState.SKIPPED:
            return Text(f"✗ {move.state.value}", "red")
        case _:
            return Text(move.state.value.replace("_", " "), "yellow")


def _heat(host: HostFrame) -> float:
    return max(host.cpu.now, host.cpu.p95, host.memory.now, host.memory.p95)


def _colour(fraction: float) -> str:
    if fraction < 0.7:
        return "green"
    return "yellow" if fraction <= 1.0 else "red"


def _number(fraction: float) -> Text:
    return Text(f"{100 * fraction:.0f}%", _colour(fraction))


def _score(host_s: float) -> Text:
    if host_s < 0.05:
        return Text("0", "dim")
    return Text(f"{host_s:,.1f}" if host_s < 1000 else f"{host_s:,.0f}", "bold")


def _shortfall(host_s: float) -> Text:
    return Text(f"{host_s:,.1f}", "bold")


def _chance(probability: float) -> Text:
    if probability < 0.005:
        return Text("0%", "dim")
    style = "red" if probability >= 0.5 else "yellow" if probability >= 0.05 else ""
    return Text(f"{100 * probability:.0f}%", style)


def _arrows(host: HostFrame) -> Text:
    out = f"▲{host.outgoing}" if host.outgoing else ""
    into = f"▼{host.incoming}" if host.incoming else ""
    return Text(" ".join(filter(None, (out, into))), "cyan")
