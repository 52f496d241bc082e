"""``foreswap capacity``: how many hosts, how much room, and what the loss of one host does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import console
from service.options import positive_seconds, require_writable
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from solver.capacity.question import Flavour, HostsNeeded, HostType, Room, Survival
    from solver.domain.cluster import Cluster
    from solver.domain.scenario import ScenarioSet

_TYPE = re.compile(r"^(?P<host>.+)=(?P<price>\d{1,9})(:(?P<most>\d{1,6}))?$")


def capacity(
    cluster: Annotated[Path, typer.Argument(help="Cluster document.", metavar="CLUSTER.json")],
    scenarios: Annotated[
        Path | None, typer.Option(help="Demand: a scenario document.", metavar="FILE")
    ] = None,
    fresh: Annotated[
        Path | None,
        typer.Option(
            help="Scenarios that hosts are not sized on, to judge the answer by; many, and drawn "
            "anew. Hosts are added until they stand these, too.",
            metavar="FILE",
        ),
    ] = None,
    host_type: Annotated[
        list[str] | None,
        typer.Option(
            help="How many hosts are needed? Hosts like HOST may be had at this price, at most MAX "
            "of them; may be given several times; needs --scenarios.",
            metavar="HOST=PRICE[:MAX]",
        ),
    ] = None,
    flavour: Annotated[
        str | None,
        typer.Option(help="How many more VMs like this one fit? Needs --scenarios.", metavar="VM"),
    ] = None,
    target: Annotated[
        float,
        typer.Option(help="Largest probability that any host is overloaded.", min=0.0, max=1.0),
    ] = 0.01,
    survive_loss: Annotated[
        bool, typer.Option("--survive-loss", help="Answers must stand the loss of any one host.")
    ] = False,
    limit: Annotated[str, typer.Option(help="Time for each question, e.g. 10s.")] = "10s",
    json: Annotated[
        Path | None, typer.Option(help="Write the answers here as JSON.", metavar="OUT")
    ] = None,
) -> None:
    """Say whether a lost host is survived, how many more VMs fit, and what hosts are needed."""
    from service.whatif.work import hosts_document, room_document, survival_document
    from solver.capacity.hosts import hosts_needed
    from solver.capacity.room import room_for
    from solver.capacity.survival import survival
    from solver.instances import read_cluster, read_scenarios, write_document

    require_writable(json, "--json")
    limit_s = float(positive_seconds(limit, "--limit"))
    if not 0.0 <= target <= 1.0:  # NaN passes the option's own range
        raise InvalidInputError(f"expected 0..1, got {target}", path="--target")
    target_ppm = round(target * 1_000_000)
    if scenarios is None and (host_type or flavour is not None):
        raise InvalidInputError("expected the demand of the VMs, got none", path="--scenarios")
    if fresh is not None and not host_type:
        raise InvalidInputError("expected --host-type with it, got none", path="--fresh")
    snapshot = read_cluster(cluster)
    document: dict[str, Any] = {"foreswap": "capacity", "version": 1}
    # Every word is judged before any answer is shown.
    kinds = [_type_of(snapshot, text) for text in host_type or ()]
    demand = None if scenarios is None else read_scenarios(scenarios)
    if demand is not None:
        demand = demand.for_vms(tuple(vm.id for vm in snapshot.vms))
    unseen = None if fresh is None else read_scenarios(fresh)
    asked = None
    if demand is not None and flavour is not None:
        asked = _flavour_of(snapshot, demand, flavour)
    with console.err().status("counting"):
        lost = survival(snapshot, limit_s=limit_s)
    document["survival"] = survival_document(lost)
    _show_survival(lost)
    if demand is not None and asked is not None:
        with console.err().status("counting"):
            room = room_for(
                snapshot,
                demand,
                asked,
                target_ppm=target_ppm,
                survive_loss=survive_loss,
                limit_s=limit_s,
            )
        document["room"] = room_document(room)
        _show_room(room, asked.template.id)
    if demand is not None and kinds:
        with console.err().status("counting"):
            needed = hosts_needed(
                snapshot.vms,
                demand,
                kinds,
                target_ppm=target_ppm,
                survive_loss=survive_loss,
                fresh=unseen,
                limit_s=limit_s,
            )
        document["hosts_needed"] = hosts_document(needed)
        _show_hosts(needed, demand, unseen)
    if json is not None:
        write_document(json, document)


def _type_of(cluster: Cluster, text: str) -> HostType:
    """Return hosts like one of the cluster, at a price."""
    from solver.capacity.question import HostType

    match = _TYPE.match(text)
    if match is None:
        raise InvalidInputError(
            f"expected a host, a whole price and perhaps a number, such as alpha=100 or "
            f"alpha=100:8, got {text!r}",
            path="--host-type",
        )
    for host in cluster.hosts:
        if host.id == match["host"]:
            most = None if match["most"] is None else int(match["most"])
            return HostType(template=host, price=int(match["price"]), max_count=most)
    raise InvalidInputError(
        f"expected a host of the cluster, got {match['host']!r}", path="--host-type"
    )


def _flavour_of(cluster: Cluster, demand: ScenarioSet, vm_id: str) -> Flavour:
    """Return VMs like one of the cluster, which want what it wants when it does."""
    from solver.capacity.question import Flavour

    for i, vm in enumerate(cluster.vms):
        if vm.id == vm_id:
            return Flavour(template=vm, demand=demand.demand[:, i])
    raise InvalidInputError(f"expected a VM of the cluster, got {vm_id!r}", path="--flavour")


def _show_survival(lost: Survival) -> None:
    from service.tables import counted

    out = console.out()
    verdicts = {
        True: "the loss of any one host is survived",
        False: "the loss of a host is not survived",
        None: "not known in the time given",
    }
    out.print(f"N+1: {verdicts[lost.survives]}")
    failing = [loss for loss in lost.losses if loss.survived is not True]
    worst = lost.worst
    if not failing or worst is None:
        return
    table = _table("Losses that leave VMs out", ("host", "VMs left out", "what lacks"))
    for loss in sorted(failing, key=lambda loss: -len(loss.left_out)):
        table.add_row(loss.host_id, str(len(loss.left_out)), loss.lacks)
    out.print(table)
    out.print(
        f"worst: {worst.host_id}, {counted(len(worst.left_out), 'VM')} left out", soft_wrap=True
    )


def _show_room(room: Room, vm_id: str) -> None:
    out = console.out()
    at_most = "" if room.bound == room.number else f", at most {room.bound:,}"
    out.print(
        f"room for {room.number:,} more like {vm_id} ({room.status.value}{at_most}); "
        f"P(any overload) {room.overload_ppm / 1e4:.2f} %; held back by: {room.limits}",
        soft_wrap=True,
        markup=False,
    )
    if room.by_host:
        table = _table("Where they would go", ("host", "VMs"))
        for host_id, number in room.by_host.items():
            table.add_row(host_id, f"{number:,}")
        out.print(table)


def _show_hosts(needed: HostsNeeded, demand: ScenarioSet, unseen: ScenarioSet | None) -> None:
    from service.tables import counted

    out = console.out()
    if not needed.hosts:
        out.print(f"hosts needed: {needed.status.value}: {needed.limits}", soft_wrap=True)
        return
    table = _table("Hosts needed", ("like", "number"))
    for name, number in needed.counts.items():
        table.add_row(name, f"{number:,}")
    out.print(table)
    out.print(
        f"price {needed.price:,}, no answer below {needed.bound:,} ({needed.status.value}, gap "
        f"{100 * needed.gap:.1f} %); hangs on: {needed.limits}",
        soft_wrap=True,
    )
    sized_on = counted(demand.num_scenarios, "scenario")
    told = (
        f"P(any overload) {needed.overload_ppm / 1e4:.2f} % on the {sized_on} that the hosts are "
        "sized on, "
    )
    if unseen is None or needed.fresh_overload_ppm is None:
        told += "and more on others: judge by --fresh"
    else:
        verdict = "met" if needed.meets_target else "not met"
        told += (
            f"{needed.fresh_overload_ppm / 1e4:.2f} % on {unseen.num_scenarios:,} fresh ones: the "
            f"target of {needed.target_ppm / 1e4:g} % is {verdict}, with a margin of "
            f"{100 * (needed.margin - 1):.0f} % on demand"
        )
    out.print(told, soft_wrap=True)


def _table(title: str, columns: tuple[str, ...]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i == 1 else "left")
    return table
