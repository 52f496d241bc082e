"""Wrong input: one precise error line, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import math
import subprocess
import sysconfig
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.cli import run

COMMAND = Path(sysconfig.get_path("scripts")) / "foreswap"
Document = dict[str, Any]


def cluster_document() -> Document:
    """Return a small cluster that nothing is wrong with."""
    size = {"cpu_millicores": 6000, "memory_mib": 8192}
    return {
        "foreswap": "cluster",
        "version": 1,
        "observed_at": "2026-03-02T12:00:00Z",
        "hosts": [
            {"id": host, "capacity": {"cpu_millicores": 10_000, "memory_mib": 65_536}}
            for host in ("h1", "h2")
        ],
        "vms": [{"id": f"v{i}", "host_id": "h1", "allocation": dict(size)} for i in (1, 2)],
        "rules": [],
    }


def scenario_document() -> Document:
    """Return its demand, which nothing is wrong with either."""
    return {
        "foreswap": "scenarios",
        "version": 1,
        "start_at": "2026-03-02T12:00:00Z",
        "step_seconds": 900,
        "num_steps": 1,
        "probability_ppm": [1_000_000],
        "demand": {f"v{i}": {"cpu_millicores": [[2000, 3000]]} for i in (1, 2)},
    }


def trace_columns() -> dict[str, list[Any]]:
    """Return tidy telemetry of one VM over an hour."""
    start = datetime(2026, 3, 2, 11, 0, tzinfo=UTC)
    return {
        "vm": ["v1"] * 12,
        "ts": [start + timedelta(minutes=5 * t) for t in range(12)],
        "cpu_cores": [6.0] * 12,
        "cpu_used": [1.0] * 12,
    }


def pins(*host_ids: str) -> list[Document]:
    """Return hard rules that pin one VM to each of the hosts."""
    return [
        {"kind": "pin", "id": f"pin-{host}", "vm_ids": ["v1"], "host_ids": [host]}
        for host in host_ids
    ]


def refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    """Run a command that must be refused, and return its one error line."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in captured.out + captured.err
    return lines[0]


WRONG_CLUSTERS: dict[str, tuple[Callable[[Document], Any], tuple[str, ...]]] = {
    "unknown host": (
        lambda d: d["vms"][1].update(host_id="h9"),
        ("vms[1].host_id", "'h9'"),
    ),
    "priority 11": (lambda d: d["vms"][0].update(priority=11), ("vms[0].priority", "11", "10")),
    "duplicate VM": (lambda d: d["vms"][1].update(id="v1"), ("vms", "'v1'", "once")),
    "duplicate host": (lambda d: d["hosts"][1].update(id="h1"), ("hosts", "'h1'", "once")),
    "no hosts": (lambda d: d.update(hosts=[]), ("hosts", "at least 1")),
    "contradictory pins": (lambda d: d.update(rules=pins("h1", "h2")), ("'pin-h1'", "'v1'")),
    "negative size": (
        lambda d: d["vms"][0]["allocation"].update(memory_mib=-1),
        ("vms[0].allocation.memory_mib", "-1", "at least 0"),
    ),
    "absurd size": (
        lambda d: d["hosts"][0]["capacity"].update(memory_mib=10**15),
        ("hosts[0].capacity.memory_mib", "1000000000000000", "at most"),
    ),
    "NaN": (lambda d: d["vms"][0].update(dirty_mib_per_s=math.nan), ("NaN",)),
    "future": (lambda d: d.update(observed_at="2999-01-01T00:00:00Z"), ("observed_at", "2999")),
    "no zone": (lambda d: d.update(observed_at="2026-03-02T12:00:00"), ("observed_at", "zone")),
    "other version": (lambda d: d.update(version=7), ("version", "7", "1")),
    "other kind": (lambda d: d.update(foreswap="plan"), ("foreswap", "plan")),
    "misspelt field": (lambda d: d["vms"][0].update(priorty=3), ("priorty", "priority")),
}


@pytest.mark.parametrize("name", WRONG_CLUSTERS)
def test_wrong_cluster(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error names path, value and what was expected; the output file is not made."""
    change, expected = WRONG_CLUSTERS[name]
    document = cluster_document()
    change(document)
    cluster, demand = tmp_path / "cluster.json", tmp_path / "demand.json"
    cluster.write_text(json.dumps(document), encoding="utf-8")
    demand.write_text(json.dumps(scenario_document()), encoding="utf-8")
    out = tmp_path / "out.json"
    line = refused(capsys, ["solve", str(cluster), "--scenarios", str(demand), "--json", str(out)])
    for part in expected:
        assert part in line
    assert {path.name for path in tmp_path.iterdir()} == {"cluster.json", "demand.json"}


WRONG_DEMAND: dict[str, tuple[Callable[[Document], Any], tuple[str, ...]]] = {
    "negative": (lambda v: v.update(cpu_millicores=[[0, -5]]), ("v1", "cpu_millicores", "-5")),
    "NaN": (lambda v: v.update(cpu_millicores=[[0, math.nan]]), ("NaN",)),
    "absurd": (lambda v: v.update(cpu_millicores=[[0, 2**40]]), ("v1", str(2**40))),
    "text": (lambda v: v.update(cpu_millicores=[[0, "many"]]), ("v1", "many", "whole number")),
    "short": (lambda v: v.update(cpu_millicores=[[0]]), ("v1", "cpu_millicores")),
}


@pytest.mark.parametrize("name", WRONG_DEMAND)
def test_wrong_demand(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Demand that cannot be is refused, naming VM, resource and value."""
    change, expected = WRONG_DEMAND[name]
    document = scenario_document()
    change(document["demand"]["v1"])
    cluster, demand = tmp_path / "cluster.json", tmp_path / "demand.json"
    cluster.write_text(json.dumps(cluster_document()), encoding="utf-8")
    demand.write_text(json.dumps(document), encoding="utf-8")
    line = refused(capsys, ["solve", str(cluster), "--scenarios", str(demand)])
    for part in expected:
        assert part in line


def test_demand_of_no_or_too_few_vms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without demand the options that bring it are named; a VM left out is named."""
    cluster, demand = tmp_path / "cluster.json", tmp_path / "demand.json"
    cluster.write_text(json.dumps(cluster_document()), encoding="utf-8")
    line = refused(capsys, ["solve", str(cluster)])
    assert "--scenarios" in line
    assert "--history" in line
    document = scenario_document()
    del document["demand"]["v2"]
    demand.write_text(json.dumps(document), encoding="utf-8")
    assert "'v2'" in refused(capsys, ["solve", str(cluster), "--scenarios", str(demand)])


def wrong_traces() -> dict[str, tuple[dict[str, list[Any]], str]]:
    """Return telemetry that is wrong in one place each, and a word its error must have."""
    backwards, future, doubled, negative, absurd, endless = (trace_columns() for _ in range(6))
    backwards["ts"][3], backwards["ts"][4] = backwards["ts"][4], backwards["ts"][3]
    future["ts"] = [at + timedelta(days=365_000) for at in future["ts"]]
    doubled["ts"][5] = doubled["ts"][4]
    negative["cpu_used"][2] = -1.0
    absurd["cpu_used"][2] = 1e12
    endless["cpu_used"][2] = math.nan
    return {
        "backwards": (backwards, "11:15"),
        "future": (future, "future"),
        "doubled": (doubled, "11:20"),
        "negative": (negative, "-1"),
        "absurd": (absurd, "1e+12"),
        "NaN": (endless, "cpu_used"),
    }


@pytest.mark.parametrize("name", wrong_traces())
def test_wrong_telemetry(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Time stamps out of order, in the future or doubled, and readings that cannot be."""
    columns, word = wrong_traces()[name]
    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table(columns), path)
    line = refused(capsys, ["check", str(path)])
    assert word in line
    assert str(path) in line


def test_files_that_are_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Truncated, of another kind, missing, a folder: each told by name, for every command."""
    whole, truncated = tmp_path / "whole.parquet", tmp_path / "truncated.parquet"
    pq.write_table(pa.table(trace_columns()), whole)
    truncated.write_bytes(whole.read_bytes()[:-200])
    other = tmp_path / "other.parquet"
    other.write_bytes(b"\x7fELF" + bytes(range(256)))
    half = tmp_path / "half.json"
    half.write_text(json.dumps(cluster_document())[:-20], encoding="utf-8")
    missing = tmp_path / "missing.json"
    assert "truncated" in refused(capsys, ["check", str(truncated)])
    assert "binary" in refused(capsys, ["check", str(other)])
    assert "ends too early" in refused(capsys, ["check", str(half)])
    assert "missing.json" in refused(capsys, ["check", str(missing)])
    assert str(tmp_path) in refused(capsys, ["check", str(tmp_path)])
    assert "Parquet" in refused(capsys, ["solve", str(whole), "--scenarios", str(whole)])
    assert "whole.parquet" in refused(capsys, ["import", str(whole), str(tmp_path / "new.parquet")])
    window = ["--train-until", "2026-03-02", "--test-from", "2026-03-02", "--test-until"]
    words = ["backtest", "--trace", str(truncated), *window, "2026-03-03"]
    assert "truncated" in refused(capsys, words)
    assert not (tmp_path / "new.parquet").exists()


def test_all_wrong_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With several files each wrong one gets its line, and the right ones are still summed up."""
    right = tmp_path / "right.json"
    right.write_text(json.dumps(cluster_document()), encoding="utf-8")
    assert run(["check", str(tmp_path / "a"), str(right), str(tmp_path / "b")]) == 2
    captured = capsys.readouterr()
    assert [line[:7] for line in captured.err.splitlines()] == ["error: ", "error: "]
    assert "2 hosts" in captured.out


@pytest.mark.parametrize("place", ["", "no/such/folder/out.json"])
def test_unwritable_output(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place that cannot be written to is refused before any work, by every command."""
    out = str(tmp_path / place)
    trace = ["--trace", str(tmp_path / "none.parquet")]
    window = ["--train-until", "2026-03-01", "--test-from", "2026-03-02", "--test-until"]
    days = ["--from", "2026-03-01", "--until", "2026-03-02"]
    sizes = ["--hosts", "2", "--host-cores", "8", "--host-memory-gib", "64"]
    for option, words in (
        ("--json", ["solve", "none.json", "--scenarios", "none.json", "--json", out]),
        ("--json", ["backtest", *trace, *window, "2026-03-03", "--json", out]),
        ("--json", ["replay", *trace, *sizes, *days, "--json", out]),
        ("OUT.parquet", ["import", "none.csv", out]),
        ("MODEL", ["train", "none.csv", out]),
        ("--save-svg", ["demo", "--once", "--save-svg", out]),
    ):
        assert f"error: {option}: expected a file" in refused(capsys, words)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["solve", "c.json", "--limit", "soon"], "--limit"),
        (["solve", "c.json", "--engine", "magic"], "magic"),
        (["solve", "c.json", "--scenarios", "a", "--history", "b"], "--history"),
        (["solve", "c.json", "--scenarios", "a", "--model", "b"], "--model"),
        (["demo", "--hosts", "1"], "--hosts"),
        (["demo", "--hours", "nan"], "--hours"),
        (["demo", "--speed", "0"], "--speed"),
        (["reticulate"], "reticulate"),
        (["check"], "FILE"),
    ],
)
def test_wrong_words(words: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that cannot be are refused in one line as well."""
    assert part in refused(capsys, words)


def test_a_model_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no model is refused by name."""
    cluster, trace = tmp_path / "cluster.json", tmp_path / "trace.parquet"
    document = cluster_document()
    del document["vms"][1]
    cluster.write_text(json.dumps(document), encoding="utf-8")
    pq.write_table(pa.table(trace_columns()), trace)
    words = ["solve", str(cluster), "--history", str(trace), "--model", str(cluster)]
    assert "not a foreswap model" in refused(capsys, words)


def test_the_installed_command(tmp_path: Path) -> None:
    """The command in the environment does the same as the function behind it."""
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(cluster_document() | {"hosts": []}), encoding="utf-8")
    done = subprocess.run(
        [COMMAND, "check", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: hosts: expected at least 1 item")
    assert len(done.stderr.splitlines()) == 1
