"""``foreswap cluster``: what is balanced is made known to the service, and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands import remote

app = typer.Typer(help="Make clusters known, and remove them.", no_args_is_help=True)

ClusterArgument = Annotated[str, typer.Argument(help="Id of the cluster.", metavar="ID")]


@app.command()
def add(
    cluster: ClusterArgument,
    name: Annotated[str | None, typer.Option(help="For people; the id by default.")] = None,
    driver: Annotated[
        str, typer.Option(help="libvirt, simulated, or none: snapshots are uploaded.")
    ] = "none",
    hosts_file: Annotated[
        str | None, typer.Option(help="Of libvirt: file on the service's machine.", metavar="FILE")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Of its schedule and of people.")] = "UTC",
) -> None:
    """Make a cluster known, or change what is known of it."""
    from service.client.http import path_of

    body: dict[str, Any] = {
        "name": name or cluster,
        "time_zone": time_zone,
        "driver": {"kind": driver, "hosts_file": hosts_file},
    }
    remote.client().send("PUT", path_of("clusters", cluster), body, etag="*")
    remote.say(f"cluster {cluster} is known")


@app.command()
def upload(
    cluster: ClusterArgument,
    file: Annotated[Path, typer.Argument(help="Cluster document.", metavar="CLUSTER.json")],
) -> None:
    """Say how a cluster looks now; for one without a driver."""
    from service.client.http import path_of
    from solver.instances import cluster_to_document, read_cluster

    # Read here as well: what is wrong is told with the file's name.
    document = cluster_to_document(read_cluster(file))
    answer = remote.client().send("PUT", path_of("clusters", cluster, "snapshot"), document)
    told = answer.body
    remote.say(f"cluster {cluster}: {told['num_hosts']} hosts and {told['num_vms']} VMs are kept")


@app.command()
def remove(cluster: ClusterArgument) -> None:
    """Remove a cluster with everything that is kept of it; touches no VM."""
    from service.client.http import path_of

    remote.client().send("DELETE", path_of("clusters", cluster), etag="*")
    remote.say(f"cluster {cluster} is removed")
