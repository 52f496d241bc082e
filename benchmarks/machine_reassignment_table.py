"""Runs all public machine reassignment instances of a folder and prints a table of scores.

    python -m benchmarks.machine_reassignment_table --instances DIR --jsonl FILE
        [--checker FILE] [--seconds 300] [--seeds 3] [--only b_1,b_2]

The folder holds ``model_*.txt`` and ``assignment_*.txt``; the public checker, by default
``checker.py`` in the same folder, judges every answer. Each run is a line of the JSONL file,
written as soon as it is known; runs that the file already holds are not repeated, so a broken
series goes on where it was. Scores are gaps in percent of the initial cost, summed over instances;
lower is better.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.instances.machine_reassignment_known import KNOWN

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instances", type=Path, required=True)
    parser.add_argument("--jsonl", type=Path, required=True)
    parser.add_argument("--checker", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of instances, separated by commas")
    arguments = parser.parse_args()
    checker = arguments.checker or arguments.instances / "checker.py"
    names = [name for name in KNOWN if (arguments.instances / f"model_{name}.txt").is_file()]
    if arguments.only:
        names = [name for name in names if name in arguments.only.split(",")]
    rows = read_rows(arguments.jsonl)
    done = {(row["instance"], row["seed"], row["seconds"]) for row in rows}
    for seed in range(arguments.seeds):
        for name in names:
            if (name, seed, arguments.seconds) not in done:
                row = run(arguments.instances, name, arguments.seconds, seed, checker)
                rows.append(row)
                with arguments.jsonl.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
    chosen = [row for row in rows if row["seconds"] == arguments.seconds]
    print("\n".join(table([row for row in chosen if row["instance"] in names])))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the runs that a file holds, none if there is no such file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def run(folder: Path, name: str, seconds: float, seed: int, checker: Path) -> dict[str, Any]:
    """Return what one run reached, by the checker's judgement, and how long it took."""
    model, initial = folder / f"model_{name}.txt", folder / f"assignment_{name}.txt"
    with tempfile.TemporaryDirectory() as kept:
        new = Path(kept) / "new.txt"
        command = [sys.executable, "-m", "benchmarks.machine_reassignment"]
        command += ["--model", str(model), "--initial", str(initial), "--out", str(new)]
        command += ["--seconds", str(seconds), "--seed", str(seed)]
        begun_s = time.monotonic()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        wall_s = time.monotonic() - begun_s
        judged = subprocess.run(
            [sys.executable, str(checker), str(model), str(initial), str(new), "--json"],
            stdout=subprocess.PIPE,
            check=False,
        )
        verdict = json.loads(judged.stdout)
    return {
        "instance": name,
        "seed": seed,
        "seconds": seconds,
        "wall_s": round(wall_s, 2),
        "feasible": verdict["feasible"],
        "cost": verdict["cost"]["total"],
        "moved": verdict["cost"]["moved"],
    }


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table of scores, with a sum for each set of instances."""
    lines = [
        f"{'instance':<9}{'runs':>5}{'best':>16}{'median':>16}{'score best':>12}{'median':>9}"
        f"{'challenge':>11}{'below winner':>14}{'longest s':>11}"
    ]
    sums: dict[str, list[float]] = {}
    for name in KNOWN:
        runs = [row for row in rows if row["instance"] == name]
        if not runs:
            continue
        known = KNOWN[name]
        costs = sorted(row["cost"] for row in runs if row["feasible"])
        longest = max(row["wall_s"] for row in runs)
        if len(costs) < len(runs):
            lines.append(f"{name:<9}{len(runs):>5}  infeasible: {len(runs) - len(costs)} runs")
            continue
        median = int(statistics.median(costs))
        figures = [known.score(costs[0]), known.score(median), known.challenge_score(median)]
        kept = sums.setdefault(name[0], [0.0, 0.0, 0.0])
        for i, figure in enumerate(figures):
            kept[i] += figure
        below = "yes" if median <= known.winner_average else "no"
        lines.append(
            f"{name:<9}{len(runs):>5}{costs[0]:>16,}{median:>16,}{figures[0]:>12.4f}"
            f"{figures[1]:>9.4f}{figures[2]:>11.4f}{below:>14}{longest:>11.2f}"
        )
    lines += [
        f"{'sum of ' + letter:<46}{best:>12.4f}{median:>9.4f}{challenge:>11.4f}"
        for letter, (best, median, challenge) in sums.items()
    ]
    lines.append("Scores: against the lowest sourced values; challenge: median against its best.")
    return lines


if __name__ == "__main__":
    main()
