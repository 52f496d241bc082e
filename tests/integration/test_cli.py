"""The command line: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast.linear import LinearQuantiles
from forecast.persist import load_model
from forecast.quantile import TrainingSettings
from service.cli import run
from solver import portfolio
from solver.portfolio import Answer

COMMAND = Path(sysconfig.get_path("scripts")) / "foreswap"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def cluster_document() -> dict[str, Any]:
    """Return two hosts, the first of which will be overloaded, and four VMs."""
    size = {"cpu_millicores": 6000, "memory_mib": 8192}
    return {
        "foreswap": "cluster",
        "version": 1,
        "observed_at": "2026-03-02T12:00:00Z",
        "hosts": [
            {"id": host, "capacity": {"cpu_millicores": 10_000, "memory_mib": 65_536}}
            for host in ("h1", "h2")
        ],
        "vms": [{"id": f"v{i}", "host_id": "h1", "allocation": size} for i in range(1, 5)],
    }


def scenario_document() -> dict[str, Any]:
    """Return what those VMs will need: together half as much again as the first host has."""
    steps = [2000, 4000, 4000, 4000, 4000]
    demand = {"cpu_millicores": [steps], "memory_mib": [[8192] * 5]}
    return {
        "foreswap": "scenarios",
        "version": 1,
        "start_at": "2026-03-02T12:00:00Z",
        "step_seconds": 900,
        "num_steps": 4,
        "probability_ppm": [1_000_000],
        "demand": {f"v{i}": demand for i in range(1, 5)},
    }


def telemetry(
    *, num_vms: int = 4, num_bins: int = 36, end_at: datetime = NOW
) -> dict[str, list[Any]]:
    """Return tidy columns whose load rises towards the end."""
    start = end_at - timedelta(minutes=5 * num_bins)
    rows: dict[str, list[Any]] = {
        name: [] for name in ("vm", "ts", "cpu_cores", "cpu_used", "mem_mib", "mem_active_mib")
    }
    for v in range(1, num_vms + 1):
        for t in range(num_bins):
            rows["vm"].append(f"v{v}")
            rows["ts"].append(start + timedelta(minutes=5 * t))
            rows["cpu_cores"].append(6.0)
            rows["cpu_used"].append(1.0 + 3.0 * t / num_bins)
            rows["mem_mib"].append(8192.0)
            rows["mem_active_mib"].append(4096.0)
    return rows


def write(path: Path, document: object) -> Path:
    """Write a JSON document, NaN and all, and return its path."""
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def write_parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write a Parquet file and return its path."""
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """A cluster document on disk."""
    return write(tmp_path / "cluster.json", cluster_document())


@pytest.fixture
def scenarios(tmp_path: Path) -> Path:
    """Its demand on disk."""
    return write(tmp_path / "scenarios.json", scenario_document())


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is one line; the help names every command."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("foreswap 0.")
    assert run(["--help"]) == 0
    help_text = capsys.readouterr().out
    for name in ("check", "solve", "import", "train", "backtest", "replay", "demo"):
        assert f" {name} " in help_text


def test_help_loads_no_room() -> None:
    """Neither solver nor forecaster nor hypervisor library is imported to show the help."""
    heavy = ("ortools", "sklearn", "numpy", "pyarrow", "pydantic")
    code = (
        "import sys; from service.cli import run; run(['--help']);"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_check_tells_what_is_wrong_in_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken rules of the start are listed; they are no error, repairing them is daily work."""
    document = cluster_document()
    document["rules"] = [{"kind": "anti_affinity", "id": "apart", "vm_ids": ["v1", "v2"]}]
    document["hosts"][0]["state"] = "maintenance"
    assert run(["check", str(write(tmp_path / "c.json", document))]) == 0
    shown = capsys.readouterr().out
    assert "2 hosts (1 maintenance, 1 up), 4 VMs, 1 rule" in shown
    assert "'h1' is in maintenance" in shown
    assert "'apart'" in shown


def test_check_names_rules_that_contradict_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No placement could keep them: exit code 1, and the smallest set of them in one sentence."""
    document = cluster_document()
    rules = [
        {"kind": "affinity", "id": "near", "vm_ids": ["v1", "v2"]},
        {"kind": "spread", "id": "wide", "vm_ids": ["v1", "v3"], "min_domains": 2, "level": "host"},
        {"kind": "anti_affinity", "id": "apart", "vm_ids": ["v1", "v2"]},
    ]
    document["rules"] = rules
    assert run(["check", str(write(tmp_path / "c.json", document))]) == 1
    told = "contradiction: no placement keeps hard rules 'near' and 'apart' together"
    assert told in capsys.readouterr().out
    document["rules"] = rules[:2]
    assert run(["check", str(write(tmp_path / "c.json", document))]) == 0
    assert "contradiction" not in capsys.readouterr().out


def test_check_knows_every_kind_of_file(
    tmp_path: Path, cluster: Path, scenarios: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scenarios and telemetry are told apart from clusters and summed up."""
    trace = write_parquet(tmp_path / "trace.parquet", telemetry())
    assert run(["check", str(cluster), str(scenarios), str(trace)]) == 0
    shown = capsys.readouterr().out
    assert "every rule and capacity holds" in shown
    assert "1 scenario of 4 VMs over 60 minutes" in shown
    assert "telemetry of 4 VMs, 2026-03-02 09:00 to 2026-03-02 12:00 UTC, 144 readings" in shown


def test_check_judges_a_plan_on_its_cluster(
    tmp_path: Path, cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that would break a capacity is not safe: exit code 1, and what it breaks."""
    step = {"kind": "migrate", "vm_id": "v1", "source_id": "h1", "destination_id": "h2"}
    timed = step | {"start_ms": 0, "end_ms": 10_000, "bandwidth_mib_per_s": 900}
    timed["transferred_mib"] = 8192
    plan = {"foreswap": "plan", "version": 1, "made_at": "2026-03-02T12:00:00Z", "steps": [timed]}
    path = write(tmp_path / "plan.json", plan)
    assert run(["check", str(cluster), str(path)]) == 0
    assert "is safe on this cluster" in capsys.readouterr().out
    document = cluster_document()
    document["hosts"][1]["capacity"]["memory_mib"] = 4096
    small = write(tmp_path / "small.json", document)
    assert run(["check", str(small), str(path)]) == 1
    assert "breaks what held" in capsys.readouterr().out


def test_solve_from_scenarios(
    tmp_path: Path, cluster: Path, scenarios: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan relieves the overloaded host, says why, and is written whole."""
    result, plan = tmp_path / "result.json", tmp_path / "plan.json"
    words = ["solve", str(cluster), "--scenarios", str(scenarios), "--limit", "5s"]
    assert run([*words, "--json", str(result), "--plan", str(plan)]) == 0
    shown = capsys.readouterr().out
    assert "h1 → h2" in shown
    # The reason, which a narrow table wraps.
    assert "host-s" in shown
    assert "priority 5" in shown
    written = json.loads(result.read_text(encoding="utf-8"))
    assert written["after"]["total"] < written["before"]["total"]
    assert written["plan"] == json.loads(plan.read_text(encoding="utf-8"))
    assert run(["check", str(cluster), str(plan)]) == 0


def test_solve_says_which_engine_failed(
    tmp_path: Path,
    cluster: Path,
    scenarios: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The answer is there all the same, and the document says so as well."""
    failure = "engine cpsat failed: OSError: [Errno 12] Cannot allocate memory"

    def half(*arguments: Any, **options: Any) -> Answer:
        return replace(portfolio.run(*arguments, **options), failures=(failure,))

    monkeypatch.setattr("solver.solve.run", half)
    result = tmp_path / "result.json"
    words = ["solve", str(cluster), "--scenarios", str(scenarios), "--json", str(result)]
    assert run(words) == 0
    told = capsys.readouterr()
    assert "h1 → h2" in told.out
    assert f"{failure}; the answer is what other engines found" in told.err
    assert json.loads(result.read_text(encoding="utf-8"))["failures"] == [failure]


@pytest.mark.parametrize("engine", ["greedy", "cpsat"])
def test_solve_with_one_engine(
    engine: str, cluster: Path, scenarios: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine can be asked for by name."""
    words = ["solve", str(cluster), "--scenarios", str(scenarios), "--engine", engine]
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "h1 → h2" in shown
    assert "; engine " in shown


def test_solve_from_a_young_history(
    tmp_path: Path, cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three hours of telemetry are enough to plan on: the cold-start forecaster needs no model."""
    trace = write_parquet(tmp_path / "trace.parquet", telemetry())
    assert run(["solve", str(cluster), "--history", str(trace), "--limit", "5s"]) == 0
    assert "h1 → h2" in capsys.readouterr().out


def test_the_documented_example(capsys: pytest.CaptureFixture[str]) -> None:
    """The example of the documentation is repaired and relieved."""
    examples = Path(__file__).resolve().parents[2] / "docs" / "examples"
    words = ["solve", str(examples / "small-cluster.json"), "--limit", "5s"]
    assert run([*words, "--scenarios", str(examples / "small-scenarios.json")]) == 0
    shown = capsys.readouterr().out
    assert "beta → gamma" in shown
    assert "3 violations repaired" in shown


def test_capacity_answers_three_questions(
    tmp_path: Path, cluster: Path, scenarios: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """N+1 always; room and hosts when asked; the same figures on the terminal and as JSON."""
    assert run(["capacity", str(cluster)]) == 0
    assert "N+1: the loss of any one host is survived" in capsys.readouterr().out
    answers = tmp_path / "capacity.json"
    words = ["capacity", str(cluster), "--scenarios", str(scenarios), "--json", str(answers)]
    questions = ["--flavour", "v1", "--host-type", "h1=7", "--target", "1", "--survive-loss"]
    assert run([*words, *questions]) == 0
    shown = capsys.readouterr().out
    written = json.loads(answers.read_text(encoding="utf-8"))
    assert written["survival"]["survives"] is True
    # 64 GiB a host, 8 GiB a VM: either host alone holds eight, four of which are there.
    assert written["room"]["number"] == 4
    assert "room for 4 more like v1" in shown
    assert written["hosts_needed"]["counts"] == {"h1": 2}
    assert "price 14" in shown
    assert "and more on others: judge by --fresh" in shown
    assert run([*words, *questions, "--fresh", str(scenarios)]) == 0
    shown = capsys.readouterr().out
    assert "on the 1 scenario that the hosts are sized on, 0.00 % on 1 fresh ones" in shown
    assert "the target of 100 % is met" in shown
    written = json.loads(answers.read_text(encoding="utf-8"))
    assert written["hosts_needed"]["fresh_overload_ppm"] == 0
    assert written["hosts_needed"]["meets_target"] is True


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--flavour", "v1"], "--scenarios"),
        (["--host-type", "h1"], "--host-type"),
        (["--host-type", "h9=1"], "'h9'"),
        (["--flavour", "v9"], "'v9'"),
        (["--host-type", "h1=0"], "price"),
        (["--target", "nan"], "target"),
        (["--fresh", "fresh.json"], "--fresh"),
    ],
)
def test_capacity_refuses_what_it_cannot_answer(
    words: list[str],
    told: str,
    cluster: Path,
    scenarios: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One line with what was expected, and exit code 2."""
    demand = [] if told == "--scenarios" else ["--scenarios", str(scenarios)]
    assert run(["capacity", str(cluster), *demand, *words]) == 2
    assert told in capsys.readouterr().err


def test_import_then_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A long CSV becomes tidy Parquet that the other commands read."""
    source, target = tmp_path / "long.csv", tmp_path / "tidy.parquet"
    lines = ["vm,ts,metric,value"]
    for t in range(12):
        at = (NOW + timedelta(minutes=5 * t)).isoformat()
        lines += [f"v1,{at},cpu_cores,2", f"v1,{at},cpu_used,{0.1 * t}"]
    source.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run(["import", str(source), str(target), "--layout", "long"]) == 0
    assert run(["check", str(target)]) == 0
    assert "telemetry of 1 VM," in capsys.readouterr().out


@pytest.fixture
def quick_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual training takes half a minute; how good models are does not matter here."""
    defaults = vars(TrainingSettings)["__init__"].__kwdefaults__
    for name, value in {"iterations": 3, "rows_per_instant": 12, "rows_per_resource": 4200}.items():
        monkeypatch.setitem(defaults, name, value)
    monkeypatch.setitem(defaults, "num_jobs", 1)
    baseline = vars(LinearQuantiles)["__init__"].__kwdefaults__
    monkeypatch.setitem(baseline, "rows_per_horizon", 600)
    monkeypatch.setitem(baseline, "num_jobs", 1)


def noisy_trace(folder: Path) -> Path:
    """Write two days of twelve VMs."""
    columns = telemetry(num_vms=12, num_bins=600)
    columns["cpu_used"] = list(np.clip(np.random.default_rng(0).normal(3.5, 0.5, 7200), 0, 6))
    return write_parquet(folder / "trace.parquet", columns)


def test_train_backtest_and_solve_with_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_training: None
) -> None:
    """A model trained on a history is used by name; the backtest writes its figures."""
    trace = noisy_trace(tmp_path)
    model, figures = tmp_path / "fleet.model", tmp_path / "figures.json"
    assert run(["train", str(trace), str(model)]) == 0
    assert "trained on 12 VMs" in capsys.readouterr().out
    cluster = write(tmp_path / "cluster.json", cluster_document())
    assert run(["solve", str(cluster), "--history", str(trace), "--model", str(model)]) == 0
    assert "Contention by host" in capsys.readouterr().out
    words = ["backtest", "--trace", str(trace), "--train-until", "2026-03-02T00:00Z"]
    window = ["--test-from", "2026-03-02T06:00Z", "--test-until", "2026-03-02T12:00Z"]
    assert run([*words, *window, "--json", str(figures), "--compare", "lightgbm"]) == 0
    told = capsys.readouterr().out
    assert "VMs never seen before" in told
    assert "Less loss than lightgbm" in told
    settings = json.loads(figures.read_text(encoding="utf-8"))["settings"]
    assert (settings["num_vms"], settings["compared"]) == (12, ["lightgbm"])


def test_a_new_model_takes_over_only_if_it_is_not_worse(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    quick_training: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On half a day that the one in use was not trained on; otherwise nothing is written."""
    trace, model = noisy_trace(tmp_path), tmp_path / "fleet.model"
    newer = tmp_path / "newer.model"
    in_use = ["--unless-worse-than", str(model), "--judge-days", "0.5"]
    assert run(["train", str(trace), str(model), "--time-zone", "Mars/Base"]) == 2
    assert "time zone such as Europe/Berlin, got 'Mars/Base'" in capsys.readouterr().err
    assert not model.exists()
    assert run(["train", str(trace), str(model), "--time-zone", "Europe/Berlin"]) == 0
    assert load_model(model).model.features.time_zone == "Europe/Berlin"
    assert run(["train", str(trace), str(newer), *in_use]) == 2
    assert "half a day or more after the model in use was trained" in capsys.readouterr().err
    assert run(["train", str(trace), str(model), "--until", "2026-03-02T00:00Z"]) == 0
    with monkeypatch.context() as strict:
        strict.setattr("forecast.promotion.TOLERANCE", -1.0)
        assert run(["train", str(trace), str(newer), *in_use]) == 1
    assert "is not written: on the last 0.5 days" in " ".join(capsys.readouterr().err.split())
    assert not newer.exists()
    monkeypatch.setattr("forecast.promotion.TOLERANCE", 1.0)
    assert run(["train", str(trace), str(newer), *in_use]) == 0
    assert "times that of the one in use" in capsys.readouterr().out
    assert load_model(newer).backtest["accepted"] is True


def test_a_closed_pipe_is_quiet(cluster: Path, scenarios: Path) -> None:
    """A reader that has seen enough ends the command without a word."""
    words = f"{COMMAND} solve {cluster} --scenarios {scenarios} | head -1"
    done = subprocess.run(
        ["bash", "-c", words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith("Contention")
    assert done.stderr == ""
