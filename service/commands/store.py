"""``backup``, ``restore``, ``upgrade`` and ``rescue``: care of what the service remembers."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands import console
from service.commands.config import FileOption

if TYPE_CHECKING:
    from service.store.engine import Database

URL_HELP = "Database instead of the settings', such as sqlite:////var/lib/foreswap/foreswap.db."

UrlOption = Annotated[str, typer.Option("--store", help=URL_HELP, metavar="URL")]


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist.", metavar="FILE")],
    config: FileOption = None,
    store: UrlOption = "",
) -> None:
    """Write a whole copy of the store to one file, while the service goes on."""
    from service.store import schema
    from service.store.backup import back_up

    with closing(_database(config, store, must_exist=True)) as database:
        with database.reading() as connection:
            schema.require_current(schema.version_of(connection))
        with console.err().status("writing"):
            back_up(database, file)
        size_mib = file.stat().st_size / 2**20
        _say(f"{database.shown_url} was written to {file}, {size_mib:,.1f} MiB")


def restore(
    file: Annotated[Path, typer.Argument(help="What backup has written.", metavar="FILE")],
    config: FileOption = None,
    store: UrlOption = "",
) -> None:
    """Fill a new, empty database with a copy of any version up to this one."""
    from service.store import backup, schema

    with closing(_database(config, store, must_exist=False)) as database:
        with console.err().status("restoring"):
            version = backup.restore(file, database)
        latest = schema.versions()[-1]
        upgraded = "" if version == latest else f", upgraded to {latest}"
        _say(f"{database.shown_url} holds what {file} holds, schema {version}{upgraded}")


def upgrade(config: FileOption = None, store: UrlOption = "") -> None:
    """Bring the store to this version's schema, wholly or not at all; stop the service first."""
    from service.store import schema

    with closing(_database(config, store, must_exist=True)) as database:
        before, now = schema.upgrade(database)
        if before == now:
            _say(f"{database.shown_url} has schema {now} already")
        else:
            _say(f"{database.shown_url} was upgraded from schema {before or 'none'} to {now}")


def rescue(
    name: Annotated[str, typer.Argument(help="User to be let in as an admin.")] = "admin",
    config: FileOption = None,
    store: UrlOption = "",
) -> None:
    """Give an admin a password for one login, when nobody is left who can; the service may run."""
    from service.security import accounts
    from service.security.passwords import Passwords, one_time_password
    from service.store.sql import open_store

    with closing(_database(config, store, must_exist=True)) as database:
        url = database.url.render_as_string(hide_password=False)
    with closing(open_store(url)) as opened:
        password = one_time_password()
        password_hash = Passwords().hash(password)
        with opened.begin() as tx:
            accounts.rescue(tx, name, password_hash, datetime.now(UTC))
    _say(f"log in as {name} with the one-time password {password}")


def _database(config: Path | None, url: str, *, must_exist: bool) -> Database:
    from service.settings import load_settings
    from service.store.engine import Database
    from service.store.errors import NotFoundError

    database = Database(url or load_settings(config).store.effective_url)
    if must_exist and database.is_sqlite and not database.path.exists():
        raise NotFoundError(f"there is no store {str(database.path)!r}")
    return database


def _say(message: str) -> None:
    console.out().print(message, markup=False, soft_wrap=True)
