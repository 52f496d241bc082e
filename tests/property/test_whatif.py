"""What must hold of every what-if, judged by check and score alone."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.whatif.answer import answer
from service.whatif.change import change
from service.whatif.question import AddedHosts, Question
from solver.domain.check import check_placement, new_or_worse
from solver.domain.cluster import Cluster, Host
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.units import HostId
from solver.domain.weights import Weights, to_host_s
from solver.params import SolveParams
from tests.strategies import problems

QUICK = SolveParams(limit_s=2.0, work_limit=0.05)
SLOW_START = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)


def alike(cluster: Cluster) -> Cluster:
    """Return the cluster with all its hosts of the size of the first one."""
    first = cluster.hosts[0]
    hosts: tuple[Host, ...] = tuple(
        replace(host, capacity=first.capacity, reserve=first.reserve) for host in cluster.hosts
    )
    return replace(cluster, hosts=hosts)


@SLOW_START
@given(problem=problems())
def test_nothing_asked_is_nothing_changed(problem: tuple[Cluster, ScenarioSet]) -> None:
    """The same cluster, the same demand, the same figures before and if nothing is moved."""
    cluster, scenarios = problem
    found = answer(cluster, Question(), scenarios, QUICK)
    assert found.changed.cluster == cluster
    assert (found.changed.scenarios.demand == scenarios.demand).all()
    assert found.before == found.unmoved


@SLOW_START
@given(problem=problems())
def test_a_host_more_never_makes_it_worse(problem: tuple[Cluster, ScenarioSet]) -> None:
    """With one more like the others, what comes of it is at most what things cost as they are."""
    cluster, scenarios = alike(problem[0]), problem[1]
    added = AddedHosts(template=replace(cluster.hosts[0], id=HostId("new")), count=1)
    found = answer(cluster, Question(added_hosts=(added,)), scenarios, QUICK)
    as_is = score_placement(cluster, scenarios, Weights(), cluster.placement).total
    then = score_placement(
        found.changed.cluster, found.changed.scenarios, Weights(), found.result.placement
    ).total
    assert then <= as_is
    assert found.after.total_host_s == to_host_s(then)
    assert found.feasible


@SLOW_START
@given(problem=problems(), data=st.data())
def test_an_answer_is_honest_about_losses(
    problem: tuple[Cluster, ScenarioSet], data: st.DataObject
) -> None:
    """Feasible is said when, and only when, the judge finds nothing hard newly broken."""
    cluster, scenarios = problem
    lost = data.draw(st.sampled_from([host.id for host in cluster.hosts]))
    question = Question(lost_host_ids=(lost,))
    found = answer(cluster, question, scenarios, QUICK)
    changed = change(cluster, scenarios, question).cluster
    after = check_placement(changed, found.result.placement)
    newly = new_or_worse(check_placement(cluster, cluster.placement), after)
    assert found.feasible == (not newly)
    assert len(found.blocked_by) == len(newly)
    assert all(host_id != lost for host_id in found.result.placement.values())
