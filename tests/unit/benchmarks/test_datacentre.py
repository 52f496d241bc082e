"""Public instances of 5,000 servers: read, repaired, and judged twice."""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.datacentre import main, repair
from benchmarks.instances.datacentre import read_datacentre
from benchmarks.instances.datacentre_judge import Judge, TimedStep
from solver.domain.check import check_placement

NODES = 24
FAILED, EMPTIED = 0, 1
CPU, MEMORY_MIB = 200, 1600


def write_instance(folder: Path, seed: int) -> Path:
    """Write a small instance: load rises, one node has failed, another is to be emptied."""
    rng = random.Random(seed)
    nodes = [node for node in range(NODES) if node != FAILED]
    where = {vm: rng.choice(nodes) for vm in range(3 * NODES)}
    cpu = {vm: rng.randrange(10, 45) for vm in where}
    memory = {vm: rng.choice([100, 200, 300]) for vm in where}
    ready = rng.sample(sorted(where), 4)
    left, right = list(range(NODES // 2)), list(range(NODES // 2, NODES))
    constraints: list[dict[str, Any]] = [
        {"id": "online", "node": node, "continuous": False} for node in nodes if node != EMPTIED
    ]
    constraints += [{"id": "offline", "node": node} for node in (FAILED, EMPTIED)]
    constraints += [{"id": "running", "vm": vm} for vm in ready]
    constraints += [
        {"id": "preserve", "rc": "uCpu", "vm": vm, "amount": cpu[vm] + 40}
        for vm in rng.sample(sorted(where), 12)
    ]
    for part in (left, right):
        inside = [vm for vm in where if where[vm] in part and vm not in ready]
        apart = list({where[vm]: vm for vm in inside}.values())[:3]
        constraints.append({"id": "spread", "vms": [*apart, ready[0]], "continuous": True})
        constraints.append(
            {"id": "among", "vms": inside[:4], "parts": [left, right], "continuous": True}
        )
    online = {
        str(node): {
            "runningVMs": [vm for vm in where if where[vm] == node and vm not in ready],
            "sleepingVMs": [],
        }
        for node in nodes
    }
    views = [
        {
            "id": "shareableResource",
            "rcId": rc,
            "nodes": {str(node): capacity for node in range(NODES)},
            "vms": {str(vm): amount for vm, amount in amounts.items()},
            "defCapacity": 0,
            "defConsumption": 0,
        }
        for rc, capacity, amounts in (("memory", MEMORY_MIB, memory), ("uCpu", CPU, cpu))
    ]
    mapping = {"onlineNodes": online, "offlineNodes": [FAILED], "readyVMs": ready}
    path = folder / f"small{seed}.json.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump({"model": {"mapping": mapping, "views": views}, "constraints": constraints}, file)
    return path


def assert_repaired(report: dict[str, Any]) -> None:
    """Both judges count the same, and nothing is left broken or was made worse on the way."""
    assert report["violations_before"] == report["reread"]["violations_before"] > 0
    for counts in (report, report["first"], report["reread"]):
        assert counts["violations_after"] == counts["violations_during"] == 0
    assert report["moves"] + report["starts"] > 0
    assert report["seconds_first_feasible"] <= report["seconds_total"]


@pytest.mark.parametrize("seed", range(3))
def test_a_small_instance_is_repaired_and_both_judges_agree(tmp_path: Path, seed: int) -> None:
    """Load that rose, VMs of a failed node, a node to be emptied, rules at every instant."""
    report = repair(write_instance(tmp_path, seed), 3.0, 0, begun_s=time.monotonic())
    assert_repaired(report)
    assert report["starts"] == 4


def test_both_judges_count_the_same_in_what_is_broken(tmp_path: Path) -> None:
    """The start of an instance, before anything is done."""
    for seed in range(20):
        path = write_instance(tmp_path, seed)
        cluster, _ = read_datacentre(path)
        found = Judge(path).judge([])
        assert found.before == found.after == len(check_placement(cluster, cluster.placement))
        assert found.during == ()


def test_the_second_judge_finds_what_is_wrong_with_steps(tmp_path: Path) -> None:
    """A VM that is elsewhere, a copy faster than the wire, a node filled beyond its capacity."""
    path = write_instance(tmp_path, 0)
    cluster, _ = read_datacentre(path)
    vms = [vm for vm in cluster.vms if vm.host_id == "node2"]
    others = [vm for vm in cluster.vms if vm.host_id not in (None, "node1", "node2")]
    vm = int(vms[0].id.removeprefix("vm"))
    assert "starts while" in Judge(path).judge([TimedStep(vm, 5, 3, 0, 5_000)]).during[0]
    assert "no migration" in Judge(path).judge([TimedStep(vm, 2, 3, 0, 500)]).during[0]
    crowd = [TimedStep(int(v.id[2:]), int((v.host_id or "")[4:]), 2, 0, 5_000) for v in others[:20]]
    assert any("capacity" in what for what in Judge(path).judge(crowd).during)


def test_a_folder_is_gone_on_with_where_it_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instances that the report holds already are not solved again."""
    for seed in (0, 1):
        write_instance(tmp_path, seed)
    out = tmp_path / "report.jsonl"
    out.write_text('{"instance": "small0.json.gz"}\n', encoding="utf-8")
    words = ["datacentre", "--instance", str(tmp_path), "--seconds", "3", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", words)
    main()
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["instance"] for line in lines] == ["small0.json.gz", "small1.json.gz"]
    assert_repaired(lines[1])


@pytest.mark.slow
def test_a_real_instance_is_repaired(shared_data: Path) -> None:
    """5,000 servers, 15,000 VMs and more than a thousand rules that hold at every instant."""
    path = shared_data / "datacentre_5000" / "nr_r3_c100.json.gz"
    report = repair(path, 25.0, 0, begun_s=time.monotonic())
    assert_repaired(report)
