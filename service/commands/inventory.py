"""``foreswap clusters``, ``hosts``, ``vms``, ``drain`` and ``undrain``, by the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import remote
from service.commands.remote import Column

if TYPE_CHECKING:
    from service.client.http import Client

HostArgument = Annotated[str, typer.Argument(help="Host.")]

CLUSTERS = (
    Column(name="id"),
    Column(name="name"),
    Column(name="driver", show=lambda row: str(row["driver"]["kind"])),
    Column(name="time_zone"),
    Column(name="seen (UTC)", show=remote.instant("observed_at")),
)
HOSTS = (
    Column(name="host", show=lambda row: str(row["id"])),
    Column(name="state", show=lambda row: _state(row)),
    Column(name="VMs", show=lambda row: remote.words(row["num_vms"]), right=True),
    Column(name="vCPUs", show=lambda row: _cores(row["allocated_cpu_millicores"]), right=True),
    Column(name="cores", show=lambda row: _cores(row["usable"]["cpu_millicores"]), right=True),
    Column(
        name="allocated MiB", show=lambda row: remote.words(row["allocated_memory_mib"]), right=True
    ),
    Column(
        name="memory MiB", show=lambda row: remote.words(row["usable"]["memory_mib"]), right=True
    ),
    Column(name="zone"),
)
VMS = (
    Column(name="VM", show=lambda row: str(row["id"])),
    Column(name="host", show=lambda row: row["host_id"] or "–"),
    Column(name="vCPUs", show=lambda row: _cores(row["allocation"]["cpu_millicores"]), right=True),
    Column(
        name="memory MiB",
        show=lambda row: remote.words(row["allocation"]["memory_mib"]),
        right=True,
    ),
    Column(name="priority", right=True),
    Column(name="owner"),
    Column(name="group"),
    Column(name="cannot be moved", show=lambda row: str(row["not_migratable_reason"])),
)


def clusters(as_json: remote.JsonOption = False) -> None:
    """List clusters."""
    rows = remote.client().items("/clusters")
    remote.show_rows(rows, CLUSTERS, as_json=as_json, nothing="no cluster yet")


def hosts(
    cluster: remote.ClusterOption = None,
    state: Annotated[
        str | None, typer.Option(help="Only those: up, maintenance or unreachable.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="Only those of a zone.")] = None,
    as_json: remote.JsonOption = False,
) -> None:
    """List the hosts of a cluster."""
    asked = remote.client()
    rows = asked.items(remote.cluster_path(asked, cluster, "hosts"), state=state, zone=zone)
    remote.show_rows(rows, HOSTS, as_json=as_json, nothing="no such host")


def vms(
    cluster: remote.ClusterOption = None,
    host: Annotated[str | None, typer.Option(help="Only those on a host.")] = None,
    group: Annotated[str | None, typer.Option(help="Only those of a group.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only those of an owner.")] = None,
    text: Annotated[
        str | None, typer.Option(help="Only those with this in id, group or type.")
    ] = None,
    sort: Annotated[str, typer.Option(help="By id, host, group, priority, cpu or memory.")] = "id",
    limit: remote.MostOption = 1000,
    as_json: remote.JsonOption = False,
) -> None:
    """List the VMs of a cluster."""
    asked = remote.client()
    path = remote.cluster_path(asked, cluster, "vms")
    rows = asked.items(path, most=limit, host=host, group=group, owner=owner, text=text, sort=sort)
    remote.show_rows(rows, VMS, as_json=as_json, nothing="no such VM")


def drain(
    host: HostArgument,
    cluster: remote.ClusterOption = None,
    reason: Annotated[str, typer.Option(help="Why, for others.")] = "",
) -> None:
    """Put a host into maintenance: its VMs are moved away and it stays empty."""
    _set_maintenance(host, cluster, wanted=True, reason=reason)
    remote.say(f"{host} is in maintenance: it is emptied, and stays empty until `undrain`")


def undrain(host: HostArgument, cluster: remote.ClusterOption = None) -> None:
    """Take a host out of maintenance."""
    _set_maintenance(host, cluster, wanted=False, reason="")
    remote.say(f"{host} may be used again")


def _set_maintenance(host: str, cluster: str | None, *, wanted: bool, reason: str) -> None:
    asked: Client = remote.client()
    path = remote.cluster_path(asked, cluster, "hosts", host)
    etag = asked.get(path).etag
    body = {"maintenance": wanted, "reason": reason}
    asked.send("PUT", f"{path}/maintenance", body, etag=etag)


def _state(row: Any) -> str:
    wanted = " (wanted)" if row["maintenance"] and row["state"] != "maintenance" else ""
    reason = f": {row['reason']}" if row["reason"] else ""
    return f"{row['state']}{wanted}{reason}"


def _cores(millicores: int | None) -> str:
    return "–" if millicores is None else f"{millicores / 1000:g}"
