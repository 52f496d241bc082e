"""``foreswap whatif`` and ``jobs``: changes that are not made yet, and work that takes long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from service.commands import console, remote
from service.commands.remote import Column

MEASURES = (
    Column(name="", show=lambda row: str(row["name"])),
    Column(
        name="contention, host-s", show=lambda row: f"{row['contention_host_s']:,.1f}", right=True
    ),
    Column(name="P(overload)", show=lambda row: f"{row['overload_ppm'] / 1e6:.1%}", right=True),
    Column(name="violations", show=lambda row: str(len(row["violations"])), right=True),
)
HEADROOM = (
    Column(name="resource", show=lambda row: str(row["name"]).replace("_", " ")),
    Column(name="capacity", right=True),
    Column(name="promised", right=True),
    Column(name="expected", show=lambda row: f"{row['expected']:,.0f}", right=True),
    Column(name="peak", right=True),
)
JOBS = (
    Column(name="job", show=lambda row: str(row["id"])),
    Column(name="kind"),
    Column(name="cluster", show=lambda row: str(row["cluster_id"])),
    Column(name="stage"),
    Column(name="by", show=lambda row: str(row["asked_by"])),
    Column(name="asked (UTC)", show=remote.instant("asked_at")),
    Column(name="ended (UTC)", show=remote.instant("ended_at")),
)

jobs = typer.Typer(help="Work that takes longer than a request.", no_args_is_help=True)


def whatif(
    lose: Annotated[list[str] | None, typer.Option(help="A host is lost; again for more.")] = None,
    drain: Annotated[
        list[str] | None, typer.Option(help="A host goes into maintenance; again for more.")
    ] = None,
    remove_host: Annotated[
        list[str] | None, typer.Option(help="A host is emptied and taken away; again for more.")
    ] = None,
    add_hosts: Annotated[int, typer.Option(min=0, help="So many more hosts.")] = 0,
    like_host: Annotated[str | None, typer.Option(help="What more hosts are like.")] = None,
    add_vms: Annotated[int, typer.Option(min=0, help="So many more VMs.")] = 0,
    like_vm: Annotated[str | None, typer.Option(help="What more VMs are like.")] = None,
    remove_vm: Annotated[
        list[str] | None, typer.Option(help="A VM is gone; again for more.")
    ] = None,
    demand: Annotated[
        float | None, typer.Option(help="Demand of all VMs times this, such as 1.3.")
    ] = None,
    horizon: Annotated[
        str, typer.Option(help="Judged by: forecast, busiest (hours of late) or present.")
    ] = "forecast",
    needed: Annotated[
        float | None, typer.Option(help="Hosts like --like-host needed at this risk, such as 0.01.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="The whole question, as the API takes it.", metavar="JSON"),
    ] = None,
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """Say what a change would come to; changes nothing. Ends with 1 if it is not feasible."""
    given: dict[str, Any] = {
        "lost_host_ids": lose,
        "maintenance_host_ids": drain,
        "removed_host_ids": remove_host,
        "removed_vm_ids": remove_vm,
        "added_hosts": [{"count": add_hosts, "like_host_id": like_host}] if add_hosts else None,
        "added_vms": [{"count": add_vms, "like_vm_id": like_vm}] if add_vms else None,
        "demand_factors": None if demand is None else [{"factor": demand}],
        "hosts_needed": None
        if needed is None
        else {"types": [{"like_host_id": like_host}], "target": needed},
        "horizon": horizon,
    }
    question = read_json(file) if file is not None else {k: v for k, v in given.items() if v}
    asked = remote.client()
    path = remote.cluster_path(asked, cluster, "whatif")
    told = remote.awaited(asked, asked.send("POST", path, question))
    if as_json:
        remote.show_json(told)
    else:
        _show(told)
    if not told["feasible"]:
        raise typer.Exit(1)


@jobs.command("list")
def list_jobs(limit: remote.MostOption = 50, as_json: remote.JsonOption = False) -> None:
    """List jobs, the newest first."""
    rows = remote.client().items("/jobs", most=limit)
    remote.show_rows(rows, JOBS, as_json=as_json, nothing="no jobs")


@jobs.command("show")
def show_job(job: Annotated[str, typer.Argument(help="Id of the job.")]) -> None:
    """Show a job with its answer, as JSON."""
    from service.client.http import path_of

    remote.show_json(remote.client().get(path_of("jobs", job)).body)


@jobs.command("cancel")
def cancel_job(job: Annotated[str, typer.Argument(help="Id of the job.")]) -> None:
    """Cancel a job."""
    from service.client.http import path_of

    answer = remote.client().send("POST", path_of("jobs", job) + "/cancel")
    remote.say(f"job {job} is {answer.body['stage']}")


def read_json(file: Path) -> Any:
    """Return what a JSON file holds."""
    from solver.domain.errors import InvalidInputError

    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidInputError(f"file {str(file)!r}: expected JSON, got: {error}") from error


def _show(told: Any) -> None:
    names = {"before": "now", "unmoved": "changed, nothing moved", "after": "changed and moved"}
    rows = [{**told[key], "name": name} for key, name in names.items()]
    console.out().print(remote.table(rows, MEASURES))
    room = [{**left, "name": name} for name, left in told["headroom"].items()]
    console.out().print(remote.table(room, HEADROOM))
    by = f"{told['forecaster']}, " if told["forecaster"] else ""
    remote.say(f"judged by: {by}{told['demand_source']}")
    moves = told["moves"]
    remote.say(
        f"feasible: {remote.words(told['feasible'])}; {moves['migrations']} migrations and "
        f"{moves['starts']} starts in {moves['seconds']:,.0f} s"
    )
    for reason in told["blocked_by"]:
        remote.say(f"in the way: {reason}")
    survives = {True: "yes", False: "no", None: "not known"}[told["survival"]["survives"]]
    remote.say(f"survives the loss of any one host more: {survives}")
    if told["hosts_needed"] is not None:
        counts = told["hosts_needed"]["counts"]
        remote.say("hosts needed: " + ", ".join(f"{n} like {name}" for name, n in counts.items()))
