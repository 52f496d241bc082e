"""Plans of guests that send less than they hold resident, or hold more than when it was made.

Once eight moves had been measured, the share of the memory that is sent was fitted, say 0.87. Every
plan made with it was then refused when it was to begin, since the checker wanted all that was
resident to be sent; and so was the plan of an idle guest that had grown by one MiB meanwhile.
"""

from __future__ import annotations

import pytest

from service.runtime.planning import no_longer_fits
from solver.domain.check import check_plan
from solver.domain.cluster import Cluster
from solver.domain.migration import MigrationParameters
from solver.domain.plan import Plan
from solver.domain.units import HostId, VmId
from solver.sequencing.order import sequence
from tests.builders import make_cluster, make_host, make_vm

V1 = VmId("v1")


def _two_hosts(footprint_mib: int, *, memory_gib: float = 64) -> Cluster:
    return make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=memory_gib)],
        [make_vm("v1", "h1", memory_footprint_mib=footprint_mib)],
    )


def _plan(cluster: Cluster, sent_fraction: float) -> Plan:
    parameters = MigrationParameters(sent_fraction=sent_fraction)
    return sequence(cluster, {V1: HostId("h2")}, urgency={}, parameters=parameters).plan


@pytest.mark.parametrize("sent_fraction", [0.01, 0.87, 1.0])
def test_a_plan_made_with_a_fitted_share_still_fits(sent_fraction: float) -> None:
    """The judge takes the share that the plan was made with, and no less."""
    cluster = _two_hosts(4001)
    plan = _plan(cluster, sent_fraction)
    assert plan.steps[0].transferred_mib == pytest.approx(4001 * sent_fraction, abs=1)
    assert not no_longer_fits(cluster, plan)
    assert check_plan(cluster, plan, least_sent=sent_fraction) == ()
    if sent_fraction < 1.0:
        assert [v.key for v in check_plan(cluster, plan)] == [("step", "0", "v1")]


def test_a_guest_may_grow_until_its_plan_begins() -> None:
    """What it holds now is what room is looked for, not what the plan said it would send."""
    planned = _two_hosts(1000)
    plan = _plan(planned, 1.0)
    assert not no_longer_fits(_two_hosts(1001), plan)
    assert "memory" in no_longer_fits(_two_hosts(5000, memory_gib=4.5), plan)
