"""``foreswap token``, ``user`` and ``audit``: who may ask, and what they changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from service.commands import remote
from service.commands.remote import Column

token = typer.Typer(help="Credentials of programs.", no_args_is_help=True)
user = typer.Typer(help="People who may log in.", no_args_is_help=True)
sessions = typer.Typer(help="Logins of people.", no_args_is_help=True)

RoleOption = Annotated[str, typer.Option(help="viewer, owner, operator, admin; agent for tokens.")]

TOKENS = (
    Column(name="token", show=lambda row: str(row["name"])),
    Column(name="role"),
    Column(name="reaches", show=lambda row: _reach(row)),
    Column(name="made by", show=lambda row: str(row["made_by"])),
    Column(name="last used (UTC)", show=remote.instant("last_used_at")),
    Column(name="expires (UTC)", show=remote.instant("expires_at")),
)
USERS = (
    Column(name="user", show=lambda row: str(row["name"])),
    Column(name="role"),
    Column(name="owner"),
    Column(
        name="has to change password", show=lambda row: remote.words(row["must_change_password"])
    ),
)
AUDIT = (
    Column(name="number", right=True),
    Column(name="at (UTC)", show=remote.instant("at")),
    Column(name="who", show=lambda row: str(row["actor"])),
    Column(name="action"),
    Column(name="subject"),
    Column(name="before → after", show=lambda row: _change(row)),
)


@token.command("list")
def list_tokens(as_json: remote.JsonOption = False) -> None:
    """List tokens."""
    rows = remote.client().items("/tokens")
    remote.show_rows(rows, TOKENS, as_json=as_json, nothing="no tokens")


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Name of the token.")],
    role: RoleOption = "viewer",
    cluster: Annotated[str, typer.Option(help="The only cluster it reaches.")] = "",
    host: Annotated[str | None, typer.Option(help="The only host an agent delivers for.")] = None,
    owner: Annotated[str, typer.Option(help="Whose VMs, for the role owner.")] = "",
    expires: Annotated[
        datetime | None, typer.Option(help="When it ends, UTC.", formats=["%Y-%m-%d"])
    ] = None,
) -> None:
    """Make a token; its secret is printed this once."""
    body = {
        "name": name,
        "role": role,
        "cluster_id": cluster,
        "host_id": host,
        "owner": owner,
        "expires_at": None if expires is None else f"{expires:%Y-%m-%dT%H:%M:%S}Z",
    }
    answer = remote.client().send("POST", "/tokens", body)
    typer.echo(answer.body["secret"])


@token.command("revoke")
def revoke_token(name: Annotated[str, typer.Argument(help="Name of the token.")]) -> None:
    """Revoke a token; from now on it is unknown."""
    from service.client.http import path_of

    remote.client().send("DELETE", path_of("tokens", name))
    remote.say(f"token {name} is revoked")


@user.command("list")
def list_users(as_json: remote.JsonOption = False) -> None:
    """List users."""
    rows = remote.client().items("/users")
    remote.show_rows(rows, USERS, as_json=as_json, nothing="no users")


@user.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    role: RoleOption = "viewer",
    owner: Annotated[str, typer.Option(help="Whose VMs, for the role owner.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the first password from a line there.")
    ] = False,
) -> None:
    """Let somebody log in; the password has to be changed at the first login."""
    from service.client.http import path_of
    from service.commands.login import ask_password

    password = ask_password(f"first password of {name}", password_stdin, confirm=True)
    body = {"role": role, "owner": owner, "password": password}
    remote.client().send("PUT", path_of("users", name), body)
    remote.say(f"user {name} may log in")


@user.command("set-role")
def set_role(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    role: Annotated[str, typer.Argument(help="viewer, owner, operator or admin.")],
    owner: Annotated[str, typer.Option(help="Whose VMs, for the role owner.")] = "",
) -> None:
    """Give a user another role; they have to log in again."""
    from service.client.http import path_of

    asked = remote.client()
    path = path_of("users", name)
    etag = asked.get(path).etag
    asked.send("PUT", path, {"role": role, "owner": owner}, etag=etag)
    remote.say(f"user {name} has the role {role}")


@user.command("reset-password")
def reset_password(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    as_json: remote.JsonOption = False,
) -> None:
    """Give somebody else a password for one login; it is printed this once."""
    from service.client.http import path_of

    answer = remote.client().send("POST", path_of("users", name, "password"))
    if as_json:
        remote.show_json(answer.body)
    else:
        typer.echo(answer.body["password"])


@sessions.command("end")
def end_sessions(
    name: Annotated[str, typer.Argument(help="Name of the user.")],
    as_json: remote.JsonOption = False,
) -> None:
    """End every session of a user; one's own end with `foreswap logout --everywhere`."""
    from service.client.http import path_of

    answer = remote.client().send("DELETE", path_of("users", name, "sessions"))
    if as_json:
        remote.show_json(answer.body)
    else:
        remote.say(f"sessions of {name} that ended: {answer.body['num_ended']}")


@user.command("remove")
def remove_user(name: Annotated[str, typer.Argument(help="Name of the user.")]) -> None:
    """Remove a user; their sessions end."""
    from service.client.http import path_of

    remote.client().send("DELETE", path_of("users", name), etag="*")
    remote.say(f"user {name} is removed")


def audit(
    cluster: Annotated[str | None, typer.Option("--cluster", "-c", help="Only of one.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only what begins with this path.")] = None,
    action: Annotated[str | None, typer.Option(help="Only what begins so, as `plans.`.")] = None,
    actor: Annotated[str | None, typer.Option(help="Only by this user or token.")] = None,
    limit: remote.MostOption = 50,
    as_json: remote.JsonOption = False,
) -> None:
    """Show what was changed, by whom, the latest first."""
    rows = remote.client().items(
        "/audit", most=limit, cluster_id=cluster, subject=subject, action=action, actor=actor
    )
    remote.show_rows(rows, AUDIT, as_json=as_json, nothing="no such change")


def _reach(row: Any) -> str:
    parts = [f"{what} {row[key]}" for what, key in _BOUNDS if row[key]]
    return ", ".join(parts) or "everything"


_BOUNDS = (("cluster", "cluster_id"), ("host", "host_id"), ("owner", "owner"))


def _change(row: Any) -> str:
    """Return what differs between before and after."""
    before, after = row["before"] or {}, row["after"] or {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    parts = [f"{name}: {_short(before.get(name))} → {_short(after.get(name))}" for name in names]
    return "; ".join(parts[:4]) + (" …" if len(parts) > 4 else "")


def _short(value: Any) -> str:
    text = "–" if value is None else remote.words(value)
    return text if len(text) <= 40 else text[:39] + "…"
