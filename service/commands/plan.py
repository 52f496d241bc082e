"""``foreswap plan``, ``approve`` and ``schedule``: what is moved, and when that is decided."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from service.commands import console, remote
from service.commands.remote import Column

if TYPE_CHECKING:
    from service.client.http import Client

OVER: Final = ("done", "ended", "rejected", "superseded")
LATEST: Final = "latest"

PlanArgument = Annotated[str, typer.Argument(help="Id of the plan; the latest by default.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for others.")]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is over.")]

PLANS = (
    Column(name="plan", show=lambda row: str(row["id"])),
    Column(name="made (UTC)", show=remote.instant("made_at")),
    Column(name="stage"),
    Column(name="for", show=lambda row: str(row["trigger"])),
    Column(name="steps", show=lambda row: str(row["num_steps"]), right=True),
    Column(name="saves, host-s", show=lambda row: _saved(row), right=True),
    Column(name="reason"),
)
STEPS = (
    Column(name="step", show=lambda row: str(row["position"]), right=True),
    Column(name="VM", show=lambda row: str(row["vm_id"])),
    Column(
        name="from → to",
        show=lambda row: f"{row['source_id'] or '(off)'} → {row['destination_id']}",
    ),
    Column(name="state", show=lambda row: _state(row)),
    Column(name="sent MiB", show=lambda row: remote.words(row["transferred_mib"]), right=True),
    Column(name="down ms", show=lambda row: remote.words(row["downtime_ms"]), right=True),
    Column(name="reason", show=lambda row: row["state_reason"] or row["reason"]),
)

app = typer.Typer(help="What to move, and what came of it.", no_args_is_help=True)
schedule = typer.Typer(
    help="When a cluster is balanced by itself, and how far.", no_args_is_help=True
)


@app.command("list")
def list_plans(
    stage: Annotated[str | None, typer.Option(help="Only those at a stage.")] = None,
    limit: remote.MostOption = 20,
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """List plans, the newest first."""
    asked = remote.client()
    rows = asked.items(remote.cluster_path(asked, cluster, "plans"), most=limit, stage=stage)
    remote.show_rows(rows, PLANS, as_json=as_json, nothing="no such plan")


@app.command()
def show(
    plan: PlanArgument = LATEST,
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """Show a plan: its steps and how far they are."""
    asked = remote.client()
    told = asked.get(_path(asked, cluster, plan)).body
    remote.show_json(told) if as_json else _show(told)


@app.command()
def make(
    reason: ReasonOption = "",
    wait: Annotated[bool, typer.Option(help="Wait until it is made.")] = True,
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """Have a plan made now."""
    asked = remote.client()
    path = remote.cluster_path(asked, cluster, "plans")
    told = asked.send("POST", path, {"reason": reason}).body
    if wait:
        told = _awaited(asked, f"{path}/{told['id']}", lambda plan: plan["stage"] != "wanted")
    remote.show_json(told) if as_json else _show(told)


@app.command()
def approve(
    plan: PlanArgument = LATEST,
    step: Annotated[
        int | None, typer.Option(help="Only this step; others wait for their own approval.")
    ] = None,
    reason: ReasonOption = "",
    wait: WaitOption = False,
    cluster: remote.ClusterOption = None,
) -> None:
    """Let a plan be carried out, or one step of it."""
    _wish("approve", plan, step, reason, wait, cluster)


@app.command()
def skip(
    step: Annotated[int, typer.Argument(help="Position of the step.")],
    plan: PlanArgument = LATEST,
    reason: ReasonOption = "",
    cluster: remote.ClusterOption = None,
) -> None:
    """Leave out a step that has not begun."""
    _wish("skip", plan, step, reason, False, cluster)


@app.command()
def reject(
    plan: PlanArgument = LATEST, reason: ReasonOption = "", cluster: remote.ClusterOption = None
) -> None:
    """Decide that a plan is not carried out."""
    _wish("reject", plan, None, reason, False, cluster)


@app.command()
def pause(
    plan: PlanArgument = LATEST, reason: ReasonOption = "", cluster: remote.ClusterOption = None
) -> None:
    """Begin no further step; what is under way goes on."""
    _wish("pause", plan, None, reason, False, cluster)


@app.command()
def resume(
    plan: PlanArgument = LATEST, reason: ReasonOption = "", cluster: remote.ClusterOption = None
) -> None:
    """Go on with a paused plan."""
    _wish("resume", plan, None, reason, False, cluster)


@app.command()
def abort(
    plan: PlanArgument = LATEST,
    reason: ReasonOption = "",
    wait: WaitOption = False,
    cluster: remote.ClusterOption = None,
) -> None:
    """End a plan: nothing more is begun, and what is under way is cancelled."""
    _wish("abort", plan, None, reason, wait, cluster)


@app.command()
def watch(plan: PlanArgument = LATEST, cluster: remote.ClusterOption = None) -> None:
    """Follow a plan until it is over; ends with 1 if steps were left undone."""
    asked = remote.client()
    _end_with(_awaited(asked, _path(asked, cluster, plan), _is_over))


@schedule.command("show")
def show_schedule(cluster: remote.ClusterOption = None, as_json: remote.JsonOption = False) -> None:
    """Show when the cluster is balanced, what is next, and what holds it back."""
    asked = remote.client()
    told = asked.get(remote.cluster_path(asked, cluster, "schedule")).body
    if as_json:
        remote.show_json(told)
        return
    rows = [{"name": name, "value": value} for name, value in _flat(told).items()]
    columns = (
        Column(name="", show=lambda row: str(row["name"]).replace("_", " ")),
        Column(name="value"),
    )
    console.out().print(remote.table(rows, columns))


@schedule.command("set")
def set_schedule(
    automation: Annotated[str | None, typer.Option(help="recommend, approve or automatic.")] = None,
    interval: Annotated[int | None, typer.Option(help="Minutes between plans.")] = None,
    cron: Annotated[str | None, typer.Option(help="Instead: five fields of cron.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="Of cron and blackouts.")] = None,
    paused: Annotated[bool | None, typer.Option("--pause/--unpause", help="The switch.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="The whole schedule instead.", metavar="JSON")
    ] = None,
    cluster: remote.ClusterOption = None,
) -> None:
    """Change when a cluster is balanced by itself; what is not named stays."""
    from service.commands.whatif import read_json

    asked = remote.client()
    path = remote.cluster_path(asked, cluster, "schedule")
    before = asked.get(path)
    given = {"automation": automation, "time_zone": time_zone, "paused": paused}
    body = {**before.body["schedule"], **{k: v for k, v in given.items() if v is not None}}
    if interval is not None or cron is not None:
        body |= {"interval_minutes": interval, "cron": cron}
    if file is not None:
        body = read_json(file)
    told = asked.send("PUT", path, body, etag=before.etag).body["schedule"]
    remote.say(f"the schedule is set: {told['automation']}{', paused' if told['paused'] else ''}")


def _wish(
    what: str, plan: str, step: int | None, reason: str, wait: bool, cluster: str | None
) -> None:
    asked = remote.client()
    path = _path(asked, cluster, plan)
    where = path if step is None else f"{path}/steps/{step}"
    told = asked.send("POST", f"{where}/{what}", {"reason": reason}).body
    remote.say(f"plan {told['id']}: {what} is taken down; it is {told['stage']}")
    if wait:
        _end_with(_awaited(asked, path, _is_over))


def _path(asked: Client, cluster: str | None, plan: str) -> str:
    """Return the path of a plan, of the latest if none is named."""
    from solver.domain.errors import InvalidInputError

    plans = remote.cluster_path(asked, cluster, "plans")
    if plan != LATEST:
        from service.client.http import path_of

        return plans + path_of(plan)
    found = [row["id"] for row in asked.items(plans, most=1)]
    if not found:
        raise InvalidInputError("plan: expected one to be there, but none was made yet")
    return f"{plans}/{found[0]}"


def _awaited(asked: Client, path: str, is_enough: Any) -> Any:
    """Return a plan once it is as wanted."""
    with console.err().status("plan") as status:
        while True:
            told = asked.get(path).body
            if is_enough(told):
                return told
            done = sum(step["state"] == "done" for step in told["steps"])
            status.update(
                f"plan {told['id']}: {told['stage']}, {done} of {told['num_steps']} steps"
            )
            time.sleep(remote.POLL_S)


def _is_over(told: Any) -> bool:
    return told["stage"] in OVER


def _end_with(told: Any) -> None:
    _show(told)
    if told["stage"] != "done":
        raise typer.Exit(1)


def _show(told: Any) -> None:
    saved = _saved(told)
    worth = f", saves {saved} host-s" if saved else ""
    remote.say(f"plan {told['id']}: {told['stage']}{worth}")
    texts = (told["reason"], told["state_reason"], told["not_carried_out"], *told["objections"])
    for text in texts:
        if text:
            remote.say(text)
    if told["steps"]:
        console.out().print(remote.table(told["steps"], STEPS))


def _saved(row: Any) -> str:
    benefit = row["benefit_host_s"]
    return "" if benefit is None else f"{benefit:,.1f}"


def _state(row: Any) -> str:
    state = str(row["state"] or row["decision"] or "planned").replace("_", " ")
    running = 0 < row["fraction"] < 1
    return f"{state} {row['fraction']:.0%}" if running else state


def _flat(told: Any) -> dict[str, Any]:
    """Return what there is to say of a schedule, one line each."""
    rows: dict[str, Any] = {}
    for name, value in {**told["schedule"], **(told["status"] or {})}.items():
        if isinstance(value, dict):
            rows |= {f"{name}: {inner}": one for inner, one in value.items()}
        elif name == "blackouts":
            rows[name] = [f"{'/'.join(b['days'])} {b['start']} to {b['end']}" for b in value]
        else:
            rows[name] = value
    return rows
