"""``foreswap login`` and ``foreswap logout``: a session of a person with the service."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import remote

if TYPE_CHECKING:
    from service.client.http import Client


def login(
    user: Annotated[str, typer.Option(help="Who logs in.", prompt=True)] = "admin",
    url: Annotated[
        str | None, typer.Option(help="Where the service is (http://127.0.0.1:8470).")
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option(help="Certificate authorities to trust instead.", metavar="FILE")
    ] = None,
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="Read the password from standard input, and from a second line a new one.",
        ),
    ] = False,
) -> None:
    """Log in; later commands ask as this user until `foreswap logout`."""
    import os

    from service.client.http import Client
    from service.client.login import Access, load_access, require_private, save_access

    before = load_access()
    access = Access(url=(url or before.url).rstrip("/"), ca_file=ca_file or before.ca_file)
    require_private(access, os.environ)
    password = ask_password("password", password_stdin)
    answer = Client(access).send("POST", "/session", {"user": user, "password": password})
    access = replace(
        access,
        user=user,
        cookie=answer.headers.get("Set-Cookie", "").split(";")[0],
        csrf_token=answer.body["csrf_token"],
    )
    if answer.body["must_change_password"]:
        _change_password(Client(access), password, password_stdin)
    file = save_access(access)
    remote.say(f"{user} is logged in at {access.url} as {answer.body['role']} (kept in {file})")


def logout(
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="End all sessions of this user.")
    ] = False,
) -> None:
    """Log out and forget the session."""
    from service.client.errors import ExitCode, ServiceError
    from service.client.login import forget_access

    asked = remote.client()
    try:
        asked.send("DELETE", "/session", query={"everywhere": "true"} if everywhere else None)
    except ServiceError as error:
        if error.exit_code is not ExitCode.REFUSED:
            raise
        # The session had ended already.
    forget_access()
    remote.say(f"logged out at {asked.access.url}")


def whoami(as_json: remote.JsonOption = False) -> None:
    """Say who asks the service, and what they may reach."""
    me: dict[str, Any] = remote.client().get("/session").body
    me.pop("csrf_token", None)
    if as_json:
        remote.show_json(me)
        return
    bounds = [f"{name} {me[name]}" for name in ("owner", "cluster_id", "host_id") if me[name]]
    remote.say(f"{me['name']}, {me['role']}{''.join(f', {bound}' for bound in bounds)}")


def _change_password(asked: Client, current: str, from_stdin: bool) -> None:
    if not from_stdin:
        typer.echo("The password was given by somebody else and has to be changed.", err=True)
    new = ask_password("new password", from_stdin, confirm=True)
    asked.send("PUT", "/session/password", {"current_password": current, "new_password": new})


def ask_password(what: str, from_stdin: bool, *, confirm: bool = False) -> str:
    """Return a password, typed unseen or from a line of standard input."""
    from solver.domain.errors import InvalidInputError

    if not from_stdin:
        typed: str = typer.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
        return typed
    line = sys.stdin.readline().rstrip("\n")
    if not line:
        raise InvalidInputError(f"expected the {what} on a line of standard input, got none")
    return line
