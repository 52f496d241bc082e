"""Whole stories, as YAML files beside this one: a cluster, and apart from it what is expected.

``cluster`` is a cluster document without its envelope. ``demand`` is in cores per VM, for the whole
hour (VMs left out want none); ``plan`` is a list of moves to be judged, ``live`` where VMs are by
the time its first move is to start (null: gone). ``expect`` says what is asked:

- ``refused``: the document or its demand is refused, at this ``path``, in these words (``says``);
- ``broken``: keys of what is broken at the start, in any order;
- ``contradictions``: sets of rules that no placement keeps together;
- ``solve``: ``ends_on`` (hosts a VM may end on), ``moves`` (least and most), ``remaining`` (keys of
  what stays broken), ``told`` (words by subject of what stays as it is), ``status``;
- ``plan``: keys of what the plan breaks;
- ``guard``: the decision on the plan's first move against the live cluster, and why (``says``).

Whatever is solved is judged as well: no instant of the plan may break anything.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from executor.guards import judge_step
from solver.domain.check import check_placement, check_plan, new_or_worse
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.result import Result
from solver.domain.score import score_placement
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.instances import cluster_from_document
from solver.params import SolveParams
from solver.solve import solve
from solver.validate import find_contradictions
from tests.builders import NOW, make_scenarios

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
ENVELOPE = {"foreswap": "cluster", "version": 1, "observed_at": NOW.isoformat()}
ASKED = {"refused", "broken", "contradictions", "solve", "plan", "guard"}


def read(path: Path) -> dict[str, Any]:
    """Return a story, refusing fields that nothing would look at."""
    story: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(story) <= {"story", "cluster", "demand", "plan", "live", "expect"}
    assert story["story"]
    assert story["expect"]
    assert set(story["expect"]) <= ASKED
    return story


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_story_ends_as_expected(path: Path) -> None:
    """Every expectation of the file is met."""
    story = read(path)
    expect = story["expect"]
    if "refused" in expect:
        refuse(story, **expect["refused"])
        return
    cluster = cluster_from_document(ENVELOPE | story["cluster"], now=NOW)
    if "broken" in expect:
        violations = check_placement(cluster, cluster.placement)
        assert keys(v.key for v in violations) == keys(expect["broken"])
    found = find_contradictions(cluster).contradictions
    assert keys(c.rule_ids for c in found) == keys(expect.get("contradictions", ()))
    if "solve" in expect:
        judge(cluster, solved(cluster, story), **expect["solve"])
    if "plan" in expect:
        violations = check_plan(cluster, plan_of(cluster, story))
        assert keys(v.key for v in violations) == keys(expect["plan"])
    if "guard" in expect:
        guard(cluster, story, **expect["guard"])


def keys(found: Any) -> set[tuple[str, ...]]:
    """Return keys as a set of tuples."""
    return {tuple(key) for key in found}


def refuse(story: dict[str, Any], *, path: str, says: str) -> None:
    """Check that the input gets one precise error."""
    with pytest.raises(InvalidInputError) as caught:
        solved(cluster_from_document(ENVELOPE | story["cluster"], now=NOW), story)
    assert caught.value.path == path
    assert says in str(caught.value)


def solved(cluster: Cluster, story: dict[str, Any]) -> Result:
    """Return the answer for the story's demand; nobody knows that of a VM with ``null``."""
    demand = story.get("demand", {})
    known = {vm_id: cores for vm_id, cores in demand.items() if cores is not None}
    scenarios = make_scenarios(cluster, known)
    if len(known) < len(demand):
        scenarios = scenarios.for_vms(tuple(VmId(vm_id) for vm_id in known))
    return solve(cluster, scenarios, SolveParams(limit_s=30, work_limit=2))


def judge(
    cluster: Cluster,
    result: Result,
    *,
    ends_on: dict[str, list[str]] | None = None,
    moves: tuple[int, int] | None = None,
    remaining: tuple[list[str], ...] = (),
    told: dict[str, str] | None = None,
    status: str | None = None,
) -> None:
    """Check an answer, and that its plan is safe and says what it leads to."""
    assert check_plan(cluster, result.plan) == ()
    assert result.plan.placement_after(cluster.placement) == dict(result.placement)
    after = check_placement(cluster, result.placement)
    assert new_or_worse(check_placement(cluster, cluster.placement), after) == ()
    assert keys(v.key for v in after if v.hard) == keys(remaining)
    assert keys(v.key for v in result.remaining if v.hard) == keys(remaining)
    assert result.after.total <= result.before.total
    for vm_id, host_ids in (ends_on or {}).items():
        assert result.placement[VmId(vm_id)] in host_ids, vm_id
    if moves is not None:
        least, most = moves
        moved = sum(result.placement[vm.id] != vm.host_id for vm in cluster.vms)
        assert least <= moved <= most
    for subject, words in (told or {}).items():
        assert any(subject in r.subject and words in r.sentence for r in result.refusals), subject
    if status is not None:
        assert result.status.value == status


def plan_of(cluster: Cluster, story: dict[str, Any]) -> Plan:
    """Return the story's moves as a plan, each 60 s long and at 400 MiB/s unless it says so."""
    footprints = {vm.id: vm.memory_footprint_mib for vm in cluster.vms}
    return Plan(
        made_at=NOW,
        steps=tuple(
            Step(
                kind=StepKind.MIGRATE,
                vm_id=VmId(move["vm"]),
                source_id=HostId(move["from"]),
                destination_id=HostId(move["to"]),
                start_ms=1000 * move.get("at_s", 0),
                end_ms=1000 * (move.get("at_s", 0) + move.get("for_s", 200)),
                bandwidth_mib_per_s=400,
                transferred_mib=footprints.get(VmId(move["vm"]), 0),
            )
            for move in story["plan"]
        ),
    )


def guard(cluster: Cluster, story: dict[str, Any], *, decision: str, says: str) -> None:
    """Check what becomes of the first move in the cluster as it is by then."""
    where = story["live"]
    vms = tuple(
        replace(vm, host_id=where.get(vm.id, vm.host_id))
        for vm in cluster.vms
        if where.get(vm.id, vm.host_id) is not None
    )
    live = replace(cluster, vms=vms)
    first, *later = plan_of(cluster, story).steps
    verdict = judge_step(live, first, (), later)
    assert (verdict.decision.value, says in verdict.reason) == (decision, True), verdict.reason


def test_every_score_is_recomputed() -> None:
    """The figures of one story, from scratch."""
    story = read(Path(__file__).parent / "hot_host_relieved.yaml")
    cluster = cluster_from_document(ENVELOPE | story["cluster"], now=NOW)
    result = solved(cluster, story)
    scenarios = make_scenarios(cluster, story["demand"])
    assert score_placement(cluster, scenarios, Weights(), result.placement) == result.after
