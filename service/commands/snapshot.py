"""``foreswap snapshot``: asks real hosts what they hold, and writes it as a cluster document."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands import console
from service.options import require_writable

if TYPE_CHECKING:
    from solver.domain.cluster import Cluster

WATCH_S: Final = 1.5
HOSTS_HELP = "Hosts file, TOML."
POLICY_HELP = (
    "Cluster document with what hosts do not know: priorities, groups, rules, network, budget."
)


def snapshot(
    hosts: Annotated[Path, typer.Argument(help=HOSTS_HELP, metavar="HOSTS.toml")],
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP, metavar="CLUSTER.json")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the cluster document here.", metavar="OUT")
    ] = None,
) -> None:
    """Ask every host what it holds; touches nothing."""
    from service.real_hosts import connect
    from solver.instances import write_cluster

    require_writable(json, "--json")
    with connect(hosts, policy) as driver, console.err().status("asking hosts"):
        driver.snapshot()
        # By then QEMU has seen for a second how fast guests rewrite their memory.
        time.sleep(WATCH_S)
        cluster = driver.snapshot()
    if json is not None:
        write_cluster(json, cluster)
    _show(cluster)


def _show(cluster: Cluster) -> None:
    from service.tables import counted, hosts_table

    out = console.out()
    out.print(hosts_table(cluster))
    for vm in cluster.vms:
        if vm.not_migratable_reason:
            out.print(
                f"{vm.id} on {vm.host_id} cannot be moved: {vm.not_migratable_reason}",
                markup=False,
                soft_wrap=True,
            )
    out.print(f"{counted(len(cluster.hosts), 'host')}, {counted(len(cluster.vms), 'VM')}")
