"""The journal: durable, checked, and honest about what a crash tore."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from executor.drivers.base import MigrationHandle
from executor.errors import JournalError, LeaseLostError
from executor.journal import FileJournal, Journal, MemoryJournal, unfinished_plan
from executor.lease import FileLease
from executor.params import OnFailure
from executor.records import MoveChanged, PlanBegun, PlanChanged, Record, decode, encode
from executor.states import MoveEvent, MoveState, PlanEvent, PlanState
from solver.domain.plan import MoveCost, Step, StepKind
from solver.domain.units import HostId, VmId
from tests.builders import NOW
from tests.executor_builders import make_plan, migrate, start

LATER = NOW + timedelta(seconds=5, microseconds=17)


def begun(plan_id: str = "p1") -> PlanBegun:
    """Return the record of a plan that uses every field."""
    priced = Step(
        kind=StepKind.MIGRATE,
        vm_id=VmId('ü \\ "x"'),
        source_id=HostId("h1"),
        destination_id=HostId("h2"),
        start_ms=1,
        end_ms=2,
        parking=True,
        cost=MoveCost(utilisation=1, transfer=2, downtime=3, latency=2**62),
        reason="relieves h1\nby a lot",
    )
    plan = make_plan(priced, migrate("v1", "h1", "h2", at_s=1), start("v2", "h1", at_s=2))
    return PlanBegun(plan_id=plan_id, at=NOW, plan=plan, approval=True, on_failure=OnFailure.RETURN)


def changed(idx: int, event: MoveEvent, state: MoveState, plan_id: str = "p1") -> MoveChanged:
    """Return the record of a transition."""
    return MoveChanged(
        plan_id=plan_id,
        at=LATER,
        step_idx=idx,
        event=event,
        state=state,
        attempt=1,
        handle=MigrationHandle("v1/0"),
        reason="because",
        transferred_mib=7,
        duration_ms=None,
        downtime_ms=9,
        iterations=3,
    )


def ended(plan_id: str = "p1") -> PlanChanged:
    """Return the record of a plan's end."""
    return PlanChanged(plan_id=plan_id, at=LATER, event=PlanEvent.SETTLE, state=PlanState.FINISHED)


STORY: tuple[Record, ...] = (
    begun(),
    changed(1, MoveEvent.START, MoveState.STARTING),
    changed(1, MoveEvent.ACCEPTED, MoveState.RUNNING),
    ended(),
)


@pytest.mark.parametrize("record", STORY)
def test_records_read_back_as_they_were(record: Record) -> None:
    """One line of plain ASCII each, whatever the names."""
    line = encode(record)
    assert line.isascii()
    assert "\n" not in line
    assert decode(line) == record


@pytest.mark.parametrize(
    ("record", "field", "default"),
    [
        (STORY[0], "approval", False),
        (STORY[0], "on_failure", OnFailure.REPLAN),
        (STORY[1], "iterations", None),
    ],
)
def test_records_of_older_versions_are_read(record: Record, field: str, default: Any) -> None:
    """A journal outlives the version that wrote it: what it did not know yet has its default."""
    body = json.loads(encode(record).partition(" ")[2])
    del body[field]
    old = json.dumps(body)
    assert decode(f"{zlib.crc32(old.encode()):08x} {old}") == replace(record, **{field: default})


def test_both_journals_keep_the_order(tmp_path: Path) -> None:
    """What was appended is read back, from memory and from a file opened anew."""
    memory = MemoryJournal()
    with FileJournal(tmp_path / "journal") as file:
        journals: tuple[Journal, ...] = (memory, file)
        for journal in journals:
            for record in STORY:
                journal.append(record)
            assert journal.read() == STORY
    with FileJournal(tmp_path / "journal") as again:
        assert again.read() == STORY
        assert again.torn_tail == b""


@pytest.mark.parametrize("kept", [0, 1, 20, -1])
def test_a_torn_last_line_is_dropped_and_reported(tmp_path: Path, kept: int) -> None:
    """A crash while writing loses that record alone, and writing goes on after it."""
    path = tmp_path / "journal"
    with FileJournal(path) as journal:
        for record in STORY[:2]:
            journal.append(record)
        whole = path.read_bytes()
        journal.append(STORY[2])
    torn = path.read_bytes()[len(whole) :][:kept]
    path.write_bytes(whole + torn)
    with FileJournal(path) as journal:
        assert journal.torn_tail == torn
        assert journal.read() == STORY[:2]
        journal.append(STORY[3])
        assert journal.read() == (*STORY[:2], STORY[3])


@pytest.mark.parametrize("damage", [b"X", b"\xff", b"\n"])
def test_any_other_damage_names_the_line(tmp_path: Path, damage: bytes) -> None:
    """A record that was written whole and does not read back is no accident of a crash."""
    path = tmp_path / "journal"
    with FileJournal(path) as journal:
        for record in STORY:
            journal.append(record)
    content = bytearray(path.read_bytes())
    second = content.index(b"\n") + 1
    content[second + 30 : second + 31] = damage
    path.write_bytes(bytes(content))
    with pytest.raises(JournalError, match="journal:2: "):
        FileJournal(path)
    assert path.read_bytes() == bytes(content), "a damaged journal is left as it was found"


def test_a_record_of_another_format_is_refused() -> None:
    """A valid checksum does not make sense of unknown content."""
    import zlib

    body = '{"format":99}'
    with pytest.raises(JournalError, match="format 99"):
        decode(f"{zlib.crc32(body.encode()):08x} {body}")


def test_two_executors_cannot_share_a_journal(tmp_path: Path) -> None:
    """The file is locked while open, and free again afterwards."""
    with FileJournal(tmp_path / "journal"), pytest.raises(JournalError, match="in use"):
        FileJournal(tmp_path / "journal")
    FileJournal(tmp_path / "journal").close()


def test_a_failed_write_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told, nothing half-written stays, and the next write works."""
    with FileJournal(tmp_path / "journal") as journal:
        journal.append(STORY[0])
        real_write = os.write

        def short_write(descriptor: int, data: bytes) -> int:
            return real_write(descriptor, data[: len(data) // 2])

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", short_write)
            with pytest.raises(JournalError, match="cannot be written"):
                journal.append(STORY[1])
        assert journal.read() == STORY[:1]
        journal.append(STORY[2])
        assert journal.read() == (STORY[0], STORY[2])


def test_a_journal_needs_its_folder(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(JournalError, match="nowhere"):
        FileJournal(tmp_path / "nowhere" / "journal")


def test_only_the_last_plan_can_be_unfinished() -> None:
    """A plan that ended is history; of one that did not, the last state of each step counts."""
    assert unfinished_plan(()) is None
    assert unfinished_plan(STORY) is None
    found = unfinished_plan(
        (*STORY, begun("p2"), changed(0, MoveEvent.START, MoveState.STARTING, "p2"))
    )
    assert found is not None
    assert found.begun.plan_id == "p2"
    assert found.moves[0].state is MoveState.STARTING
    assert found.started_at == {0: LATER}
    assert found.state is PlanState.RUNNING


def test_a_journal_under_a_lease_is_the_holders_alone(tmp_path: Path) -> None:
    """Who lost the lease writes nothing; who has it reads first what others wrote meanwhile."""
    now_s = 0.0
    path = tmp_path / "journal"
    first, second = (FileLease(tmp_path / "lease", ttl_s=30, now_s=lambda: now_s) for _ in range(2))
    with pytest.raises(LeaseLostError):
        FileJournal(path, first)
    first.acquire()
    with FileJournal(path, first) as old:
        old.append(STORY[0])
        now_s = 30.0
        second.acquire()
        with FileJournal(path, second) as new:
            new.append(STORY[1])
            written = path.read_bytes()
            with pytest.raises(LeaseLostError):
                old.append(STORY[3])
            with pytest.raises(LeaseLostError):
                old.read()
            assert path.read_bytes() == written
            second.release()
            first.acquire()
            path.write_bytes(written + b"torn")
            old.append(STORY[2])
            assert old.torn_tail == b"torn"
            assert old.read() == STORY[:3]
            with pytest.raises(LeaseLostError):
                new.read()


def test_a_journal_is_used_with_a_lease_or_without(tmp_path: Path) -> None:
    """Whoever has none would not see that it was lost."""
    lease = FileLease(tmp_path / "lease")
    lease.acquire()
    with FileJournal(tmp_path / "journal", lease), pytest.raises(JournalError, match="in use"):
        FileJournal(tmp_path / "journal")
    with FileJournal(tmp_path / "journal"), pytest.raises(JournalError, match="in use"):
        FileJournal(tmp_path / "journal", lease)


def test_records_tell_under_which_token_they_were_written() -> None:
    """Without a lease they are written as before."""
    for record in STORY:
        assert '"token"' not in encode(record)
        fenced = replace(record, token=7)
        assert decode(encode(fenced)) == fenced
