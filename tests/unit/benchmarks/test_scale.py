"""The benchmark of sizes: each row once, nothing worse than greedy, greedy never than nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.scale import excess_percent, mean_interval, path_totals, raised
from solver.domain.weights import to_host_s
from tests.builders import make_cluster, make_host, make_scenarios, make_vm


def test_rows_are_measured_once_and_kept(tmp_path: Path) -> None:
    """The smallest size gives two rows; a second call runs nothing and changes nothing."""
    out = tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--json", str(out), "--sizes", "8/80"]
    command += ["--seconds", "1", "--reference-seconds", "2"]
    subprocess.run(command, check=True, capture_output=True)
    text = out.read_text(encoding="utf-8")
    rows = json.loads(text)
    assert [row["ruled"] for row in rows] == [0.0, 0.2]
    for row in rows:
        assert row["bound_host_s"] <= row["portfolio_host_s"] <= row["greedy_host_s"]
        assert row["greedy_host_s"] <= row["before_host_s"]
        assert row["total_s"] < 1.5
        assert row["peak_mib"] > 0
        gain = row["fresh_gain"]
        assert gain["low_host_s"] <= gain["mean_host_s"] <= gain["high_host_s"]
        saved = row["greedy_fresh_host_s"] - row["portfolio_fresh_host_s"]
        assert gain["mean_host_s"] == pytest.approx(saved, abs=1e-8)
        best = min(row["portfolio_host_s"], row["reference_host_s"])
        excess = 100 * (row["portfolio_host_s"] / best - 1)
        assert row["excess"] == pytest.approx(excess, abs=1e-6)
        assert row["reference_bound_host_s"] <= best
        assert row["reference_s"] == 2
        assert gain["cheaper"] + gain["dearer"] <= gain["paths"] == 256
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert out.read_text(encoding="utf-8") == text
    assert "done" not in again.stderr
    assert "8/80" in again.stdout
    assert "reference" in again.stdout


def test_excess_is_over_the_best_known() -> None:
    """Nothing where the shorter run was as good or better; no percents of nothing."""
    assert excess_percent(110, 100) == 10.0
    assert excess_percent(100, 110) == 0.0
    assert excess_percent(0, 0) == 0.0
    assert excess_percent(1, 0) is None


def test_a_margin_raises_the_future_alone() -> None:
    """The present stays: what VMs use now is known."""
    cluster = make_cluster([make_host("h1")], [make_vm("v1")])
    scenarios = make_scenarios(cluster, {"v1": [2.0, 4.0]}, present={"v1": 3.0})
    more = raised(scenarios, 5.0).demand
    assert (more[..., 0] == scenarios.demand[..., 0]).all()
    assert (more[..., 1:] * 100 == scenarios.demand[..., 1:] * 105).all()
    assert (raised(scenarios, 0.0).demand == scenarios.demand).all()


def test_every_path_is_scored_as_if_it_were_the_whole_future() -> None:
    """Ten cores, twelve wanted for an hour: 720 host-seconds, on the paths that want them."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2")]
    )
    scenarios = make_scenarios(cluster, {"v1": 6.0, "v2": [1.0, 6.0, 5.0, 6.0]})
    totals = path_totals(cluster, scenarios, cluster.placement)
    assert [round(to_host_s(total)) for total in totals.tolist()] == [0, 720, 360, 720]


def test_an_interval_holds_the_mean_and_tells_luck_from_gain() -> None:
    """Differences that are one number leave no doubt; a rare large one leaves a lot."""
    assert mean_interval(np.full(256, 7), seed=0) == (7.0, 7.0)
    noise = np.random.default_rng(3).normal(0.0, 1000.0, 256).astype(np.int64)
    low, high = mean_interval(noise - round(noise.mean()), seed=0)
    # 1.96 standard errors on each side, as for any mean of many.
    assert -150 < low < -90
    assert 90 < high < 150
    rare = np.where(np.arange(256) == 0, 256_000, 0)
    low, high = mean_interval(rare, seed=0)
    assert low == 0.0
    assert high >= 2_000
