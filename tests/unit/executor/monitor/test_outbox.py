"""The outbox keeps what it was given, in order, within bounds, whatever happens to the disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.monitor.outbox import MAX_WAITING, MIN_BYTES, Outbox
from executor.monitor.segments import find_segments
from solver.domain.errors import InvalidInputError
from tests.machine import without


def drain(outbox: Outbox, *, max_records: int = 7) -> list[bytes]:
    """Deliver everything and return it in the order it came out."""
    found = []
    while (batch := outbox.batch(max_records=max_records, max_bytes=10**6)) is not None:
        found += [payload for _, payload in batch.entries]
        outbox.accept(batch.stream, batch.last_seq)
    return found


def payloads(number: int, *, size: int = 0) -> list[bytes]:
    """Return so many different records of at least a size."""
    return [b"record %06d " % each + b"x" * size for each in range(number)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that does not exist yet."""
    return tmp_path / "outbox"


def filled(folder: Path, records: list[bytes], *, max_bytes: int = 10**6) -> None:
    """Put records into a folder and leave it as a kill -9 would."""
    outbox = Outbox(folder, max_bytes=max_bytes)
    for record in records:
        outbox.append(record)
    os.close(outbox._lock)


def test_records_leave_in_their_order(folder: Path) -> None:
    """What was put in first comes out first, numbered from 1 without a hole."""
    outbox = Outbox(folder, max_bytes=10**6)
    for record in payloads(20):
        outbox.append(record)
    batch = outbox.batch(max_records=100, max_bytes=10**6)
    assert batch is not None
    assert [seq for seq, _ in batch.entries] == list(range(1, 21))
    assert drain(outbox) == payloads(20)
    assert outbox.num_records == 0


def test_batches_keep_to_their_bounds(folder: Path) -> None:
    """Neither records nor bytes go beyond, but one record always goes."""
    outbox = Outbox(folder, max_bytes=10**6)
    for record in payloads(10, size=100):
        outbox.append(record)
    by_number = outbox.batch(max_records=3, max_bytes=10**6)
    by_bytes = outbox.batch(max_records=10, max_bytes=250)
    at_least = outbox.batch(max_records=10, max_bytes=1)
    assert by_number is not None
    assert by_bytes is not None
    assert at_least is not None
    assert [len(b.entries) for b in (by_number, by_bytes, at_least)] == [3, 2, 1]


def test_another_life_takes_up_what_waits(folder: Path) -> None:
    """Records keep stream and number, the new life's come after them under its own."""
    filled(folder, payloads(5))
    outbox = Outbox(folder, max_bytes=10**6)
    outbox.append(b"new")
    first = outbox.batch(max_records=100, max_bytes=10**6)
    assert first is not None
    assert [payload for _, payload in first.entries] == payloads(5)
    outbox.accept(first.stream, 5)
    second = outbox.batch(max_records=100, max_bytes=10**6)
    assert second is not None
    assert second.stream != first.stream
    assert second.entries == ((1, b"new"),)


def test_what_was_accepted_does_not_come_again(folder: Path) -> None:
    """A part of a file that was delivered stays delivered in the next life."""
    outbox = Outbox(folder, max_bytes=10**6)
    for record in payloads(5):
        outbox.append(record)
    batch = outbox.batch(max_records=5, max_bytes=10**6)
    assert batch is not None
    outbox.accept(batch.stream, 3)
    outbox.close()
    assert drain(Outbox(folder, max_bytes=10**6)) == payloads(5)[3:]


def test_a_lost_note_sends_again_under_the_same_numbers(folder: Path) -> None:
    """Without the note of what was accepted a receiver still knows it by stream and number."""
    outbox = Outbox(folder, max_bytes=10**6)
    for record in payloads(5):
        outbox.append(record)
    before = outbox.batch(max_records=5, max_bytes=10**6)
    assert before is not None
    outbox.accept(before.stream, 3)
    outbox.close()
    (folder / "state").write_bytes(b"00000000 {}")
    again = Outbox(folder, max_bytes=10**6).batch(max_records=9, max_bytes=10**6)
    assert again == before


def test_files_that_are_delivered_are_removed(folder: Path) -> None:
    """The folder does not grow by what the service has."""
    outbox = Outbox(folder, max_bytes=MIN_BYTES)
    for record in payloads(100, size=200):
        outbox.append(record)
    assert len(find_segments(folder)) > 5
    drain(outbox)
    assert len(find_segments(folder)) == 1


def test_the_oldest_are_dropped_first_and_counted(folder: Path) -> None:
    """Beyond the bound the newest records stay, and the number of the others is known."""
    outbox = Outbox(folder, max_bytes=MIN_BYTES)
    records = payloads(1000, size=200)
    for record in records:
        outbox.append(record)
        assert outbox.num_bytes <= MIN_BYTES
    assert sum(path.stat().st_size for path in folder.glob("*.log")) <= MIN_BYTES
    dropped = outbox.tally.dropped
    assert 0 < dropped < 1000
    assert outbox.num_records == 1000 - dropped
    outbox.close()
    again = Outbox(folder, max_bytes=MIN_BYTES)
    assert again.tally.dropped == dropped
    assert drain(again) == records[dropped:]


def test_a_record_beyond_the_bound_is_dropped_alone(folder: Path) -> None:
    """One monstrous record does not cost the others their place."""
    outbox = Outbox(folder, max_bytes=MIN_BYTES)
    outbox.append(b"small")
    outbox.append(b"x" * MIN_BYTES)
    assert outbox.tally.dropped == 1
    assert drain(outbox) == [b"small"]


def test_a_torn_tail_is_passed_over(folder: Path) -> None:
    """A record that a crash cut off was promised to nobody, and is no damage."""
    filled(folder, payloads(3))
    (segment,) = find_segments(folder)
    with segment.path.open("ab") as file:
        file.write(b"12345678 4 half a rec")
    outbox = Outbox(folder, max_bytes=10**6)
    outbox.append(b"new")
    assert drain(outbox) == [*payloads(3), b"new"]
    assert outbox.tally.damaged == 0


@pytest.mark.parametrize("line", [0, 1, 4])
def test_damage_is_skipped_and_counted(folder: Path, line: int) -> None:
    """A record whose checksum is wrong costs itself only, wherever it stands."""
    filled(folder, payloads(5))
    (segment,) = find_segments(folder)
    lines = segment.path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b"record", b"rekord")
    segment.path.write_bytes(b"".join(lines))
    outbox = Outbox(folder, max_bytes=10**6)
    assert outbox.num_records == 4
    outbox.append(b"new")
    expected = [record for number, record in enumerate(payloads(5)) if number != line]
    assert drain(outbox) == [*expected, b"new"]
    assert outbox.tally.damaged == 1


def test_a_file_of_rubbish_is_passed_over(folder: Path) -> None:
    """Whole files may be lost to a broken disk; what stands behind them still leaves."""
    filled(folder, payloads(3))
    filled(folder, [b"kept"])
    find_segments(folder)[0].path.write_bytes(os.urandom(5000).replace(b"\n", b"\0") + b"\n")
    outbox = Outbox(folder, max_bytes=10**6)
    assert drain(outbox) == [b"kept"]
    assert outbox.tally.damaged == 1


def test_a_file_that_vanishes_under_way_is_counted(folder: Path) -> None:
    """Whoever deletes files of a running monitor loses records, and is told how many."""
    filled(folder, payloads(3))
    outbox = Outbox(folder, max_bytes=10**6)
    find_segments(folder)[0].path.unlink()
    outbox.append(b"new")
    assert drain(outbox) == [b"new"]
    assert outbox.tally.damaged == 3
    assert outbox.num_records == 0


def test_two_monitors_cannot_share_a_folder(folder: Path) -> None:
    """They would deliver each other's records twice."""
    outbox = Outbox(folder, max_bytes=10**6)
    with pytest.raises(InvalidInputError, match="another monitor uses it"):
        Outbox(folder, max_bytes=10**6)
    outbox.close()
    Outbox(folder, max_bytes=10**6).close()


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    """The message names the place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="file"):
        Outbox(tmp_path / "file", max_bytes=10**6)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        without("a small file system cannot be mounted: that needs root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(path: Path) -> None:
    """Write into a file until the disk is full."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(file, b"x" * 1024):
            pass
    os.close(file)


def test_a_full_disk_loses_nothing_that_is_there(small_disk: Path) -> None:
    """Records wait in memory, leave in order with the rest, and are written once there is room."""
    outbox = Outbox(small_disk / "outbox", max_bytes=10**6)
    ballast = small_disk / "ballast"
    outbox.append(b"before")
    fill(ballast)
    records = payloads(30, size=500)
    for record in records:
        outbox.append(record)
    assert outbox.write_error == "No space left on device"
    assert outbox.num_records == 31
    batch = outbox.batch(max_records=11, max_bytes=10**6)
    assert batch is not None
    assert [payload for _, payload in batch.entries] == [b"before", *records[:10]]
    outbox.accept(batch.stream, batch.last_seq)
    ballast.unlink()
    outbox.append(b"after")
    assert outbox.write_error == ""
    os.close(outbox._lock)
    again = Outbox(small_disk / "outbox", max_bytes=10**6)
    assert drain(again) == [*records[10:], b"after"]
    assert again.tally.dropped == again.tally.damaged == 0


FILE_LIMIT = """
import resource, sys
from pathlib import Path
from executor.monitor.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), max_bytes=10**7)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
for number in range(100):
    outbox.append(b"record %06d " % number + b"x" * 300)
print(outbox.write_error, outbox.num_records)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
outbox.append(b"after")
print(outbox.write_error, outbox.num_records)
outbox.close()
"""


def test_a_limit_on_file_size_loses_nothing(folder: Path) -> None:
    """A write that fails half-way is taken back, and made again when the limit is gone."""
    answer = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT, str(folder)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines() == ["File too large 100", " 101"]
    assert drain(Outbox(folder, max_bytes=10**7)) == [*payloads(100, size=300), b"after"]


def test_a_disk_that_stays_full_costs_the_oldest_that_wait(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded too; what it cannot hold is counted."""
    outbox = Outbox(folder, max_bytes=10**7)

    def full(file: int, line: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("executor.monitor.segments.os.write", full)
    records = payloads(MAX_WAITING + 10)
    for record in records:
        outbox.append(record)
    assert outbox.tally.dropped == 10
    assert drain(outbox) == records[10:]


def test_a_write_that_cannot_be_taken_back_is_left_behind(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails in the middle and refuses to forget it costs a new file, no record."""
    outbox = Outbox(folder, max_bytes=10**7)
    outbox.append(b"before")
    write = os.write

    def half(file: int, line: bytes) -> int:
        write(file, line[:7])
        raise OSError(5, "Input/output error")

    def stuck(file: int, length: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("executor.monitor.segments.os.write", half)
        broken.setattr("executor.monitor.segments.os.ftruncate", stuck)
        outbox.append(b"meanwhile")
    outbox.append(b"after")
    assert outbox.write_error == ""
    assert len(find_segments(folder)) == 2
    assert drain(outbox) == [b"before", b"meanwhile", b"after"]


ENDLESS = """
import sys
from pathlib import Path
from executor.monitor.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), max_bytes=10**7)
number = 0
while True:
    outbox.append(b"record %06d" % number)
    print(number, flush=True)
    number += 1
    if number % 5 == 0:
        batch = outbox.batch(max_records=3, max_bytes=10**6)
        outbox.accept(batch.stream, batch.last_seq)
        for _, payload in batch.entries:
            print("accepted", payload.decode(), flush=True)
"""


@pytest.mark.parametrize("after_lines", [1, 7, 40])
def test_kill_9_loses_nothing_that_was_kept(folder: Path, after_lines: int) -> None:
    """Whenever the process dies, every record it had kept and nobody had accepted is there."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(after_lines)]
    process.kill()
    lines += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    whole = [line.strip() for line in lines if line.endswith("\n")]
    kept = {f"record {int(line):06d}" for line in whole if line.isdigit()}
    accepted = {line.removeprefix("accepted ") for line in whole if line.startswith("accepted")}
    found = [payload.decode() for payload in drain(Outbox(folder, max_bytes=10**7))]
    assert kept - accepted <= set(found) | _accepted_untold(kept, accepted)
    assert found == sorted(found)
    assert len(found) == len(set(found))


def _accepted_untold(kept: set[str], accepted: set[str]) -> set[str]:
    """Return the records of a batch that was accepted when the process died before saying so."""
    if len(kept) % 5:
        return set()
    return set(sorted(kept - accepted)[:3])
