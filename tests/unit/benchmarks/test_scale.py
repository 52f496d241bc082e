"""The benchmark of sizes: each row once, nothing worse than greedy, greedy never than nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_rows_are_measured_once_and_kept(tmp_path: Path) -> None:
    """The smallest size gives two rows; a second call runs nothing and changes nothing."""
    out = tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--json", str(out), "--sizes", "8/80"]
    command += ["--seconds", "1"]
    subprocess.run(command, check=True, capture_output=True)
    text = out.read_text(encoding="utf-8")
    rows = json.loads(text)
    assert [row["ruled"] for row in rows] == [0.0, 0.2]
    for row in rows:
        assert row["bound_host_s"] <= row["portfolio_host_s"] <= row["greedy_host_s"]
        assert row["greedy_host_s"] <= row["before_host_s"]
        assert row["total_s"] < 1.5
        assert row["peak_mib"] > 0
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert out.read_text(encoding="utf-8") == text
    assert "done" not in again.stderr
    assert "8/80" in again.stdout
