"""``foreswap status``: is the service in order, who asks, and what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import remote

if TYPE_CHECKING:
    from service.client.http import Client


def status(
    alive: Annotated[
        bool, typer.Option("--alive", help="Only whether it lives; needs no login.")
    ] = False,
    as_json: remote.JsonOption = False,
) -> None:
    """Say whether the service is in order; ends with 6 if it is not."""
    asked = remote.client()
    told: dict[str, Any] = {"url": asked.access.url, "alive": asked.alive()}
    if not alive:
        told |= _all(asked)
    if as_json:
        remote.show_json(told)
    else:
        _show(told)
    if not all(state == "ok" for state in told.get("checks", {}).values()):
        from service.client.errors import ExitCode

        raise typer.Exit(ExitCode.AWAY)


def _all(asked: Client) -> dict[str, Any]:
    me = asked.get("/session").body
    return {
        "checks": asked.readiness(),
        "user": me["name"],
        "role": me["role"],
        "clusters": [] if me["cluster_id"] else list(asked.items("/clusters")),
    }


def _show(told: dict[str, Any]) -> None:
    from service.commands.inventory import CLUSTERS

    remote.say(f"{told['url']} is {'alive' if told['alive'] else 'not alive'}")
    for name, state in told.get("checks", {}).items():
        remote.say(f"{name}: {state}")
    if "user" in told:
        remote.say(f"asked as {told['user']}, {told['role']}")
    if told.get("clusters"):
        from service.commands import console

        console.out().print(remote.table(told["clusters"], CLUSTERS))
