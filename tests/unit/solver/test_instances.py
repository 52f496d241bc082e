"""Documents are read strictly, written whole, and every wrong one is told precisely why."""

from __future__ import annotations

import copy
import json
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.domain.cluster import Cluster, HostState, Link, Network
from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan
from solver.domain.result import Result, SolveStatus
from solver.domain.rules import (
    RULES,
    Affinity,
    Among,
    AntiAffinity,
    Ban,
    Dependency,
    LicenceLimit,
    PerHostLimit,
    Pin,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.scenario import ScenarioSet
from solver.domain.score import Score
from solver.domain.units import HostId, VmId
from solver.instances import (
    SCHEMAS,
    cluster_from_document,
    cluster_from_later,
    cluster_to_document,
    plan_from_document,
    plan_to_document,
    read_cluster,
    read_plan,
    read_scenarios,
    result_to_document,
    rule_from_document,
    rule_to_document,
    scenarios_from_document,
    scenarios_to_document,
    schema_text,
    write_cluster,
    write_document,
)
from solver.sequencing.order import sequence
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.strategies import clusters, problems

DOCS = Path(__file__).resolve().parents[3] / "docs"
EXAMPLE = DOCS / "examples" / "small-cluster.json"


def document() -> dict[str, Any]:
    """Return a fresh copy of the smallest document that is about something."""
    return {
        "foreswap": "cluster",
        "version": 1,
        "observed_at": "2026-03-02T12:00:00Z",
        "hosts": [{"id": "h1", "capacity": {"memory_mib": 1024}}, {"id": "h2", "capacity": {}}],
        "vms": [
            {"id": "v1", "allocation": {"memory_mib": 512}, "host_id": "h1"},
            {"id": "v2", "allocation": {"memory_mib": 512}, "host_id": "h1"},
        ],
        "rules": [{"kind": "pin", "id": "r1", "vm_ids": ["v1"], "host_ids": ["h1"]}],
    }


def changed(path: list[str | int], value: object) -> dict[str, Any]:
    """Return the document with one value replaced or added."""
    whole = document()
    place: Any = whole
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return whole


def refuse(wrong: object, *, now: datetime = NOW) -> InvalidInputError:
    """Return the error that a wrong cluster document gets."""
    with pytest.raises(InvalidInputError) as caught:
        cluster_from_document(wrong, now=now)
    return caught.value


# Round trips


@given(clusters(), st.data())
def test_vms_that_stand_as_before_need_not_be_read(cluster: Cluster, data: st.DataObject) -> None:
    """The same cluster comes of any of its VMs taken over and the others read."""
    known = [vm if data.draw(st.booleans()) else None for vm in cluster.vms]
    document = cluster_to_document(cluster)
    left = [item for item, vm in zip(document["vms"], known, strict=True) if vm is None]
    assert cluster_from_later({**document, "vms": left}, known) == cluster
    with pytest.raises(InvalidInputError, match=r"^vms: expected the .* VMs that are not known"):
        cluster_from_later({**document, "vms": left}, [*known, None])


def test_a_vm_that_is_read_alone_is_judged_as_well() -> None:
    """Its place counts the VMs of the document."""
    cluster = make_cluster([make_host("h1")], [make_vm("v1", "h1"), make_vm("v2", "h1")])
    document = cluster_to_document(cluster)
    wrong = {**document["vms"][1], "priority": 11}
    with pytest.raises(InvalidInputError, match=r"^vms\[0\]\.priority: expected"):
        cluster_from_later({**document, "vms": [wrong]}, [cluster.vms[0], None])


@given(clusters())
def test_a_cluster_survives_its_document(cluster: Cluster) -> None:
    """Nothing is lost or changed on the way to text and back."""
    text = json.dumps(cluster_to_document(cluster))
    assert cluster_from_document(json.loads(text), now=NOW) == cluster


@given(st.data())
def test_a_plan_survives_its_document(data: st.DataObject) -> None:
    """Steps come back as they were, parking, costs and reasons included."""
    cluster = data.draw(clusters())
    places = st.sampled_from([host.id for host in cluster.hosts])
    target = {vm.id: data.draw(places) for vm in cluster.vms}
    plan = sequence(cluster, target, urgency={}).plan.with_reasons(dict.fromkeys(target, "heiß"))
    assert plan_from_document(json.loads(json.dumps(plan_to_document(plan)))) == plan


@given(problems())
def test_scenarios_survive_their_document(problem: tuple[Cluster, ScenarioSet]) -> None:
    """Demand, order of VMs and probabilities come back as they were."""
    scenarios = problem[1]
    back = scenarios_from_document(json.loads(json.dumps(scenarios_to_document(scenarios))))
    assert back.vm_ids == scenarios.vm_ids
    assert back.start_at == scenarios.start_at
    assert back.step_seconds == scenarios.step_seconds
    assert back.probability_ppm == scenarios.probability_ppm
    assert np.array_equal(back.demand, scenarios.demand)


def test_rules_of_every_kind_survive_their_document() -> None:
    """Every field of every kind comes back as it was, and those left out get their defaults."""
    v1, v2, v3 = (VmId(f"v{i}") for i in (1, 2, 3))
    h1, h2 = HostId("h1"), HostId("h2")
    rules: tuple[PlacementRule, ...] = (
        Pin(id="pin", vm_ids=(v1,), host_ids=(h1, h2)),
        Ban(id="ban", vm_ids=(v3,), host_ids=(h2,), penalty_host_s=2.5),
        Affinity(id="affinity", vm_ids=(v1, v2), penalty_host_s=1.0),
        AntiAffinity(id="anti_affinity", vm_ids=(v1, v3), continuous=False),
        Among(id="among", vm_ids=(v1, v2), parts=((h1,), (h2,))),
        Spread(id="spread", vm_ids=(v1, v2), min_domains=2, level="rack", penalty_host_s=1.0),
        Dependency(id="dependency", vm_ids=(v1,), on_vm_ids=(v2, v3), level="host"),
        Split(id="split", vm_ids=(v1,), other_vm_ids=(v3,)),
        PerHostLimit(id="per_host_limit", vm_ids=(v1, v2), max_vms=2, host_ids=(h1,)),
        LicenceLimit(id="licence_limit", vm_ids=(v1, v2), max_hosts=1, continuous=False),
    )
    assert {rule.kind for rule in rules} == {rule.kind for rule in RULES}
    hosts = [make_host("h1", max_vms=3, provides=("cpu:a",)), make_host("h2")]
    vms = [make_vm("v1", requires=("cpu:a",)), make_vm("v2"), make_vm("v3")]
    cluster = make_cluster(hosts, vms, rules=rules)
    whole = cluster_to_document(cluster)
    assert cluster_from_document(json.loads(json.dumps(whole)), now=NOW) == cluster
    assert cluster_from_document(whole, now=NOW) == cluster
    assert tuple(rule_from_document(rule_to_document(rule)) for rule in rules) == rules
    for name in ("continuous", "penalty_host_s"):
        whole["rules"][4].pop(name)
    assert cluster_from_document(whole, now=NOW) == cluster


@pytest.mark.parametrize(
    ("wrong", "path", "message"),
    [
        ([], "", "expected an object, got []"),
        ({"id": "r1"}, "kind", "expected a rule with a kind"),
        ({"kind": "pin", "id": "r1", "vm_ids": ["v1", "v1"], "host_ids": ["h1"]}, "vm_ids", "once"),
        ({"kind": "pin", "id": "r1", "vm_ids": ["v1"], "host_ids": []}, "host_ids", "at least 1"),
    ],
)
def test_a_wrong_rule_by_itself_is_refused(wrong: object, path: str, message: str) -> None:
    """The error says where within the rule, and what was expected."""
    with pytest.raises(InvalidInputError) as caught:
        rule_from_document(wrong)
    assert caught.value.path.endswith(path)
    assert message in str(caught.value)


def test_links_of_pairs_survive_their_document() -> None:
    """Links between named hosts and zones are kept, in whichever order they are written."""
    network = Network(
        zones={("a", "b"): Link(latency_us=7)},
        hosts={(HostId("h1"), HostId("h2")): Link(bandwidth_mib_per_s=9)},
    )
    cluster = make_cluster([make_host("h1"), make_host("h2")], [], network=network)
    text = cluster_to_document(cluster)
    text["network"]["hosts"][0]["between"].reverse()
    assert cluster_from_document(text, now=NOW) == cluster


def test_files_come_back_as_written(tmp_path: Path) -> None:
    """What is written to a file is read from it."""
    cluster = make_cluster([make_host(labels={"reihe": "ä"})], [make_vm()])
    path = tmp_path / "cluster.json"
    write_cluster(path, cluster)
    assert read_cluster(path, now=NOW) == cluster
    write_document(path, plan_to_document(Plan(made_at=NOW)))
    assert read_plan(path) == Plan(made_at=NOW)


def test_the_example_is_read() -> None:
    """The published example is a valid document with every kind of rule."""
    cluster = read_cluster(EXAMPLE)
    assert (len(cluster.hosts), len(cluster.vms)) == (4, 12)
    assert {rule.kind for rule in cluster.rules} == {"pin", "ban", "affinity", "anti_affinity"}
    assert cluster.hosts[3].state is HostState.MAINTENANCE
    web = cluster.vms[0]
    assert (web.priority, web.memory_footprint_mib) == (5, 6100)
    assert cluster.vms[3].memory_footprint_mib == cluster.vms[3].allocation.memory_mib


def test_times_become_utc() -> None:
    """An instant in another time zone is the same instant in UTC."""
    cluster = cluster_from_document(changed(["observed_at"], "2026-03-02T14:00:00+02:00"), now=NOW)
    assert cluster.observed_at == NOW
    assert cluster.observed_at.tzinfo is UTC


# Wrong documents


@pytest.mark.parametrize(
    ("path", "value", "where", "says"),
    [
        (["vms", 1, "priority"], 11, "vms[1].priority", "expected at most 10, got 11"),
        (["vms", 1, "priority"], 0, "vms[1].priority", "expected at least 1, got 0"),
        (["vms", 1, "priority"], "5", "vms[1].priority", 'expected a whole number, got "5"'),
        (["vms", 1, "priority"], True, "vms[1].priority", "expected a whole number, got true"),
        (["vms", 1, "priority"], 5.0, "vms[1].priority", "expected a whole number, got 5.0"),
        (["vms", 1, "priority"], None, "vms[1].priority", "expected a whole number, got null"),
        (["vms", 1, "id"], 7, "vms[1].id", "expected text, got 7"),
        (["vms", 1, "id"], "", "vms[1].id", 'expected at least 1 character(s), got ""'),
        (["vms", 1, "id"], "a\nb", "vms[1].id", "expected a printable VM id"),
        (["vms", 1, "id"], "v1", "vms", "id 'v1' stands 2 times, expected once"),
        (["vms", 1, "id"], "\ud800", "vms[1].id", "expected text that is valid Unicode"),
        (["vms", 1, "host_id"], "h9", "vms[1].host_id", "unknown host 'h9'"),
        (["vms", 1, "prioritty"], 5, "vms[1].prioritty", "did you mean 'priority'?"),
        (["vms", 1, "allocation", "memory_mib"], -1, "vms[1].allocation.memory_mib", "at least 0"),
        (["vms", 1, "dirty_mib_per_s"], 2**31, "vms[1].dirty_mib_per_s", "at most 2147483647"),
        (["vms", 1, "labels"], {"a b": 1}, 'vms[1].labels["a b"]', "expected text, got 1"),
        (["vms", 1], [], "vms[1]", "expected an object, got []"),
        (["vms"], {}, "vms", "expected a list, got {}"),
        (["hosts"], [], "hosts", "expected at least 1 item(s), got []"),
        (["hosts", 0, "state"], "down", "hosts[0].state", "expected 'up', 'maintenance' or"),
        (["hosts", 0, "capacity"], None, "hosts[0].capacity", "expected an object, got null"),
        (["hosts", 0, "overcommit"], {"cpu": 0.5}, "hosts[0].overcommit.cpu", "at least 1"),
        (["hosts", 0, "overcommit"], {"memory": "2"}, "hosts[0].overcommit.memory", "a number"),
        (["rules", 0, "kind"], "near", "rules[0].kind", "expected a kind of rule among"),
        (["rules", 0, "vm_ids"], ["v9"], "rules[0].vm_ids", "unknown VM 'v9'"),
        (["rules", 0, "vm_ids"], ["v1", "v1"], "rules[0].vm_ids", "each once"),
        (["rules", 0, "host_ids"], ["h9"], "rules[0].host_ids", "unknown host 'h9'"),
        (["rules", 0, "host_ids"], [3], "rules[0].host_ids[0]", "expected text, got 3"),
        (["rules", 0, "penalty_host_s"], 0, "rules[0].penalty_host_s", "expected more than 0"),
        (["budget"], {"max_parallel": 0}, "budget.max_parallel", "expected at least 1, got 0"),
        (["network"], {"zones": [{"between": ["a"]}]}, "network.zones[0].between", "2 item(s)"),
        (
            ["network"],
            {"hosts": [{"between": ["h1", "h2"]}, {"between": ["h2", "h1"]}]},
            "network.hosts[1]",
            "expected each pair once",
        ),
        (["network"], {"hosts": [{"between": ["h1", "x"]}]}, "network.hosts", "unknown host 'x'"),
        (["observed_at"], "2026-03-02T12:00:00", "observed_at", "with a time zone"),
        (["observed_at"], 1772452800, "observed_at", "with a time zone"),
        (["observed_at"], "0001-01-01T00:00:00+05:00", "observed_at", "with a time zone"),
        (["foreswap"], "plan", "foreswap", 'expected "cluster", got "plan"'),
        (["version"], 2, "version", "expected version 1, got 2"),
        (["version"], True, "version", "expected version 1, got true"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    path: list[str | int], value: object, where: str, says: str
) -> None:
    """The error names the path, the value seen and the value expected."""
    error = refuse(changed(path, value))
    assert error.path == where
    assert says in str(error)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(number: float) -> None:
    """NaN and infinity are no ratio and no penalty."""
    assert refuse(changed(["hosts", 0, "overcommit"], {"cpu": number})).path.endswith("cpu")
    assert refuse(changed(["rules", 0, "penalty_host_s"], number)).path.endswith("host_s")


def test_what_is_missing_is_named() -> None:
    """A field without default that is left out is an error at its own path."""
    wrong = document()
    del wrong["vms"][1]["allocation"]
    error = refuse(wrong)
    assert error.path == "vms[1].allocation"
    assert "expected a value, got nothing" in str(error)
    del wrong["foreswap"]
    assert "without this field" in str(refuse(wrong))


def test_the_first_error_says_how_many_more_there_are() -> None:
    """One error is told; the reader learns that it is not the only one."""
    wrong = document()
    wrong["vms"][0]["priority"] = 11
    wrong["vms"][1]["priority"] = "high"
    error = refuse(wrong)
    assert error.path == "vms[0].priority"
    assert "(and 1 more error)" in str(error)


def test_contradictory_pins_are_refused() -> None:
    """Two pins that leave a VM no host are named together."""
    wrong = document()
    wrong["rules"].append({"kind": "pin", "id": "r2", "vm_ids": ["v1"], "host_ids": ["h2"]})
    assert "'r1', 'r2' leave no host for VM 'v1'" in str(refuse(wrong))


def test_a_document_must_be_an_object() -> None:
    """A list or a number is no document."""
    assert "expected a foreswap cluster document" in str(refuse([1, 2]))


def test_observations_from_the_future_are_refused() -> None:
    """Clocks may differ by five minutes, not by more."""
    late = NOW - timedelta(minutes=5, seconds=1)
    assert refuse(document(), now=late).path == "observed_at"
    cluster_from_document(document(), now=NOW - timedelta(minutes=5))


def test_endless_cool_downs_are_refused() -> None:
    """A cool-down lasts 24 hours at most; a later end is a wrong unit or a wrong clock."""
    far = changed(["vms", 1, "not_before_at"], "2026-03-04T00:00:00Z")
    error = refuse(far)
    assert error.path == "vms[1].not_before_at"
    assert "got 2026-03-04T00:00:00Z" in str(error)
    cluster_from_document(changed(["vms", 1, "not_before_at"], "2026-03-03T11:00:00Z"), now=NOW)


# Wrong files


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the document is empty"),
        (b'{"foreswap": "cluster", "hosts": [', "ends too early"),
        (b'{"foreswap": "clus', "ends too early"),
        (b'{"foreswap": "cluster",, }', "line 1 column 24"),
        (b'{"foreswap": "cluster", "foreswap": "plan"}', "stands twice in one object"),
        (b'{"foreswap": NaN}', "expected finite numbers, got NaN"),
        (b'{"foreswap": -Infinity}', "expected finite numbers, got -Infinity"),
        (b"PAR1\x15\x04\x15", "got a Parquet file"),
        (b"\x7fELF\x02\x01\xff", "not UTF-8 text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5_000, "digits"),
        (b"vm,host\nv1,h1\n", "line 1 column 1"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes, says: str) -> None:
    """Whatever a file holds, the error says what it is not and names the file."""
    path = tmp_path / "wrong.json"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        read_cluster(path, now=NOW)
    assert says in str(caught.value)
    assert "wrong.json" in str(caught.value)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there or is a folder is an input error, not a traceback."""
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(InvalidInputError, match="expected a readable cluster document"):
            read_cluster(path, now=NOW)


def test_errors_in_files_keep_their_path(tmp_path: Path) -> None:
    """The path inside the document and the file are both named."""
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps(changed(["vms", 1, "priority"], 11)), encoding="utf-8")
    with pytest.raises(InvalidInputError, match=r"^vms\[1\]\.priority: .*cluster\.json") as caught:
        read_cluster(path, now=NOW)
    assert caught.value.path == "vms[1].priority"


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    """A document that cannot be written leaves neither a half file nor a stray one."""
    path = tmp_path / "cluster.json"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        write_document(path, {"ratio": float("nan")})
    assert path.read_text(encoding="utf-8") == "before"
    with pytest.raises(InvalidInputError, match="expected a place to write to"):
        write_document(tmp_path / "nowhere" / "cluster.json", {})
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(InvalidInputError):
        write_document(folder, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cluster.json", "folder"]


def test_written_files_are_as_readable_as_others(tmp_path: Path) -> None:
    """Writing by way of a temporary file does not make the document private."""
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    path = tmp_path / "cluster.json"
    write_document(path, {})
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


# Plans, scenarios, results


def test_a_wrong_step_is_named() -> None:
    """What the domain refuses of a step is told with the step's position."""
    step = {"kind": "start", "vm_id": "v1", "destination_id": "h1", "start_ms": 5, "end_ms": 5}
    plan = {"foreswap": "plan", "version": 1, "made_at": "2026-03-02T12:00:00Z", "steps": [step]}
    with pytest.raises(InvalidInputError, match="expected 0 <= start < end") as caught:
        plan_from_document(plan)
    assert caught.value.path == "steps[0]"


def test_ragged_demand_is_refused(tmp_path: Path) -> None:
    """Every path of demand has the present and each future step."""
    wrong = {
        "foreswap": "scenarios",
        "version": 1,
        "start_at": "2026-03-02T12:00:00Z",
        "step_seconds": 300,
        "num_steps": 2,
        "probability_ppm": [500_000, 500_000],
        "demand": {"v-1": {"cpu_millicores": [[1, 2, 3], [1, 2]]}},
    }
    path = tmp_path / "scenarios.json"
    write_document(path, wrong)
    with pytest.raises(InvalidInputError, match=r"expected 2 scenarios of 3 steps") as caught:
        read_scenarios(path)
    assert caught.value.path == 'demand["v-1"].cpu_millicores'
    right = copy.deepcopy(wrong)
    right["demand"] = {"v-1": {"cpu_millicores": [[1, 2, 3], [1, 2, 4]]}}
    write_document(path, right)
    assert read_scenarios(path).demand[1, 0, 0].tolist() == [1, 2, 4]


def test_a_result_is_one_json_document(tmp_path: Path) -> None:
    """A result is written with its totals, its gap and its plan."""
    result = Result(
        status=SolveStatus.FEASIBLE,
        plan=Plan(made_at=NOW),
        placement={},
        before=Score(contention=200),
        after=Score(contention=60, transfer=40),
        bound=50,
        engine="greedy",
        runtime_s=0.5,
        contention_before=(),
        contention_after=(),
    )
    path = tmp_path / "result.json"
    write_document(path, result_to_document(result))
    back = json.loads(path.read_text(encoding="utf-8"))
    assert (back["foreswap"], back["status"], back["gap"]) == ("result", "feasible", 0.5)
    assert (back["before"]["total"], back["after"]["migration"]) == (200, 40)
    assert plan_from_document(back["plan"]) == result.plan


# The published schemas


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_published_schema_is_up_to_date(name: str) -> None:
    """After a change of the models, ``python -m solver.instances --write-schema docs/schema``."""
    published = (DOCS / "schema" / name).read_text(encoding="utf-8")
    assert published == schema_text(SCHEMAS[name], name)


def test_the_schema_command_writes_every_schema(tmp_path: Path) -> None:
    """The command that the documentation names does what it says."""
    subprocess.run(
        [sys.executable, "-m", "solver.instances", "--write-schema", str(tmp_path / "out")],
        check=True,
        cwd=DOCS.parent,
        timeout=60,
    )
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(SCHEMAS)


def test_rules_of_all_kinds_are_in_the_schema() -> None:
    """A rule that can be read can also be looked up."""
    text = schema_text(SCHEMAS["cluster-v1.json"], "cluster-v1.json")
    assert all(f'"const": "{rule.kind}"' in text for rule in RULES)
