"""``foreswap policy``: who owns a VM, within which bounds, and to what it belongs."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from service.commands import console, remote
from service.commands.remote import Column

app = typer.Typer(
    help="Who owns VMs, the bounds of their priority, what they belong to.", no_args_is_help=True
)

FIELDS: Final = ("owner", "priority_min", "priority_max", "group", "app_type")
"""What a policy may say."""

COLUMNS: Final = (
    Column(name="", show=lambda row: str(row["name"]).replace("_", " ")),
    Column(name="value", show=lambda row: "not set" if row["value"] is None else str(row["value"])),
)

VmArgument = Annotated[str, typer.Argument(help="VM.", metavar="VM")]
BoundOption = Annotated[int | None, typer.Option(min=1, max=10, help="For its owner.")]


@app.command()
def show(
    vm: VmArgument, cluster: remote.ClusterOption = None, as_json: remote.JsonOption = False
) -> None:
    """Show the policy of a VM, its priority apart."""
    asked = remote.client()
    told = asked.get(remote.cluster_path(asked, cluster, "vms", vm, "policy")).body
    if as_json:
        remote.show_json(told)
        return
    rows = [{"name": name, "value": told[name]} for name in FIELDS]
    console.out().print(remote.table(rows, COLUMNS))


@app.command("set")
def set_policy(
    vms: Annotated[list[str], typer.Argument(help="VMs.", metavar="VM...")],
    owner: Annotated[str | None, typer.Option(help="Who sees it and may set its priority.")] = None,
    priority_min: BoundOption = None,
    priority_max: BoundOption = None,
    group: Annotated[str | None, typer.Option(help="Instead of the snapshot's.")] = None,
    app_type: Annotated[str | None, typer.Option(help="Instead of the snapshot's.")] = None,
    unset: Annotated[
        list[str] | None, typer.Option(help="Give back to the snapshot: a field's name.")
    ] = None,
    cluster: remote.ClusterOption = None,
) -> None:
    """Change the policy of VMs, one after the other; what is not named stays."""
    given = (owner, priority_min, priority_max, group, app_type)
    named = zip(FIELDS, given, strict=True)
    changes: dict[str, Any] = {name: value for name, value in named if value is not None}
    changes |= {_field(name): None for name in unset or ()}
    asked = remote.client()
    cluster_id = remote.cluster_id(asked, cluster)
    for vm in vms:
        path = remote.cluster_path(asked, cluster_id, "vms", vm, "policy")
        before = asked.get(path)
        asked.send("PUT", path, before.body | changes, etag=before.etag)
        remote.say(f"{vm}: {_told(changes)}")


def _field(name: str) -> str:
    from solver.domain.errors import InvalidInputError

    field = name.replace("-", "_")
    if field not in FIELDS:
        names = ", ".join(each.replace("_", "-") for each in FIELDS)
        raise InvalidInputError(f"--unset: expected one of {names}, got {name!r}")
    return field


def _told(changes: dict[str, Any]) -> str:
    parts = [
        f"{name.replace('_', ' ')} {'is not set' if value is None else value}"
        for name, value in changes.items()
    ]
    return ", ".join(parts) or "nothing was named to change"
