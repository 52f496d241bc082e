"""What a host tells of itself."""

from __future__ import annotations

from executor.kvm.host_xml import NumaCell, read_host
from tests.hypervisors import make_host_record


def test_processors_cells_and_machines_are_read() -> None:
    """A kind of domain without a list of its own has the architecture's machines."""
    facts = read_host(make_host_record())
    assert (facts.num_cpus, facts.threads_per_core, facts.cpu_model) == (8, 2, "EPYC")
    assert facts.cells == (
        NumaCell(id=0, memory_mib=16384, cpus=(0, 1, 2, 3)),
        NumaCell(id=1, memory_mib=4096, cpus=(4,)),
    )
    assert "pc-q35-7.2" in facts.machines["x86_64", "kvm"]
    assert "pc-i440fx-7.2" not in facts.machines["x86_64", "kvm"]
    assert {"pc", "pc-i440fx-7.2", "pc-q35-7.2"} <= facts.machines["x86_64", "qemu"]


def test_pools_on_the_network_are_shared() -> None:
    """A folder of the host is not."""
    facts = read_host(
        make_host_record(pools=(("local", "dir", "/var/vms"), ("nfs", "netfs", "/srv/vms")))
    )
    assert {name: pool.shared for name, pool in facts.pools.items()} == {
        "local": False,
        "nfs": True,
    }
