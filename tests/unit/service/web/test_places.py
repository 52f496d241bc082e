"""Why a VM is not elsewhere."""

from __future__ import annotations

from service.web.places import ALLOWED, place_rows, verdict
from solver.domain.cluster import Cluster, HostState
from solver.domain.rules import AntiAffinity, Ban
from solver.domain.units import HostId, VmId
from tests.builders import make_cluster, make_host, make_vm


def cluster() -> Cluster:
    """Return a VM with every kind of neighbour: free, full, forbidden, unwished, closed."""
    hosts = [
        make_host("home"),
        make_host("busy"),
        make_host("full", memory_gib=4),
        make_host("banned"),
        make_host("unwished"),
        make_host("closed", state=HostState.MAINTENANCE),
        make_host("free"),
    ]
    vms = [make_vm("v1", "home"), make_vm("v2", "full"), make_vm("v3", "unwished")]
    v1 = VmId("v1")
    rules = (
        Ban(id="off", vm_ids=(v1,), host_ids=(HostId("banned"),)),
        AntiAffinity(id="apart", vm_ids=(v1, VmId("v3")), penalty_host_s=5.0),
    )
    return make_cluster(hosts, vms, rules=rules)


def contention(score: float) -> dict[str, float]:
    """Return what is known of a host."""
    return {"score_host_s": score, "overload_probability": score / 100}


def test_every_other_host_with_what_stands_in_the_way() -> None:
    """Those that are free first, the least contended of them before the others."""
    rows = place_rows(cluster(), VmId("v1"), {"busy": contention(7.0), "free": contention(1.0)})
    assert [row["id"] for row in rows[:3]] == ["free", "busy", "unwished"]
    told = {row["id"]: row["in_the_way"] for row in rows}
    assert told["free"] == told["busy"] == ALLOWED
    assert "memory_mib reserved, at most 4096 fit" in told["full"]
    assert "rule 'off' (ban)" in told["banned"]
    assert "a wish, costs 5 host-seconds" in told["unwished"]
    assert "in maintenance" in told["closed"]
    assert set(told) == {host.id for host in cluster().hosts} - {"home"}
    assert (rows[1]["score_host_s"], rows[1]["overload_percent"]) == (7.0, 7.0)


def test_what_the_rows_come_to() -> None:
    """How many could take it, and whether there is anything to gain where it is."""
    rows = place_rows(cluster(), VmId("v1"), {})
    assert verdict(rows, None) == "2 of 6 other hosts could take it."
    assert "not contended" in verdict(rows, contention(0.0))
    assert "12.5 host-seconds" in verdict(rows, contention(12.5))
    barred = [row for row in rows if row["rank"] == 2]
    assert verdict(barred, None) == "None of the 3 other hosts could take it as things are."
    assert verdict([], None) == "There is no other host."
