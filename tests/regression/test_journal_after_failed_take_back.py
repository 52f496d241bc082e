"""A journal must not be written behind the torn bytes of a failed write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from executor.errors import JournalError
from executor.journal import FileJournal
from executor.records import PlanChanged
from executor.states import PlanEvent, PlanState
from tests.builders import NOW


def record(plan_id: str) -> PlanChanged:
    """Return a record that can be told from others."""
    return PlanChanged(plan_id=plan_id, at=NOW, event=PlanEvent.SETTLE, state=PlanState.FINISHED)


def test_nothing_is_written_behind_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write failed half-way, and so did taking it back; the disk recovered a moment later.

    The next record was then glued to the torn bytes: the append succeeded, and from there on the
    journal was damaged in its middle and could never be read again. Now the journal refuses
    records until the torn bytes are gone.
    """
    path = tmp_path / "journal"
    real_write = os.write

    def half_write(descriptor: int, data: bytes) -> int:
        return real_write(descriptor, data[: len(data) // 2])

    def broken_truncate(descriptor: int, size: int) -> None:
        raise OSError("the disk does not answer")

    with FileJournal(path) as journal:
        journal.append(record("first"))
        whole = path.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(os, "ftruncate", broken_truncate)
            with monkeypatch.context() as writing:
                writing.setattr(os, "write", half_write)
                with pytest.raises(JournalError, match="torn line"):
                    journal.append(record("torn"))
            torn = path.read_bytes()
            with pytest.raises(JournalError, match="takes no record"):
                journal.append(record("refused"))
            assert path.read_bytes() == torn
            assert journal.read() == (record("first"),)
        assert torn.startswith(whole)
        assert len(torn) > len(whole)
        journal.append(record("second"))
        assert journal.read() == (record("first"), record("second"))
    with FileJournal(path) as again:
        assert again.torn_tail == b""
        assert again.read() == (record("first"), record("second"))
