"""``foreswap priority``: who suffers when there is not enough for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import remote
from service.commands.remote import Column

if TYPE_CHECKING:
    from service.client.http import Client

app = typer.Typer(help="Who suffers when there is not enough for all.", no_args_is_help=True)

COLUMNS = (
    Column(name="VM", show=lambda row: str(row["id"])),
    Column(name="priority", right=True),
    Column(name="by", show=lambda row: "policy" if row["priority_set"] else "snapshot"),
    Column(name="bounds", show=lambda row: f"{row['priority_min']} to {row['priority_max']}"),
    Column(name="owner"),
    Column(name="group"),
)


@app.command("list")
def list_priorities(
    cluster: remote.ClusterOption = None,
    group: Annotated[str | None, typer.Option(help="Only VMs of a group.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only VMs of an owner.")] = None,
    limit: remote.MostOption = 1000,
    as_json: remote.JsonOption = False,
) -> None:
    """List VMs by their priority, the highest first."""
    asked = remote.client()
    rows = asked.items(
        remote.cluster_path(asked, cluster, "vms"),
        most=limit,
        group=group,
        owner=owner,
        sort="priority",
        descending="true",
    )
    remote.show_rows(rows, COLUMNS, as_json=as_json, nothing="no such VM")


@app.command("set")
def set_priority(
    priority: Annotated[str, typer.Argument(help="1 to 10, or `none` for the snapshot's.")],
    vms: Annotated[list[str], typer.Argument(help="VMs.", metavar="VM...")],
    cluster: remote.ClusterOption = None,
) -> None:
    """Set the priority of VMs, of all or of none."""
    from solver.domain.errors import InvalidInputError

    try:
        wanted = None if priority == "none" else int(priority)
    except ValueError as error:
        raise InvalidInputError(
            f"priority: expected a whole number or `none`, got {priority!r}"
        ) from error
    _set(remote.client(), cluster, dict.fromkeys(vms, wanted))


@app.command()
def undo(
    vms: Annotated[list[str], typer.Argument(help="VMs.", metavar="VM...")],
    cluster: remote.ClusterOption = None,
) -> None:
    """Give VMs the priority they had before it was changed last."""
    asked = remote.client()
    cluster_id = remote.cluster_id(asked, cluster)
    _set(asked, cluster_id, {vm: _before(asked, cluster_id, vm) for vm in vms})


def _set(asked: Client, cluster: str | None, wanted: dict[str, int | None]) -> None:
    body = {"priorities": [{"vm_id": vm, "priority": wanted[vm]} for vm in wanted]}
    answer = asked.send("PATCH", remote.cluster_path(asked, cluster, "priorities"), body)
    remote.say(f"{answer.body['num_changed']} of {len(wanted)} VMs have another priority now")


def _before(asked: Client, cluster_id: str, vm: str) -> int | None:
    """Return the priority of a VM before the latest change that the audit log knows of."""
    from solver.domain.errors import InvalidInputError

    entries = asked.items("/audit", most=200, cluster_id=cluster_id, subject=_subject(vm))
    for entry in entries:
        before, after = (_priority(entry[side]) for side in ("before", "after"))
        if before != after:
            return before
    raise InvalidInputError(f"VM {vm!r}: expected a change of its priority in the audit log")


def _subject(vm: str) -> str:
    return f"vms/{vm}"


def _priority(document: dict[str, Any] | None) -> int | None:
    return None if document is None else document.get("priority")
