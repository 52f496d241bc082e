"""``foreswap rule``: what placements have to keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands import remote
from service.commands.remote import Column

app = typer.Typer(help="What placements have to keep.", no_args_is_help=True)

COLUMNS = (
    Column(name="rule", show=lambda row: str(row["id"])),
    Column(name="kind", show=lambda row: str(row["rule"]["kind"]).replace("_", " ")),
    Column(name="level", show=lambda row: _level(row["rule"])),
    Column(name="VMs", show=lambda row: _some(row["rule"].get("vm_ids", []))),
    Column(name="hosts", show=lambda row: _some(row["rule"].get("host_ids", []))),
    Column(name="waits because", show=lambda row: str(row["waits_because"])),
)


@app.command("list")
def list_rules(cluster: remote.ClusterOption = None, as_json: remote.JsonOption = False) -> None:
    """List rules, and what of them is not in force."""
    asked = remote.client()
    rows = asked.items(remote.cluster_path(asked, cluster, "rules"))
    remote.show_rows(rows, COLUMNS, as_json=as_json, nothing="no rules")


@app.command()
def add(
    rule: Annotated[str, typer.Argument(help="Name of the rule.")],
    kind: Annotated[
        str | None,
        typer.Option(help="pin, ban, affinity, anti_affinity; others are given by --file."),
    ] = None,
    vm: Annotated[list[str] | None, typer.Option(help="A VM; may be given again.")] = None,
    host: Annotated[list[str] | None, typer.Option(help="A host; may be given again.")] = None,
    soft: Annotated[
        float | None, typer.Option(help="Host-seconds that breaking it costs; else it is hard.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="The rule as it stands in a cluster document.", metavar="JSON"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Whatever it contradicts, and whatever is missing.")
    ] = False,
    cluster: remote.ClusterOption = None,
) -> None:
    """Make a rule, or put it in the place of one of that name."""
    asked = remote.client()
    path = remote.cluster_path(asked, cluster, "rules", rule)
    body = _from_file(file, rule) if file is not None else _from_options(rule, kind, vm, host, soft)
    # Whatever stands: the rule that was typed is the one that is wanted.
    query = {"force": "true"} if force else None
    answer = asked.send("PUT", path, body, query=query, etag="*")
    waits = answer.body["waits_because"]
    remote.say(f"rule {rule} is kept" + (f"; it waits because {waits}" if waits else ""))


@app.command()
def remove(
    rule: Annotated[str, typer.Argument(help="Name of the rule.")],
    cluster: remote.ClusterOption = None,
) -> None:
    """Remove a rule."""
    asked = remote.client()
    asked.send("DELETE", remote.cluster_path(asked, cluster, "rules", rule), etag="*")
    remote.say(f"rule {rule} is removed")


def _from_file(file: Path, rule: str) -> dict[str, Any]:
    import json

    from solver.domain.errors import InvalidInputError

    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"file {str(file)!r}: expected JSON, got: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInputError(f"file {str(file)!r}: expected one rule, an object")
    return {**document, "id": rule}


def _from_options(
    rule: str,
    kind: str | None,
    vms: list[str] | None,
    hosts: list[str] | None,
    soft: float | None,
) -> dict[str, Any]:
    from solver.domain.errors import InvalidInputError

    if kind is None or not vms:
        raise InvalidInputError("expected --kind and at least one --vm, or --file")
    body: dict[str, Any] = {"id": rule, "kind": kind, "vm_ids": vms, "penalty_host_s": soft}
    return body | ({"host_ids": hosts} if hosts else {})


def _level(rule: dict[str, Any]) -> str:
    penalty = rule.get("penalty_host_s")
    return "hard" if penalty is None else f"{penalty:g} host-s"


def _some(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
