"""The figures of a replay: what each policy spared, and what it spent.

Shortfall is demand that a host could not serve, integrated over time, as a share of the reference
host: host-seconds. The weighted figure multiplies by the weight of the VM's soft priority (the
host serves the highest priority first) and of the resource; the plain figure multiplies by
neither. Time spent migrating burdens both ends and counts like any load.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from service.files import write_text
from service.replay.config import ReplayConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFigures:
    """What one policy led to over the whole window.

    Parameters
    ----------
    weighted_shortfall_host_s, shortfall_host_s
        In all, and per resource in the fields below, by name with unit.
    proportional_shortfall_host_s
        The weighted figure if hosts shared in proportion to demand instead of by priority.
    overloaded_host_intervals
        Five-minute intervals, summed over hosts, in which a host's mean demand exceeded its
        capacity on some resource.
    migrations, failed_migrations
        Live migrations that ended well, and those that did not.
    dropped_moves
        Planned moves that were not begun: the last check said no, or the next plan was due.
    unplaced_vm_s
        Seconds that VMs should have run and found no room, summed over VMs.
    violations
        Must be 0: what the checker finds wrong with any plan, at any instant of it, and with the
        cluster at every decision, and what moves newly broke in the simulated cluster.
    planning_s
        Seconds each plan took, forecast included.
    """

    weighted_shortfall_host_s: float
    weighted_shortfall_host_s_by_resource: dict[str, float]
    proportional_shortfall_host_s: float
    shortfall_host_s: float
    shortfall_host_s_by_resource: dict[str, float]
    overloaded_host_intervals: int
    migrations: int
    failed_migrations: int
    dropped_moves: int
    gib_moved: float
    downtime_s: float
    unplaced_vm_s: float
    violations: int
    plans: int
    planning_s: tuple[float, ...] = field(repr=False, default=())

    def document(self) -> dict[str, Any]:
        """Return the figures as plain JSON values, planning times as their quantiles."""
        values = asdict(self)
        seconds = sorted(values.pop("planning_s"))
        values["planning_s_p50"] = statistics.median(seconds) if seconds else 0.0
        values["planning_s_p99"] = seconds[int(0.99 * (len(seconds) - 1))] if seconds else 0.0
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """A finished replay."""

    config: ReplayConfig
    policies: dict[str, dict[str, Any]]
    seconds: float
    num_vms: int

    def document(self) -> dict[str, Any]:
        """Return the report as one JSON document."""
        return {
            "foreswap": "replay",
            "version": 1,
            "config": self.config.document(),
            "num_vms": self.num_vms,
            "policies": self.policies,
            "seconds": self.seconds,
            "machine": machine(),
        }


def machine() -> dict[str, Any]:
    """Return where and on what code figures were made."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def write_report(report: ReplayReport, path: Path) -> None:
    """Write the report as JSON, whole or not at all."""
    write_text(path, json.dumps(report.document(), indent=2) + "\n")


COLUMNS: Final = (
    ("short", "weighted_shortfall_host_s", "{:,.0f}"),
    ("alike", "proportional_shortfall_host_s", "{:,.0f}"),
    ("over", "overloaded_host_intervals", "{:,d}"),
    ("moves", "migrations", "{:,d}"),
    ("GiB", "gib_moved", "{:,.0f}"),
    ("still", "downtime_s", "{:,.0f}"),
    ("plan", "planning_s_p50", "{:.2f}"),
    ("99 %", "planning_s_p99", "{:.2f}"),
)
"""Heading, figure and format; a replay of all policies fits 80 characters."""

LEGEND: Final = (
    "short: host-seconds of shortfall times priority, the highest priority served first (alike: "
    "shared in proportion to demand); over: five-minute intervals of an overloaded host; still: "
    "seconds of downtime; plan: seconds of planning, median and 99 %."
)
SELDOM: Final = (
    ("violations of rules or capacities", "violations"),
    ("moves failed", "failed_migrations"),
    ("moves dropped", "dropped_moves"),
    ("seconds of VMs without a host", "unplaced_vm_s"),
)
"""Told only of policies that have any."""


def print_report(report: ReplayReport, console: Console) -> None:
    """Print the comparison as a table, a row for each policy; what is seldom, only where it was."""
    table = Table(title=_title(report), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("policy", no_wrap=True)
    for label, _, _ in COLUMNS:
        table.add_column(label, justify="right")
    for name, figures in report.policies.items():
        table.add_row(name, *(form.format(figures[key]) for _, key, form in COLUMNS))
    console.print(table)
    console.print(LEGEND, highlight=False)
    for label, key in SELDOM:
        seen = [f"{name} {f[key]:,g}" for name, f in report.policies.items() if f[key]]
        if seen:
            console.print(f"{label}: {', '.join(seen)}", highlight=False)


def _title(report: ReplayReport) -> str:
    config = report.config
    return (
        f"{config.trace.name}, {config.num_hosts} hosts × {config.host_cores} cores × "
        f"{config.host_memory_gib} GiB, {report.num_vms} VMs, {config.from_at:%d %b %Y %H:%M} to "
        f"{config.until_at:%d %b %Y %H:%M} UTC, a plan every {config.interval_minutes} min, "
        f"seed {config.seed}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _commit() -> str:
    """Return the checkout's commit, with a mark when it was changed; empty outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7"],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
