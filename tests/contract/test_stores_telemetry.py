"""Every store keeps telemetry as ``service.store.base.Telemetry`` promises."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from executor.counters import VmState
from executor.monitor.sample import Figure, MinuteRecord
from forecast.history import BinState, History
from service.monitored import history_of_minutes
from service.store import series
from service.store.base import Received, Retention
from service.store.engine import Database
from service.store.series import Subject
from service.store.sql import SqlStore, open_store
from service.store.telemetry import SqlTelemetry
from solver.domain.errors import InvalidInputError, NotEnoughHistoryError
from solver.domain.units import HostId, Resource, VmId
from tests.telemetry import Fleet, flat, host_minute, vm_minute

START = datetime.fromisoformat("2026-03-02T00:00:00+00:00")
MINUTE, BIN, HOUR, DAY = (timedelta(minutes=n) for n in (1, 5, 60, 1440))
H1, H2 = HostId("h1"), HostId("h2")
KEEP = Retention()
NAN = float("nan")


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = START + HOUR

    def now(self) -> datetime:
        """Return what time it was set to."""
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The clock of the store."""
    return Clock()


@pytest.fixture
def store(store_url: str, clock: Clock) -> Iterator[SqlStore]:
    """An empty store of each kind."""
    store = open_store(store_url, now=clock.now)
    yield store
    store.close()


@pytest.fixture
def telemetry(store: SqlStore) -> SqlTelemetry:
    """Its telemetry."""
    return store.telemetry


def numbered(*records: MinuteRecord, first: int = 1) -> list[tuple[int, MinuteRecord]]:
    """Return records with their numbers in the stream."""
    return list(enumerate(records, start=first))


def deliver(telemetry: SqlTelemetry, *records: MinuteRecord, stream: str = "s") -> None:
    """Have the records taken, each by a stream of its own."""
    for number, record in enumerate(records):
        name = f"{stream}{number}{record.minute_at}"
        answer = telemetry.receive("c1", record.host_id, stream=name, records=[(1, record)])
        assert answer == Received(accepted_through=1)


def history_of(cpu: float | list[float], start_at: datetime, vm_id: str = "v1") -> History:
    """Return bins of one VM."""
    values = np.atleast_1d(np.array(cpu, dtype=np.float32))
    readings = np.stack([values * factor for factor in (1, 2, 3, 4)])[:, None]
    state = np.where(np.isnan(values), BinState.MISSING, BinState.MEASURED)
    return History(
        vm_ids=(VmId(vm_id),),
        start_at=start_at,
        readings=readings.astype(np.float32),
        state=state[None].astype(np.uint8),
        granted_mib=(values * 5)[None],
        vcpus=np.array([2]),
        memory_size_mib=np.array([4096]),
        app_types=("web",),
    )


def same(left: History, right: History) -> bool:
    """Whether two histories tell the same."""
    return (
        (left.vm_ids, left.start_at, left.app_types, left.step_seconds)
        == (right.vm_ids, right.start_at, right.app_types, right.step_seconds)
        and np.array_equal(left.state, right.state)
        and np.allclose(left.readings, right.readings, rtol=1e-6, equal_nan=True)
        and np.allclose(left.granted_mib, right.granted_mib, rtol=1e-6, equal_nan=True)
        and np.array_equal(left.vcpus, right.vcpus)
        and np.array_equal(left.memory_size_mib, right.memory_size_mib)
    )


# Receiving -----------------------------------------------------------------------------------


def test_records_are_kept_as_they_were_delivered(telemetry: SqlTelemetry) -> None:
    """To seven digits, in the order of their minutes, within their cluster."""
    off = vm_minute("v2", state=VmState.OFF, num_vcpus=None)
    first = host_minute("h1", START, vm_minute("v1", 350.125), off)
    second = host_minute("h1", START + MINUTE)
    telemetry.receive("c1", H1, stream="s", records=numbered(second))
    telemetry.receive("c1", H1, stream="t", records=numbered(first))
    telemetry.receive("c2", H1, stream="s", records=numbered(first))
    assert list(telemetry.records("c1", START, START + HOUR)) == [first, second]
    assert list(telemetry.records("c1", START + MINUTE, START + HOUR)) == [second]


def test_each_record_is_kept_once(telemetry: SqlTelemetry) -> None:
    """A batch that comes again, whole or in part, adds what is new; numbers may be missing."""
    records = [host_minute("h1", START + number * MINUTE) for number in range(4)]
    batch = [(1, records[0]), (2, records[1]), (7, records[2])]
    assert telemetry.receive("c1", H1, stream="s", records=batch).accepted_through == 7
    again = [*batch[1:], (9, records[3])]
    assert telemetry.receive("c1", H1, stream="s", records=again).accepted_through == 9
    assert telemetry.receive("c1", H1, stream="s", records=batch).accepted_through == 9
    assert telemetry.receive("c1", H1, stream="s", records=[]).accepted_through == 9
    assert list(telemetry.records("c1", START, START + HOUR)) == records


def test_streams_and_hosts_count_by_themselves(telemetry: SqlTelemetry) -> None:
    """After a restart the numbers begin again, and a minute may come in two records."""
    for host, stream in ((H1, "s"), (H1, "t"), (H2, "s")):
        answer = telemetry.receive(
            "c1", host, stream=stream, records=numbered(host_minute(host, START))
        )
        assert answer.accepted_through == 1
    assert len(list(telemetry.records("c1", START, START + HOUR))) == 3


@pytest.mark.parametrize("numbers", [(2, 2), (3, 1), (0, 1), (-1, 1), (1, 2**63)])
def test_numbers_have_to_rise(telemetry: SqlTelemetry, numbers: tuple[int, int]) -> None:
    """From 1 on; otherwise nothing is kept."""
    records = [(number, host_minute("h1", START)) for number in numbers]
    with pytest.raises(InvalidInputError, match=r"records\.seq"):
        telemetry.receive("c1", H1, stream="s", records=records)
    assert list(telemetry.records("c1", START, START + HOUR)) == []


GOOD = host_minute("h1", START, vm_minute("v1", 100.0))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (host_minute("h2", START), "host_id: expected 'h1', got 'h2'"),
        (host_minute("h1", START + HOUR + 6 * MINUTE), "is of the future"),
        (host_minute("h1", START - 60 * DAY), "more than 60 days ago"),
        (host_minute("h1", START + timedelta(seconds=1)), "start of a minute"),
        (replace(GOOD, minute_at=START.replace(tzinfo=None)), "start of a minute"),
        (replace(GOOD, span_s=0.0), "span_s"),
        (replace(GOOD, span_s=NAN), "span_s"),
        (host_minute("h1", START, vm_minute("v1", -1.0)), r"v1\.cpu_demand_millicores"),
        (host_minute("h1", START, vm_minute("v1", NAN)), r"v1\.cpu_demand_millicores"),
        (host_minute("h1", START, vm_minute("v1", 1e16)), r"v1\.cpu_demand_millicores"),
        (host_minute("h1", START, figures={"load_1min": flat(-1.0)}), r"host\.load_1min"),
        (host_minute("h1", START, vm_minute("v1"), vm_minute("v1")), "'v1' comes twice"),
    ],
)
def test_records_that_cannot_be_true_are_refused(
    telemetry: SqlTelemetry, bad: MinuteRecord, reason: str
) -> None:
    """With number and reason; those before are kept, and those behind come again without it."""
    answer = telemetry.receive("c1", H1, stream="s", records=numbered(GOOD, bad, GOOD))
    assert (answer.accepted_through, answer.refused_seq) == (1, 2)
    assert re.search(reason, answer.reason)
    answer = telemetry.receive("c1", H1, stream="s", records=[(3, GOOD)])
    assert answer == Received(accepted_through=3)
    assert len(list(telemetry.records("c1", START - 90 * DAY, START + DAY))) == 2


def test_hosts_are_known_by_their_latest_minute(telemetry: SqlTelemetry) -> None:
    """Whatever comes late does not set them back."""
    assert telemetry.last_seen("c1") == {}
    deliver(telemetry, host_minute("h1", START + MINUTE), host_minute("h1", START))
    deliver(telemetry, host_minute("h2", START))
    assert telemetry.last_seen("c1") == {"h1": START + MINUTE, "h2": START}
    assert telemetry.last_seen("c2") == {}


# Rolling up ----------------------------------------------------------------------------------


def test_bins_are_what_the_minutes_tell(telemetry: SqlTelemetry, clock: Clock) -> None:
    """By the same rules as files of records: moved, paused, off, and without figures."""
    records = [
        host_minute(
            "h1",
            START + number * MINUTE,
            vm_minute("moves", 100.0 * number, memory_used_mib=512.0, num_samples=6 - number),
            vm_minute("off", state=VmState.OFF),
            vm_minute("silent"),
            vm_minute("v1", 100.0 * number, memory_rss_mib=600.0, net_io_kib_per_s=7.0),
        )
        for number in range(6)
    ]
    records += [
        host_minute("h2", START + number * MINUTE, vm_minute("moves", 900.0, num_samples=number))
        for number in range(1, 4)
    ]
    records.append(host_minute("h2", START, vm_minute("v1", state=VmState.PAUSED)))
    deliver(telemetry, *records)
    telemetry.tidy(clock.at, KEEP)
    found = telemetry.history("c1", START, START + 2 * BIN)
    expected = history_of_minutes(records)
    assert same(found, expected)
    assert found.state[found.vm_ids.index(VmId("silent"))].tolist() == [BinState.MISSING] * 2


def test_peaks_are_kept_beside_means(telemetry: SqlTelemetry, clock: Clock) -> None:
    """The p95 of a bin is the mean of its minutes', its maximum their largest."""
    figures = [Figure(mean=1.0, p95=2.0, max=3.0), Figure(mean=3.0, p95=6.0, max=10.0)]
    deliver(
        telemetry,
        *(
            host_minute("h1", START + number * MINUTE, vm_minute("v1", figure))
            for number, figure in enumerate(figures)
        ),
    )
    telemetry.tidy(clock.at, KEEP)
    found = telemetry.peaks("c1", START, START + BIN)
    told = [each[Resource.CPU, 0, 0] for each in (found.history.readings, found.p95, found.largest)]
    assert told == [2.0, 4.0, 10.0]
    assert np.isnan(found.largest[Resource.NET_IO]).all()


def test_a_bin_is_rolled_up_after_it_ended(telemetry: SqlTelemetry) -> None:
    """Not while minutes of it are still under way, and again when one comes late."""
    deliver(telemetry, host_minute("h1", START, vm_minute("v1", 100.0)))
    telemetry.tidy(START + BIN, KEEP)
    with pytest.raises(NotEnoughHistoryError, match="'c1' has no reading"):
        telemetry.history("c1", START, START + BIN)
    telemetry.tidy(START + BIN + 2 * MINUTE, KEEP)
    assert telemetry.history("c1", START, START + BIN).readings[0, 0, 0] == 100.0
    late = [
        host_minute("h1", START + MINUTE, vm_minute("v1", 300.0)),
        host_minute("h2", START, vm_minute("v2", 5.0)),
    ]
    deliver(telemetry, *late)
    telemetry.tidy(START + BIN + 2 * MINUTE, KEEP)
    assert telemetry.history("c1", START, START + BIN).readings[0, :, 0].tolist() == [200.0, 5.0]


def test_what_comes_after_the_day_was_closed_is_added(telemetry: SqlTelemetry) -> None:
    """A host that was cut off for a day delivers what it kept."""
    deliver(telemetry, host_minute("h1", START, vm_minute("v1", 100.0)))
    telemetry.tidy(START + 2 * DAY, KEEP)
    telemetry.tidy(START + 4 * DAY, KEEP)
    assert list(telemetry.records("c1", START, START + DAY)) == []
    deliver(telemetry, host_minute("h2", START + MINUTE, vm_minute("v2", 7.0)), stream="late")
    telemetry.tidy(START + 4 * DAY, KEEP)
    found = telemetry.history("c1", START, START + BIN)
    assert found.readings[Resource.CPU, :, 0].tolist() == [100.0, 7.0]


def test_sizes_are_the_newest_told(telemetry: SqlTelemetry) -> None:
    """A bin that tells none leaves them as they were."""
    deliver(
        telemetry,
        host_minute("h1", START, vm_minute("v1", 1.0, num_vcpus=2, memory_current_mib=512.0)),
    )
    telemetry.tidy(START + HOUR, KEEP)
    late = host_minute(
        "h1", START + BIN, vm_minute("v1", 1.0, num_vcpus=4, memory_current_mib=1024.0)
    )
    silent = host_minute("h1", START + 2 * BIN, vm_minute("v1", 1.0, num_vcpus=None))
    deliver(telemetry, late, silent)
    telemetry.tidy(START + HOUR, KEEP)
    found = telemetry.history("c1", START, START + 3 * BIN)
    assert (found.vcpus.tolist(), found.memory_size_mib.tolist()) == ([4], [1024])


def test_hosts_have_histories_of_their_own(telemetry: SqlTelemetry) -> None:
    """As if each were a VM; their names may be those of VMs."""
    figures = {"cpu_used_millicores": flat(700.0), "net_io_kib_per_s": flat(3.0)}
    deliver(
        telemetry,
        host_minute("h1", START, vm_minute("h1", 1.0), figures=figures),
        host_minute("h2", START + BIN),
    )
    telemetry.tidy(START + HOUR, KEEP)
    found = telemetry.host_history("c1", START, START + 2 * BIN)
    assert set(found) == {"h1", "h2"}
    assert found[H1].vm_ids == ("h1",)
    assert found[H1].readings[:, 0, 0].tolist()[Resource.CPU] == 700.0
    assert (found[H1].vcpus.tolist(), found[H1].memory_size_mib.tolist()) == ([4], [8192])
    assert found[H2].state.tolist() == [[BinState.ABSENT, BinState.MEASURED]]
    assert telemetry.host_history("c2", START, START + BIN) == {}
    assert telemetry.history("c1", START, START + BIN).readings[0, 0, 0] == 1.0


# Reading -------------------------------------------------------------------------------------


def test_weeks_are_read_from_every_layer(telemetry: SqlTelemetry, clock: Clock) -> None:
    """Days that are over and days that are not, as if nothing had been between them."""
    fleet = Fleet(2, 40)
    records = []
    for number in range(0, 4 * 1440, 720):
        clock.at = START + number * MINUTE
        of_minute = [fleet.record(host, clock.at) for host in fleet.hosts]
        deliver(telemetry, *of_minute)
        records += of_minute
        telemetry.tidy(clock.at, Retention(minutes=DAY))
    telemetry.tidy(clock.at + HOUR, Retention(minutes=DAY))
    expected = history_of_minutes(records)
    end_at = clock.at + BIN
    found = telemetry.history("c1", START, end_at)
    assert same(found, expected)
    some = [VmId("vm-00003"), VmId("vm-00079"), VmId("none")]
    of_some = telemetry.history("c1", START + HOUR, end_at, vm_ids=some)
    assert of_some.vm_ids == tuple(some[:2])
    rows = expected.positions(some[:2])
    assert np.array_equal(of_some.readings, expected.readings[:, rows, 12:], equal_nan=True)
    assert len(list(telemetry.records("c1", START, end_at))) == 2 * 2


def test_before_a_vm_is_known_it_is_absent_and_afterwards_missing(
    telemetry: SqlTelemetry,
) -> None:
    """A window that begins within its life begins with a gap, not with its birth."""
    telemetry.put_history("c1", history_of([1.0, NAN, NAN, 4.0], START + BIN))
    found = telemetry.history("c1", START, START + 6 * BIN)
    absent, missing, measured = BinState.ABSENT, BinState.MISSING, BinState.MEASURED
    assert found.state.tolist() == [[absent, measured, missing, missing, measured, absent]]
    deliver(telemetry, host_minute("h1", START + 9 * BIN, vm_minute("v1", 9.0)))
    telemetry.tidy(START + HOUR, KEEP)
    found = telemetry.history("c1", START + 6 * BIN, START + 10 * BIN)
    assert found.state.tolist() == [[missing, missing, missing, measured]]


@pytest.mark.parametrize(
    ("start_at", "end_at"),
    [
        (START + MINUTE, START + BIN),
        (START, START + BIN + timedelta(microseconds=1)),
        (START, START),
        (START + BIN, START),
        (START.replace(tzinfo=None), START + BIN),
    ],
)
def test_windows_are_on_the_grid(
    telemetry: SqlTelemetry, start_at: datetime, end_at: datetime
) -> None:
    """And not empty."""
    with pytest.raises(InvalidInputError, match="_at: expected"):
        telemetry.history("c1", start_at, end_at)


# Bins from elsewhere -------------------------------------------------------------------------


def test_a_history_reads_back_as_it_was_put(telemetry: SqlTelemetry) -> None:
    """Over midnight, with gaps and bins that were mended."""
    put = history_of([1.0, NAN, 3.5, 1e-7, 4e9], START + DAY - 2 * BIN)
    mended = put.state.copy()
    mended[0, 2] = BinState.INTERPOLATED
    put = replace(put, state=mended)
    telemetry.put_history("c1", put)
    assert same(telemetry.history("c1", put.start_at, put.end_at), put)


def test_later_bins_win(telemetry: SqlTelemetry) -> None:
    """Over others that were put, and over what monitors told, and the other way round."""
    telemetry.put_history("c1", history_of([1.0, 1.0, 1.0, 1.0], START))
    telemetry.put_history("c1", history_of([2.0, 2.0], START + BIN))
    deliver(telemetry, host_minute("h1", START + 2 * BIN, vm_minute("v1", 3.0)))
    telemetry.tidy(START + HOUR, KEEP)
    found = telemetry.history("c1", START, START + 4 * BIN)
    assert found.readings[Resource.CPU, 0].tolist() == [1.0, 2.0, 3.0, 1.0]
    telemetry.put_history("c1", history_of([4.0], START + 2 * BIN))
    for _ in range(2):
        found = telemetry.history("c1", START, START + 4 * BIN)
        assert found.readings[Resource.CPU, 0].tolist() == [1.0, 2.0, 4.0, 1.0]
        telemetry.tidy(START + 2 * DAY, KEEP)


def test_only_five_minutes_are_put(telemetry: SqlTelemetry) -> None:
    """Other grids are refused."""
    with pytest.raises(InvalidInputError, match="300"):
        telemetry.put_history("c1", replace(history_of(1.0, START), step_seconds=3600))
    with pytest.raises(InvalidInputError, match="grid"):
        telemetry.put_history("c1", history_of(1.0, START + MINUTE))


# Ageing --------------------------------------------------------------------------------------


def test_old_bins_become_hours_and_old_hours_go(telemetry: SqlTelemetry) -> None:
    """Hours tell the mean of what was measured; bins are still read where they are kept."""
    keep = Retention(bins=10 * DAY, hours=40 * DAY)
    ramp = [float(number) for number in range(24)]
    telemetry.put_history("c1", history_of(ramp, START))
    telemetry.put_history("c1", history_of([50.0, 70.0], START + 20 * DAY))
    now = START + 21 * DAY
    expected = telemetry.history("c1", START, START + 2 * HOUR, step_seconds=3600)
    assert expected.readings[Resource.CPU, 0].tolist() == [5.5, 17.5]
    telemetry.tidy(now, keep)
    with pytest.raises(NotEnoughHistoryError):
        telemetry.history("c1", START, START + DAY)
    found = telemetry.history("c1", START, START + 21 * DAY, step_seconds=3600)
    assert found.readings[Resource.CPU, 0, :2].tolist() == [5.5, 17.5]
    assert found.readings[Resource.CPU, 0, 20 * 24] == 60.0
    assert found.state[0, 2] == BinState.MISSING
    telemetry.tidy(START + 100 * DAY, keep)
    with pytest.raises(NotEnoughHistoryError):
        telemetry.history("c1", START, START + 21 * DAY, step_seconds=3600)


def test_hours_keep_peaks(telemetry: SqlTelemetry) -> None:
    """The largest of the maxima stays the largest."""
    for number, largest in enumerate((10.0, 90.0, 30.0)):
        figure = Figure(mean=1.0, p95=2.0, max=largest)
        deliver(telemetry, host_minute("h1", START + number * BIN, vm_minute("v1", figure)))
    telemetry.tidy(START + HOUR, KEEP)
    telemetry.tidy(START + 60 * DAY, KEEP)
    found = telemetry.peaks("c1", START, START + HOUR, step_seconds=3600)
    assert found.largest[Resource.CPU].tolist() == [[90.0]]
    assert found.p95[Resource.CPU].tolist() == [[2.0]]


def test_vms_of_which_nothing_is_kept_are_forgotten(
    telemetry: SqlTelemetry, clock: Clock, store_url: str
) -> None:
    """Once their last hour is gone; one that has just come back keeps what it tells now."""
    keep = Retention(bins=10 * DAY, hours=40 * DAY)
    for vm in ("gone", "back"):
        telemetry.put_history("c1", history_of([1.0], START, vm))
    telemetry.tidy(START + 20 * DAY, keep)
    assert known_vms(store_url) == ["back", "gone"]
    late = START + 120 * DAY
    clock.at = late + MINUTE
    deliver(telemetry, host_minute("h1", late, vm_minute("back", 3.0)))
    telemetry.tidy(late + 10 * MINUTE, keep)
    assert known_vms(store_url) == ["back"]
    found = telemetry.history("c1", late, late + BIN)
    assert found.vm_ids == ("back",)
    assert found.readings[Resource.CPU].tolist() == [[3.0]]


def known_vms(store_url: str) -> list[str]:
    """Return the VMs that the store has a number for."""
    database = Database(store_url)
    with database.reading() as connection:
        found = series.find(connection, "c1", Subject.VM)
    database.close()
    return [each.id for each in found]


def test_streams_that_fell_silent_are_forgotten(telemetry: SqlTelemetry, clock: Clock) -> None:
    """After longer than any outbox lasts, and not before."""
    telemetry.receive("c1", H1, stream="s", records=[(5, GOOD)])
    telemetry.tidy(clock.at + 59 * DAY, KEEP)
    assert telemetry.receive("c1", H1, stream="s", records=[]).accepted_through == 5
    telemetry.tidy(clock.at + 61 * DAY, KEEP)
    assert telemetry.receive("c1", H1, stream="s", records=[]).accepted_through == 0


def test_a_cluster_is_forgotten_with_all_that_was_told_of_it(
    telemetry: SqlTelemetry, clock: Clock
) -> None:
    """In every layer; others stay, and the same name begins anew."""
    for cluster in ("c1", "c2"):
        telemetry.put_history(cluster, history_of([1.0, 2.0], START))
        late = host_minute("h1", START + 3 * BIN, vm_minute("v1", 3.0))
        telemetry.receive(cluster, H1, stream="s", records=[(5, late)])
        telemetry.tidy(clock.at, KEEP)
    expected = telemetry.history("c2", START, START + DAY)
    telemetry.forget("c1")
    with pytest.raises(NotEnoughHistoryError):
        telemetry.history("c1", START, START + DAY)
    assert telemetry.last_seen("c1") == {}
    assert list(telemetry.records("c1", START, START + DAY)) == []
    telemetry.put_history("c1", history_of([7.0], START, "v9"))
    assert telemetry.history("c1", START, START + DAY).vm_ids == ("v9",)
    assert telemetry.receive("c1", H1, stream="s", records=[]).accepted_through == 0
    assert same(telemetry.history("c2", START, START + DAY), expected)


def test_telemetry_tells_its_size(telemetry: SqlTelemetry) -> None:
    """It grows with what is delivered."""
    before = telemetry.size_bytes()
    fleet = Fleet(1, 50)
    deliver(telemetry, *(fleet.record("host-000", START + n * MINUTE) for n in range(10)))
    assert telemetry.size_bytes() > before + 10_000
