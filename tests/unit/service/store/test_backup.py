"""Copies of stores: whole, consistent, and good for either database."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from service.cli import run
from service.store.backup import back_up, restore
from service.store.base import AuditEntry, Item, Kind
from service.store.engine import Database
from service.store.errors import StoreError
from service.store.sql import open_store
from tests.builders import NOW
from tests.filled_store import contents, fill
from tests.postgresql import PostgreSQL


@pytest.fixture(params=["to sqlite", "to postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database that is to be filled."""
    if request.param == "to sqlite":
        return f"sqlite:///{tmp_path / 'other.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql_server")
    return server.new_database()


def test_a_copy_of_either_database_fills_either(
    store_url: str, other_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every row of every table; the new store goes on from there, and so may its numbers."""
    fill(store_url)
    file = tmp_path / "copy"
    assert run(["backup", str(file), "--store", store_url]) == 0
    assert run(["restore", str(file), "--store", other_url]) == 0
    assert "was written to" in capfd.readouterr().out
    copied = contents(other_url)
    assert copied == contents(store_url)
    assert [name for name, rows in copied.items() if not rows] == ["leases"]
    store = open_store(other_url)
    with store.begin() as tx:
        tx.attempts.note("e", NOW)
        assert tx.attempts.count("e", NOW.replace(year=2000)) == 2
        tx.audit.append(entry())
        assert [each.number for each in tx.audit.page(limit=9)] == [2, 1]
    store.close()


def entry() -> AuditEntry:
    """Return an entry of the log."""
    return AuditEntry(at=NOW, actor="e", action="a", cluster_id="c1", subject="s")


def test_a_copy_shows_one_instant_while_the_service_goes_on(store_url: str, tmp_path: Path) -> None:
    """As many changes as entries about them, however many it caught."""
    store = open_store(store_url)
    written = threading.Event()
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.is_set():
            number += 1
            with store.begin() as tx:
                tx.blobs.put("c1", str(number), NOW, bytes(20_000))
                item = Item(
                    kind=Kind.RULE, cluster_id="c1", id=str(number), document={}, changed_at=NOW
                )
                tx.items.put(item, expected_revision=0)
                tx.audit.append(entry())
            if number == 20:
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(60)
        store.back_up(tmp_path / "copy")
    finally:
        done.set()
        writer.join()
        store.close()
    copy = contents(f"sqlite:///{tmp_path / 'copy'}")
    assert len(copy["items"]) == len(copy["audit"]) == len(copy["blobs"]) >= 20


def test_nobody_holds_a_lease_in_a_copy(postgresql_server: PostgreSQL, tmp_path: Path) -> None:
    """Whoever starts from it need not wait; tokens go on rising."""
    url = postgresql_server.new_database()
    store = open_store(url)
    store.lease("leader", ttl_s=1000).acquire()
    store.back_up(tmp_path / "copy")
    store.close()
    other_url = postgresql_server.new_database()
    with closing(Database(other_url)) as other:
        restore(tmp_path / "copy", other)
    with closing(open_store(other_url)) as restored:
        assert restored.lease("leader", ttl_s=1000).acquire() == 2


def test_a_copy_is_its_owners_alone_and_one_file(store_url: str, tmp_path: Path) -> None:
    """It holds what the store holds, secrets' hashes too, and nothing lies beside it."""
    fill(store_url)
    folder = tmp_path / "copies"
    folder.mkdir()
    with closing(open_store(store_url)) as store:
        store.back_up(folder / "copy")
    assert [path.name for path in folder.iterdir()] == ["copy"]
    assert (folder / "copy").stat().st_mode & 0o777 == 0o600


def test_a_file_that_exists_is_not_written_over(store_url: str, tmp_path: Path) -> None:
    """It may be the only good copy."""
    (tmp_path / "copy").write_text("precious")
    with closing(open_store(store_url)) as store:
        with pytest.raises(StoreError, match="exists already"):
            store.back_up(tmp_path / "copy")
        with pytest.raises(StoreError, match="nowhere"):
            store.back_up(tmp_path / "nowhere" / "copy")
    assert (tmp_path / "copy").read_text() == "precious"
    assert not (tmp_path / "copy.part").exists()


def test_a_store_that_holds_anything_is_not_filled(store_url: str, tmp_path: Path) -> None:
    """Neither mixed with a copy nor replaced by it."""
    fill(store_url)
    before = contents(store_url)
    with closing(Database(store_url)) as database:
        back_up(database, tmp_path / "copy")
        with pytest.raises(StoreError, match="nothing was changed"):
            restore(tmp_path / "copy", database)
    assert contents(store_url) == before


def _text(path: Path) -> None:
    path.write_bytes(b"no database at all" * 500)


def _other(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE invoices (id)")


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_text, "cannot be read: file is not a database"),
        (_other, "no backup of a store"),
        (_cut, "malformed|damaged"),
        (_newer, "9999, newer than this program"),
        (Path.unlink, "there is no file"),
    ],
)
def test_what_is_no_whole_copy_is_refused(
    other_url: str,
    tmp_path: Path,
    change: Callable[[Path], None],
    message: str,
) -> None:
    """And the database holds nothing, as before."""
    source = f"sqlite:///{tmp_path / 'source.db'}"
    fill(source)
    copy = tmp_path / "copy"
    with closing(open_store(source)) as store:
        store.back_up(copy)
    change(copy)
    with closing(Database(other_url)) as other, pytest.raises(StoreError, match=message):
        restore(copy, other)
    with closing(open_store(other_url)) as store, store.begin() as tx:
        assert tx.audit.page(limit=1) == []


def test_the_commands_tell_what_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """In one line, with exit code 1, or 2 for what was asked wrongly."""
    nowhere = f"sqlite:///{tmp_path / 'store.db'}"
    assert run(["backup", str(tmp_path / "copy"), "--store", nowhere]) == 1
    assert run(["upgrade", "--store", nowhere]) == 1
    assert run(["upgrade", "--store", "mysql://x/y"]) == 2
    told = capfd.readouterr().err
    assert told.count("there is no store") == 2
    assert "expected sqlite:///PATH" in told
    assert list(tmp_path.iterdir()) == []


def test_upgrade_tells_the_versions(store_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    """And that there was nothing to do."""
    open_store(store_url).close()
    assert run(["upgrade", "--store", store_url]) == 0
    assert "has schema 0001 already" in capfd.readouterr().out
