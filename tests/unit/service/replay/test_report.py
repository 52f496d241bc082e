"""What a replay says of its policies."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from service.replay.config import POLICIES, ReplayConfig
from service.replay.report import PolicyFigures, ReplayReport, print_report

AT = datetime(2013, 9, 4, tzinfo=UTC)
FIGURES = PolicyFigures(
    weighted_shortfall_host_s=204_511.6,
    weighted_shortfall_host_s_by_resource={},
    proportional_shortfall_host_s=300_000.0,
    shortfall_host_s=293_532.0,
    shortfall_host_s_by_resource={},
    overloaded_host_intervals=2_858,
    migrations=1_008,
    failed_migrations=0,
    dropped_moves=0,
    gib_moved=10_418.2,
    downtime_s=132.7,
    unplaced_vm_s=0.0,
    violations=0,
    plans=96,
    planning_s=(0.7, 1.3),
)


def printed(policies: dict[str, dict[str, Any]]) -> str:
    """Return the report on a terminal of 80 characters."""
    config = ReplayConfig(
        trace=Path("trace.parquet"),
        num_hosts=24,
        host_cores=32,
        host_memory_gib=576,
        from_at=AT,
        until_at=AT + timedelta(days=1),
    )
    out = io.StringIO()
    report = ReplayReport(config=config, policies=policies, seconds=1.0, num_vms=847)
    print_report(report, Console(file=out, width=80))
    return out.getvalue()


def test_nine_policies_fit_a_terminal() -> None:
    """A row for each, nothing cut off, and nothing said of what did not happen."""
    text = printed(dict.fromkeys(POLICIES, FIGURES.document()))
    rows = [line.split() for line in text.splitlines() if line.strip().startswith(POLICIES)]
    assert [row[0] for row in rows] == list(POLICIES)
    for row in rows:
        assert row[1:7] == ["204,512", "300,000", "2,858", "1,008", "10,418", "133"]
    assert "…" not in text
    assert "violations" not in text


def test_what_is_seldom_is_said_of_whom_it_happened_to() -> None:
    """Violations, failed and dropped moves, and even a third of a second without a host."""
    bad = replace(FIGURES, violations=2, failed_migrations=1, dropped_moves=3, unplaced_vm_s=0.3)
    text = printed({"reactive": bad.document(), "none": FIGURES.document()})
    assert "violations of rules or capacities: reactive 2\n" in text
    assert "moves failed: reactive 1\n" in text
    assert "moves dropped: reactive 3\n" in text
    assert "without a host: reactive 0.3\n" in text
