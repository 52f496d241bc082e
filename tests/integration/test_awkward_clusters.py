"""Clusters at the edge of what makes sense: a precise error, or an answer with its reason.

Each goes through the public ``solve`` and through the command; the judge looks at both answers.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.cli import run
from solver.domain.check import check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.result import Result, SolveStatus
from solver.domain.score import score_placement
from solver.domain.units import MAX_AMOUNT
from solver.domain.weights import Weights
from solver.instances import cluster_from_document, scenarios_from_document
from solver.params import SolveParams
from solver.solve import solve

Document = dict[str, Any]
NOTHING: dict[str, Any] = {
    "contention": 0.0,
    "imbalance": 0.0,
    "utilisation": 0.0,
    "transfer": 0.0,
    "downtime": 0.0,
    "latency": 0.0,
    "disruption": 0.0,
    "repair_host_s": 0.0,
}
"""Weights at which no term has a price."""


def cluster_document(
    hosts: Mapping[str, tuple[int, int]], vms: Mapping[str, tuple[str | None, int]]
) -> Document:
    """Return hosts by cores and GiB, and VMs of four cores by host and GiB."""
    return {
        "foreswap": "cluster",
        "version": 1,
        "observed_at": "2026-03-02T12:00:00Z",
        "hosts": [
            {
                "id": host_id,
                "capacity": {"cpu_millicores": 1000 * cores, "memory_mib": 1024 * gib},
            }
            for host_id, (cores, gib) in hosts.items()
        ],
        "vms": [
            {
                "id": vm_id,
                "host_id": host_id,
                "allocation": {"cpu_millicores": 4000, "memory_mib": 1024 * gib},
            }
            for vm_id, (host_id, gib) in vms.items()
        ],
        "rules": [],
    }


def demand_document(cores: Mapping[str, float], *, num_steps: int = 2) -> Document:
    """Return one scenario of constant CPU demand."""
    return {
        "foreswap": "scenarios",
        "version": 1,
        "start_at": "2026-03-02T12:00:00Z",
        "step_seconds": 900,
        "num_steps": num_steps,
        "probability_ppm": [1_000_000],
        "demand": {
            vm_id: {"cpu_millicores": [[round(1000 * n)] * (1 + num_steps)]}
            for vm_id, n in cores.items()
        },
    }


class Answered:
    """What ``solve`` and the command say of one cluster, both judged."""

    def __init__(
        self, folder: Path, cluster: Document, demand: Document, weights: Weights | None = None
    ) -> None:
        self.cluster: Cluster = cluster_from_document(copy.deepcopy(cluster))
        scenarios = scenarios_from_document(copy.deepcopy(demand))
        params = SolveParams(work_limit=3.0, weights=weights or Weights())
        self.result: Result = solve(self.cluster, scenarios, params)
        before = check_placement(self.cluster, self.cluster.placement)
        after = check_placement(self.cluster, self.result.placement)
        assert self.result.failures == ()
        assert check_plan(self.cluster, self.result.plan) == ()
        assert new_or_worse(before, after) == ()
        assert self.result.after.total <= self.result.before.total
        assert self.result.after == score_placement(
            self.cluster, scenarios, params.weights, self.result.placement
        )
        self.told = " | ".join(refusal.sentence for refusal in self.result.refusals)
        self.document: Document = {}
        if weights is None:
            files = [folder / name for name in ("cluster.json", "demand.json", "out.json")]
            for path, document in zip(files, (cluster, demand), strict=False):
                path.write_text(json.dumps(document), encoding="utf-8")
            words = ["solve", str(files[0]), "--scenarios", str(files[1]), "--limit", "5s"]
            assert run([*words, "--json", str(files[2])]) == 0
            self.document = json.loads(files[2].read_text(encoding="utf-8"))
            assert self.document["after"]["total"] == self.result.after.total
            assert len(self.document["remaining"]) == len(self.result.remaining)


def refused(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    cluster: Document,
    demand: Document,
    *,
    path: str,
    says: str,
) -> None:
    """Require the same precise error of ``solve`` and of the command."""
    with pytest.raises(InvalidInputError) as error:
        solve(
            cluster_from_document(copy.deepcopy(cluster)),
            scenarios_from_document(copy.deepcopy(demand)),
        )
    assert error.value.path == path
    assert says in str(error.value)
    files = [folder / name for name in ("cluster.json", "demand.json")]
    for file, document in zip(files, (cluster, demand), strict=True):
        file.write_text(json.dumps(document), encoding="utf-8")
    assert run(["solve", str(files[0]), "--scenarios", str(files[1])]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert path in line
    assert says in line


TWO_HOSTS = {"h1": (10, 64), "h2": (10, 64)}


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"kind": "pin", "vm_ids": ["gone"], "host_ids": ["h1"]}, "vm_ids"),
        ({"kind": "ban", "vm_ids": ["gone"], "host_ids": ["h1"]}, "vm_ids"),
        ({"kind": "affinity", "vm_ids": ["v1", "gone"]}, "vm_ids"),
        ({"kind": "anti_affinity", "vm_ids": ["v1", "gone"]}, "vm_ids"),
        ({"kind": "among", "vm_ids": ["gone"]}, "vm_ids"),
        ({"kind": "spread", "vm_ids": ["v1", "gone"], "min_domains": 2}, "vm_ids"),
        ({"kind": "dependency", "vm_ids": ["v1"], "on_vm_ids": ["gone"]}, "on_vm_ids"),
        ({"kind": "split", "vm_ids": ["v1"], "other_vm_ids": ["gone"]}, "other_vm_ids"),
        ({"kind": "per_host_limit", "vm_ids": ["gone"], "max_vms": 1}, "vm_ids"),
        ({"kind": "licence_limit", "vm_ids": ["gone"], "max_hosts": 1}, "vm_ids"),
        ({"kind": "pin", "vm_ids": ["v1"], "host_ids": ["gone"]}, "host_ids"),
        ({"kind": "among", "vm_ids": ["v1"], "parts": [["h1"], ["gone"]]}, "parts[1]"),
        (
            {"kind": "per_host_limit", "vm_ids": ["v1"], "max_vms": 1, "host_ids": ["gone"]},
            "host_ids",
        ),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else value,
)
def test_a_rule_that_names_what_is_not_there_is_refused(
    rule: Document, field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its kind and whichever its field, saying which rule, which field, which name."""
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 4)})
    cluster["rules"] = [rule | {"id": "r"}]
    demand = demand_document({"v1": 1})
    refused(tmp_path, capsys, cluster, demand, path=f"rules[0].{field}", says="'gone'")


def test_pins_that_leave_a_vm_no_host_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing else in the cluster could ever make up for it."""
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 4)})
    cluster["rules"] = [
        {"id": "left", "kind": "pin", "vm_ids": ["v1"], "host_ids": ["h1"]},
        {"id": "right", "kind": "pin", "vm_ids": ["v1"], "host_ids": ["h2"]},
    ]
    refused(
        tmp_path,
        capsys,
        cluster,
        demand_document({"v1": 1}),
        path="rules",
        says="hard rules 'left', 'right' leave no host for VM 'v1'",
    )


def test_rules_that_contradict_each_other_are_worked_with_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rest is done, what cannot be kept is quoted, and ``check`` ends with 1."""
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 4), "v2": ("h1", 4), "hot": ("h1", 4)})
    both = ["v1", "v2"]
    cluster["rules"] = [
        {"id": "pair", "kind": "affinity", "vm_ids": both},
        {"id": "apart", "kind": "anti_affinity", "vm_ids": both},
    ]
    answered = Answered(tmp_path, cluster, demand_document({"v1": 4, "v2": 4, "hot": 8}))
    assert answered.result.plan.steps
    assert answered.result.after.contention == 0
    quoted = "no placement keeps hard rules 'pair' and 'apart' together"
    assert quoted in answered.told
    # On a busy machine the time may not do to prove that no smaller set would.
    assert answered.document["refusals"][0]["contradiction"].startswith(quoted)
    assert quoted in capsys.readouterr().out
    assert run(["check", str(tmp_path / "cluster.json")]) == 1
    assert quoted in capsys.readouterr().out


def test_an_over_committed_start_is_repaired_as_far_as_there_is_room(tmp_path: Path) -> None:
    """Three of 30 GiB on 64: one leaves; where none may, it stays, with the reason."""
    vms = {f"v{i}": ("h1", 30) for i in range(3)}
    cluster = cluster_document(TWO_HOSTS, vms)
    demand = demand_document(dict.fromkeys(vms, 1))
    answered = Answered(tmp_path, cluster, demand)
    assert answered.result.remaining == ()
    assert len(answered.result.plan.steps) == 1
    for vm in cluster["vms"]:
        vm["not_migratable_reason"] = "local disk"
    stuck = Answered(tmp_path, cluster, demand)
    assert stuck.result.plan.steps == ()
    assert stuck.told == (
        "host 'h1': 92160 memory_mib reserved, at most 65536 fit; "
        "VMs 'v0', 'v1', 'v2' cannot be migrated (local disk)"
    )


def test_a_whole_cluster_that_is_too_small_gets_no_worse(tmp_path: Path) -> None:
    """Both hosts over-full: nothing is infeasible, and each says what is lacking."""
    vms = {f"v{i}": (f"h{1 + i % 2}", 40) for i in range(4)}
    answered = Answered(
        tmp_path, cluster_document(TWO_HOSTS, vms), demand_document(dict.fromkeys(vms, 1))
    )
    assert len(answered.result.remaining) == 2
    assert "finds no place" in answered.told.replace("find no", "finds no")
    assert "memory_mib lacking on it" in answered.told


@pytest.mark.parametrize(
    ("empty", "remains"),
    [((0, 64), False), ((10, 0), False), ((0, 0), False)],
    ids=["cpu", "memory", "both"],
)
def test_a_host_without_capacity_is_emptied_and_stays_so(
    empty: tuple[int, int], remains: bool, tmp_path: Path
) -> None:
    """A broken inventory entry is a host on which nothing can be, not a division by zero."""
    cluster = cluster_document({"h1": empty, "h2": (10, 64)}, {"v1": ("h1", 4), "v2": (None, 4)})
    answered = Answered(tmp_path, cluster, demand_document({"v1": 2, "v2": 2}))
    assert set(answered.result.placement.values()) == {"h2"}
    assert bool(answered.result.remaining) is remains


def test_hosts_that_all_have_nothing(tmp_path: Path) -> None:
    """Everything is short everywhere: an answer, no move, and what is lacking."""
    cluster = cluster_document({"h1": (0, 0), "h2": (0, 0)}, {"v1": ("h1", 4), "v2": (None, 4)})
    answered = Answered(tmp_path, cluster, demand_document({"v1": 2, "v2": 2}))
    assert answered.result.plan.steps == ()
    assert "VM 'v2' finds no place on the 2 hosts where it would help: memory_mib lacking" in (
        answered.told
    )


def test_one_host_only(tmp_path: Path) -> None:
    """There is nowhere to go, and that is what is said."""
    cluster = cluster_document({"h1": (4, 64)}, {"v1": ("h1", 4), "v2": ("h1", 4)})
    answered = Answered(tmp_path, cluster, demand_document({"v1": 4, "v2": 4}))
    assert answered.result.status is SolveStatus.NO_BENEFICIAL_MOVE
    assert "host 'h1' stays contended" in answered.told
    assert "no single move of a VM would help" in answered.told


def test_no_vm_at_all(tmp_path: Path) -> None:
    """An empty cluster is a calm one."""
    answered = Answered(tmp_path, cluster_document(TWO_HOSTS, {}), demand_document({}))
    assert answered.result.status is SolveStatus.BELOW_THRESHOLD
    assert (answered.result.after.total, answered.told) == (0, "")


@pytest.mark.parametrize("num_steps", [0, 1])
def test_one_future_of_no_or_one_step(num_steps: int, tmp_path: Path) -> None:
    """The present alone stands for what comes, and one path is a distribution."""
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 4), "v2": ("h1", 4)})
    demand = demand_document({"v1": 8, "v2": 8}, num_steps=num_steps)
    answered = Answered(tmp_path, cluster, demand)
    assert len(answered.result.plan.steps) == 1
    assert answered.result.after.contention == 0


def test_no_weight_at_all(tmp_path: Path) -> None:
    """Nothing is worth anything, so nothing moves, not even what is broken; hard rules hold."""
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 40), "v2": ("h1", 40)})
    answered = Answered(
        tmp_path, cluster, demand_document({"v1": 8, "v2": 8}), weights=Weights(**NOTHING)
    )
    assert answered.result.before.total == answered.result.after.total == 0
    assert answered.result.plan.steps == ()


def test_the_largest_numbers_that_are_accepted(tmp_path: Path) -> None:
    """Two PiB and two million cores a host: totals stay exact; a move would take days, and why
    nothing moves is told.
    """
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 4), "v2": ("h1", 4)})
    for item in (*cluster["hosts"], *cluster["vms"]):
        size = item.get("capacity") or item["allocation"]
        share = 1 if "capacity" in item else 2
        size.update(cpu_millicores=MAX_AMOUNT // share, memory_mib=MAX_AMOUNT // share)
    demand = demand_document({"v1": 1, "v2": 1})
    for wanted in demand["demand"].values():
        wanted["cpu_millicores"] = [[MAX_AMOUNT] * 3]
    result = Answered(tmp_path, cluster, demand).result
    assert 0 < result.before.total < 2**62
    assert result.after.total == result.before.total
    assert not result.plan.steps
    assert "h1" in {refusal.subject for refusal in result.refusals}
    assert "too late" in str(result.refusals)


def test_numbers_beyond_64_bits_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host of a millicore and demand of millions of cores for ages: no total could be told."""
    cluster = cluster_document({"h1": (10, 64)}, {f"v{i}": ("h1", 1) for i in range(50)})
    cluster["hosts"][0]["capacity"]["cpu_millicores"] = 1
    demand = demand_document({f"v{i}": 1 for i in range(50)})
    for wanted in demand["demand"].values():
        wanted["cpu_millicores"] = [[MAX_AMOUNT] * 3]
    refused(
        tmp_path,
        capsys,
        cluster,
        demand,
        path="weights",
        says="expected smaller weights, or demand in the right units",
    )


@pytest.mark.filterwarnings("error")
def test_moves_beyond_64_bits_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two PiB over a link of a MiB/s, between hosts of a millicore: one line, no warning."""
    cluster = cluster_document(TWO_HOSTS, {"v1": ("h1", 1)})
    cluster["vms"][0] |= {"memory_footprint_mib": MAX_AMOUNT, "priority": 10}
    for host in cluster["hosts"]:
        host["capacity"]["cpu_millicores"] = 1
        host["migration_bandwidth_mib_per_s"] = 1
    refused(
        tmp_path,
        capsys,
        cluster,
        demand_document({"v1": 0.001}),
        path="weights",
        says="expected smaller weights or demands",
    )
