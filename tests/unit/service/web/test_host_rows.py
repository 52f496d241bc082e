"""What is promised, reserved and used on a host; rules that name it."""

from __future__ import annotations

from service.inventory.effective import Inventory
from service.inventory.policies import VmPolicy
from service.inventory.standing import stand
from service.web.host_rows import amount_rows, guest_rows, vms_on
from service.web.rule_lines import rule_lines
from solver.domain.rules import Pin
from solver.domain.units import HostId, VmId
from tests.builders import make_cluster, make_host, make_vm


def inventory() -> Inventory:
    """Return two VMs on a host of ten cores, one of them owned and pinned."""
    cluster = make_cluster(
        [make_host("h1", cores=10, memory_gib=100), make_host("h2")],
        [make_vm("v1", cores=4, memory_gib=10), make_vm("v2"), make_vm("v3", "h2")],
    )
    here = Pin(id="here", vm_ids=(VmId("v1"),), host_ids=(HostId("h1"),), penalty_host_s=2.0)
    gone = Pin(id="gone", vm_ids=(VmId("v1"),), host_ids=(HostId("h9"),))
    vm_ids, host_ids = [vm.id for vm in cluster.vms], [host.id for host in cluster.hosts]
    return Inventory(
        cluster_id="c1",
        cluster=cluster,
        vm_policies={VmId("v1"): VmPolicy(owner="ada")},
        maintenance={},
        rules=stand([(here, "rule"), (gone, "rule")], vm_ids, host_ids),
    )


def test_amounts_of_limited_resources_with_their_shares() -> None:
    """What nobody limits is left out; what was not measured is said to be not known."""
    known = inventory()
    host = known.hosts[HostId("h1")]
    vms = vms_on(known, host)
    cpu, memory = amount_rows(host, vms, {"used": {"cpu_millicores": 2500}})
    assert cpu == ("CPU, cores", "10", "6 (60 %)", "0 (0 %)", "2.5 (25 %)")
    assert memory == ("Memory, GiB", "100", "14 (14 %)", "14 (14 %)", "not known")
    assert amount_rows(host, vms, None)[0][-1] == "not known"


def test_guests_with_their_owner() -> None:
    """The VMs of that host alone."""
    known = inventory()
    rows = guest_rows(known, vms_on(known, known.hosts[HostId("h1")]))
    assert [(row["id"], row["owner"], row["cores"]) for row in rows] == [
        ("v1", "ada", 4.0),
        ("v2", "", 2.0),
    ]


def test_rules_that_name_something() -> None:
    """In words, with whether they bind now; those that name others are left out."""
    gone, here = rule_lines(inventory(), vm_id="v1")
    assert (here["id"], here["strength"], here["state"]) == ("here", "soft, 2 host-s", "in force")
    assert here["says"] == "v1 must run on h1."
    assert gone["state"] == "waits: none of its hosts is there"
    assert [line["id"] for line in rule_lines(inventory(), host_id="h1")] == ["here"]
    assert rule_lines(inventory(), vm_id="v2") == []
