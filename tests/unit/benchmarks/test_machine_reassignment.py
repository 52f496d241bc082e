"""The reassignment benchmark's commands: what is written, when they end, what a table sums."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.instances.machine_reassignment import read_assignment
from benchmarks.instances.machine_reassignment_known import KNOWN
from benchmarks.machine_reassignment import MANNERS, Best, shares
from benchmarks.machine_reassignment_table import read_rows, table

REPOSITORY = Path(__file__).resolve().parents[3]

MODEL = "1 0 1  2 0 0 9 2 0 1 0 0 9 5 1 0  2 0 0 0 0  2 0 3 1 1 3 1  0  1 1 1"
"""Two machines, of which the first is too full for two processes of one resource."""

pytestmark = pytest.mark.timeout(600)


def command(folder: Path, seconds: float) -> list[str]:
    """Return the command that solves the model in a folder."""
    (folder / "model.txt").write_text(MODEL, encoding="ascii")
    (folder / "initial.txt").write_text("0 0", encoding="ascii")
    names = {"--model": "model.txt", "--initial": "initial.txt", "--out": "new.txt"}
    paths = [part for name, file in names.items() for part in (name, str(folder / file))]
    options = ["--seconds", str(seconds), "--json", str(folder / "report.json")]
    return [sys.executable, "-m", "benchmarks.machine_reassignment", *paths, *options]


def test_an_interrupt_writes_the_best_so_far(tmp_path: Path) -> None:
    """Ctrl-C ends a long run at once, and the assignment is there."""
    process = subprocess.Popen(
        command(tmp_path, 3600), cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    # Its first improvement is some seconds away, or a minute where kernels are compiled first.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=5.0)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(read_assignment(tmp_path / "new.txt")) == 2
    assert json.loads(output)["seconds"] == 3600


def test_a_run_ends_in_time(tmp_path: Path) -> None:
    """Whatever has to be compiled, the assignment is written within a second of the limit."""
    begun_s = time.monotonic()
    subprocess.run(command(tmp_path, 6), cwd=REPOSITORY, check=True)
    assert time.monotonic() - begun_s < 7.0
    assert sorted(read_assignment(tmp_path / "new.txt").tolist()) in ([0, 0], [0, 1])
    assert json.loads((tmp_path / "report.json").read_text())["seconds_total"] < 7.0


def test_time_for_more_is_used_for_more() -> None:
    """Annealings of the same length, as long as each has enough; one for large instances."""
    assert shares(50_000, 300.0) == shares(1_000, 100.0) == [1.0]
    left, lengths = 300.0, []
    for share in shares(1_000, 300.0):
        lengths.append(share * left)
        left -= lengths[-1]
    assert lengths == pytest.approx([60.0] * 5)
    assert len(shares(100, 300.0)) == 50


def test_the_better_manner_is_told_by_its_best() -> None:
    """Not by what it found last, nor by how often."""
    hosts = np.zeros(2, dtype=np.int64)
    best = Best(hosts)
    assert best.manner() == MANNERS[0]
    for manner, total in ((0, 9), (1, 7), (1, 12), (0, 8), (0, 10)):
        best.offer(MANNERS[manner], hosts + total, total)
    assert best.manner() == MANNERS[1]
    assert (best.total, best.hosts.tolist()) == (7, [7, 7])


def test_the_table_sums_scores_of_feasible_runs(tmp_path: Path) -> None:
    """Gaps in percent of the initial cost, best and median; an infeasible run is called out."""
    known = KNOWN["b_1"]
    gap = known.initial // 100
    rows = [
        {"instance": "b_1", "cost": known.best + gap * n, "feasible": True, "wall_s": 9.0}
        for n in (1, 2, 4)
    ]
    rows.append({"instance": "b_2", "cost": 1, "feasible": False, "wall_s": 9.0})
    lines = table(rows)
    assert lines[1].split()[4:6] == ["1.0000", "2.0000"]
    assert "infeasible: 1 runs" in lines[2]
    assert lines[3].startswith("sum of b")
    assert read_rows(tmp_path / "none.jsonl") == []
