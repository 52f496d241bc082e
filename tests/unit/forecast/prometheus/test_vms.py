"""VMs from series: rates and levels by bin, moves, gaps, power, names, units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from forecast.history import BinState, History
from forecast.import_prometheus import PrometheusHistory, read_prometheus
from forecast.prometheus.client import Access
from forecast.prometheus.settings import Measure, Settings, preset
from solver.domain.errors import InvalidInputError, TelemetrySourceError
from solver.domain.units import Resource
from tests.exporters import CPU, MIB, FakeVm, Stay, scrape
from tests.fake_prometheus import FakePrometheus

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
START_S = START.timestamp()
BIN = 300.0


@pytest.fixture
def fake() -> Iterator[FakePrometheus]:
    """A Prometheus that knows nothing yet."""
    with FakePrometheus() as server:
        yield server


def settings(fake: FakePrometheus, **changes: Any) -> Settings:
    """Return the preset for Debian's exporter with the fake's address."""
    return replace(preset(), access=Access(url=fake.url, attempts=1), **changes)


def read(fake: FakePrometheus, *, bins: int, **changes: Any) -> PrometheusHistory:
    """Read so many bins from the start on."""
    return read_prometheus(
        settings(fake, **changes), from_at=START, until_at=START + timedelta(seconds=bins * BIN)
    )


def at(bins: float) -> float:
    """Return an instant, in bins from the start."""
    return START_S + bins * BIN


def steady(name: str, stays: list[Stay], *, cores: float = 1.5, **kind: Any) -> FakeVm:
    """Return a VM that uses the same at all times."""
    used = kind.pop("used", lambda instant: cores * (instant - START_S + 86_400))
    return FakeVm(uuid=kind.pop("uuid", f"uuid-{name}"), name=name, stays=stays, used=used, **kind)


def cpu(history: History, vm: str) -> list[float]:
    """Return the CPU readings of a VM in cores."""
    row = history.positions([vm])[0]
    return [round(float(x) / 1000.0, 3) for x in history.readings[Resource.CPU, row]]


def states(history: History, vm: str) -> list[int]:
    """Return the states of a VM's bins."""
    return [int(x) for x in history.state[history.positions([vm])[0]]]


def test_a_vm_that_stays(fake: FakePrometheus) -> None:
    """Every quantity has its unit, and the bins start at whole steps of UTC."""
    scrape(fake, [steady("web", [Stay(host="h1", start=0, end=at(9))])], start=at(-1), end=at(7))
    found = read(fake, bins=6)
    history = found.history
    assert history.vm_ids == ("web",)
    assert history.start_at == START
    assert cpu(history, "web") == [1.5] * 6
    assert states(history, "web") == [BinState.MEASURED] * 6
    assert history.vcpus.tolist() == [4]
    assert history.memory_size_mib.tolist() == [4096]
    assert history.granted_mib[0].tolist() == [2048.0] * 6
    # What guests keep active is not told, so what was granted stands for it.
    assert history.readings[Resource.MEMORY, 0].tolist() == [2048.0] * 6
    # 1.5 KiB/s in each direction.
    assert history.readings[Resource.DISK_IO, 0] == pytest.approx(3.0, rel=1e-6)
    assert history.readings[Resource.NET_IO, 0] == pytest.approx(3.0, rel=1e-6)
    assert found.report.last_host == {"web": "h1"}
    assert found.report.moves == 0


def test_only_whole_bins_are_read(fake: FakePrometheus) -> None:
    """A time that begins or ends inside a bin is narrowed to the bins in between."""
    scrape(fake, [steady("web", [Stay(host="h1", start=0, end=at(9))])], start=at(-1), end=at(7))
    found = read_prometheus(
        settings(fake),
        from_at=START + timedelta(seconds=1),
        until_at=START + timedelta(seconds=4 * BIN - 1),
    )
    assert found.history.start_at == START + timedelta(seconds=BIN)
    assert found.history.num_bins == 2


def test_time_without_a_whole_bin(fake: FakePrometheus) -> None:
    """What is shorter than a bin is refused before anything is asked."""
    with pytest.raises(InvalidInputError, match="at least one whole bin of 300 s"):
        read_prometheus(settings(fake), from_at=START, until_at=START + timedelta(seconds=299))
    assert not fake.requests


def test_a_migration_is_one_vm_without_a_spike(fake: FakePrometheus) -> None:
    """Where a VM moves inside a bin both hosts' parts count; counters that begin anew do not."""
    stays = [Stay(host="h1", start=0, end=at(2.4)), Stay(host="h2", start=at(2.4), end=at(9))]
    scrape(fake, [steady("web", stays)], start=at(-1), end=at(7))
    found = read(fake, bins=6)
    assert cpu(found.history, "web") == pytest.approx([1.5] * 6, rel=0.05)
    assert found.history.readings[Resource.DISK_IO, 0] == pytest.approx(3.0, rel=0.05)
    assert states(found.history, "web") == [BinState.MEASURED] * 6
    assert found.report.moves == 1
    assert found.report.last_host == {"web": "h2"}


def test_a_long_migration_counts_once(fake: FakePrometheus) -> None:
    """While the destination receives the VM, only the source runs it; no time counts twice."""
    stays = [
        Stay(host="h1", start=0, end=at(4.5)),
        Stay(host="h2", start=at(4.5), end=at(9), arriving_s=2.7 * BIN),
    ]
    scrape(fake, [steady("web", stays)], start=at(-1), end=at(9))
    found = read(fake, bins=8)
    assert cpu(found.history, "web") == pytest.approx([1.5] * 8, rel=0.05)
    assert found.history.granted_mib[0].tolist() == [2048.0] * 8
    assert found.report.twin_bins == 0


def test_a_long_migration_without_states(fake: FakePrometheus) -> None:
    """Without the state of VMs the host that had it first counts until it has it no more."""
    stays = [
        Stay(host="h1", start=0, end=at(4.5)),
        Stay(host="h2", start=at(4.5), end=at(9), arriving_s=2.7 * BIN),
    ]
    scrape(fake, [steady("web", stays)], start=at(-1), end=at(9))
    measures = {name: m for name, m in preset().vm.items() if name != "state"}
    found = read(fake, bins=8, vm=measures)
    assert cpu(found.history, "web") == pytest.approx([1.5] * 8, rel=0.05)
    assert found.report.twin_bins == 2


def test_a_restart_on_the_same_host(fake: FakePrometheus) -> None:
    """A counter that begins anew is a reset, not a fall."""
    fake.add(CPU, _labels("h1", "web"), [(at(-1) + 15 * k, 15.0 * (k % 37)) for k in range(140)])
    fake.add("libvirt_domain_info_virtual_cpus", _labels("h1", "web"), _level(4.0, 140))
    assert max(cpu(read(fake, bins=6).history, "web")) <= 1.05


def test_a_failed_scrape_inside_a_bin_costs_nothing(fake: FakePrometheus) -> None:
    """Counters go on while a scrape fails; the bin's mean is what it was."""
    vm = steady("web", [Stay(host="h1", start=0, end=at(9))])
    lost = {at(2) + 15 * k for k in (4, 9, 10)}
    scrape(fake, [vm], start=at(-1), end=at(7), interval=15.0, failed=lambda _, when: when in lost)
    assert cpu(read(fake, bins=6).history, "web") == [1.5] * 6


def test_an_outage_over_an_edge(fake: FakePrometheus) -> None:
    """Of a bin that was seen in part the mean is over that part."""
    vm = steady("web", [Stay(host="h1", start=0, end=at(9))])
    scrape(fake, [vm], start=at(-1), end=at(7), failed=lambda _, when: at(1.7) <= when < at(2.3))
    found = read(fake, bins=6)
    assert cpu(found.history, "web") == pytest.approx([1.5] * 6, rel=0.05)
    assert states(found.history, "web") == [BinState.MEASURED] * 6


def test_gaps_stay_gaps(fake: FakePrometheus) -> None:
    """Up to three bins are filled and marked, as by other imports; a longer gap is missing."""
    vm = steady("web", [Stay(host="h1", start=0, end=at(40))])
    scrape(
        fake,
        [vm],
        start=at(-1),
        end=at(13),
        failed=lambda _, when: at(1) <= when < at(3) or at(5) <= when < at(9),
    )
    assert states(read(fake, bins=12).history, "web") == [0, 1, 1, 0, 0, 3, 3, 3, 3, 0, 0, 0]


def test_prometheus_itself_was_down(fake: FakePrometheus) -> None:
    """Nobody marks a series as ended then; its last sample is not taken for what followed."""
    labels = _labels("h1", "web")
    times = [at(-1) + 15 * k for k in range(160)]
    kept = [t for t in times if not at(1.4) <= t < at(5.1)]
    fake.add(CPU, labels, [(t, 1.5 * (t - at(-1))) for t in kept])
    fake.add("libvirt_domain_info_virtual_cpus", labels, [(t, 4.0) for t in kept])
    history = read(fake, bins=7).history
    assert states(history, "web") == [0, 3, 3, 3, 3, 0, 0]
    assert [cpu(history, "web")[i] for i in (0, 5, 6)] == pytest.approx([1.5] * 3, rel=0.05)


def test_a_vm_that_comes_and_goes(fake: FakePrometheus) -> None:
    """A bin counts if half of it was seen, with the mean of that half."""
    stays = [Stay(host="h1", start=at(1.3), end=at(4.2))]
    others = steady("db", [Stay(host="h1", start=0, end=at(9))])
    scrape(fake, [steady("web", stays), others], start=at(-1), end=at(7))
    history = read(fake, bins=6).history
    assert states(history, "web") == [255, 0, 0, 0, 3, 255]
    assert cpu(history, "web")[1:4] == pytest.approx([1.5] * 3, rel=0.08)


def test_powered_off_while_every_host_answers(fake: FakePrometheus) -> None:
    """The exporter tells of running VMs only: one that no host has is off, and needs nothing."""
    stays = [Stay(host="h1", start=0, end=at(2)), Stay(host="h1", start=at(6), end=at(20))]
    others = steady("db", [Stay(host="h2", start=0, end=at(20))])
    scrape(fake, [steady("web", stays), others], start=at(-1), end=at(10))
    history = read(fake, bins=9).history
    assert states(history, "web") == [0, 0, 2, 2, 2, 2, 0, 0, 0]
    assert cpu(history, "web")[2:6] == [0.0] * 4
    missing = read(fake, bins=9, absent_is_off=False).history
    assert states(missing, "web") == [0, 0, 3, 3, 3, 3, 0, 0, 0]


@pytest.mark.parametrize("silent", ["h1", "h2"])
def test_a_silent_host_may_have_the_vm(fake: FakePrometheus, silent: str) -> None:
    """While any host does not answer, a VM that is not seen is missing rather than off."""
    stays = [Stay(host="h1", start=0, end=at(2)), Stay(host="h1", start=at(6), end=at(20))]
    others = steady("db", [Stay(host="h2", start=0, end=at(20))])
    scrape(
        fake,
        [steady("web", stays), others],
        start=at(-1),
        end=at(10),
        failed=lambda host, when: host == silent and at(3) <= when < at(4),
    )
    assert states(read(fake, bins=9).history, "web") == [0, 0, 2, 3, 2, 2, 0, 0, 0]


def test_an_exporter_that_tells_of_what_is_off(fake: FakePrometheus) -> None:
    """State 5 is shut off; a definition left at another host is no second VM."""
    for host, first, last in (("h1", 5.0, 1.0), ("h2", 1.0, 5.0)):
        labels = _labels(host, "web")
        on = [(at(k / 20 - 1), first if k < 80 else last) for k in range(160)]
        used = [
            (t, 30.0 * min(k, 80) if host == "h2" else 30.0 * max(0, k - 80))
            for k, (t, _) in enumerate(on)
        ]
        fake.add(CPU, labels, used)
        fake.add("libvirt_domain_state_code", labels, on)
        fake.add("libvirt_domain_info_virtual_cpus", labels, [(t, 4.0) for t, _ in on])
    found = read(fake, bins=6)
    assert cpu(found.history, "web") == pytest.approx([2.0] * 6, rel=0.05)
    assert found.report.twin_bins == 0


def test_a_renamed_vm_is_the_same(fake: FakePrometheus) -> None:
    """A VM goes by what it was called last; its past under another name is kept."""
    old = steady("web", [Stay(host="h1", start=0, end=at(3))], uuid="u1")
    new = steady("www", [Stay(host="h1", start=at(3), end=at(9))], uuid="u1")
    scrape(fake, [old, new], start=at(-1), end=at(7))
    history = read(fake, bins=6).history
    assert history.vm_ids == ("www",)
    assert cpu(history, "www") == pytest.approx([1.5] * 6, rel=0.05)


def test_a_vm_made_anew_under_an_old_name(fake: FakePrometheus) -> None:
    """The one that was seen last has the name; the other is told apart by its identity."""
    old = steady("web", [Stay(host="h1", start=0, end=at(3))], uuid="u1", vcpus=2.0)
    new = steady("web", [Stay(host="h1", start=at(3), end=at(9))], uuid="u2", vcpus=8.0)
    scrape(fake, [old, new], start=at(-1), end=at(7))
    history = read(fake, bins=6).history
    assert dict(zip(history.vm_ids, history.vcpus.tolist(), strict=True)) == {
        "web (u1)": 2,
        "web": 8,
    }


def test_one_exporter_scraped_by_two_jobs(fake: FakePrometheus) -> None:
    """The same series under another job is the same VM, not twice as much of it."""
    for job in ("libvirt", "again"):
        vm = steady("web", [Stay(host="h1", start=0, end=at(9))], labels={"job": job})
        scrape(fake, [vm], start=at(-1), end=at(7))
    assert cpu(read(fake, bins=6).history, "web") == [1.5] * 6


def test_two_vms_of_one_name(fake: FakePrometheus) -> None:
    """By name alone two VMs on two hosts are one that is at both all the time: an error."""
    vms = [
        steady("web", [Stay(host=host, start=0, end=at(40))], uuid=f"u-{host}")
        for host in ("h1", "h2")
    ]
    scrape(fake, vms, start=at(-1), end=at(21))
    with pytest.raises(InvalidInputError, match=r"'web' is on two hosts at once in 20 of 20 bins"):
        read(fake, bins=20, vm_label="domain", name_label="")
    assert len(read(fake, bins=20).history.vm_ids) == 2


def test_waiting_is_demand(fake: FakePrometheus) -> None:
    """What vCPUs wanted and did not get is demand, too; in nanoseconds only if it is said."""
    vm = steady("web", [Stay(host="h1", start=0, end=at(9))])
    scrape(fake, [vm], start=at(-1), end=at(7))
    for vcpu in ("0", "1"):
        labels = {**_labels("h1", "web"), "vcpu": vcpu}
        samples = [(at(-1) + 15 * k, 0.25e9 * 15 * k) for k in range(160)]
        fake.add("libvirt_domain_vcpu_delay_seconds_total", labels, samples)
    wait = Measure(metric="libvirt_domain_vcpu_delay_seconds_total", per="vcpu")
    with pytest.raises(
        InvalidInputError, match=r"cpu_wait of VM 'uuid-web' is 5e\+08 .* set scale"
    ):
        read(fake, bins=6, vm={**preset().vm, "cpu_wait": wait})
    wait = replace(wait, scale=1e-9)
    history = read(fake, bins=6, vm={**preset().vm, "cpu_wait": wait}).history
    assert cpu(history, "web") == pytest.approx([2.0] * 6, rel=1e-6)


def test_what_guests_say_of_their_memory(fake: FakePrometheus) -> None:
    """Active is what is not usable; a guest that says nothing, or zero, counts as granted."""
    vms = [steady(name, [Stay(host="h1", start=0, end=at(9))]) for name in ("a", "b", "c")]
    scrape(fake, vms, start=at(-1), end=at(7))
    for name, available, usable in (("a", 2000.0, 1500.0), ("b", 0.0, 0.0)):
        for metric, value in (("available", available), ("usable", usable)):
            series = f"libvirt_domain_memory_stats_{metric}_bytes"
            fake.add(series, _labels("h1", name), _level(value * MIB, 160))
    vm = {
        **preset().vm,
        "memory_available": preset("tinkoff").vm["memory_available"],
        "memory_usable": preset("tinkoff").vm["memory_usable"],
    }
    history = read(fake, bins=6, vm=vm).history
    assert history.readings[Resource.MEMORY].mean(axis=1).tolist() == [500.0, 2048.0, 2048.0]


def test_a_vm_without_disks(fake: FakePrometheus) -> None:
    """It reads and writes nothing; that others have disks does not make its bins missing."""
    scrape(fake, [steady("web", [Stay(host="h1", start=0, end=at(9))])], start=at(-1), end=at(7))
    fake.add(CPU, _labels("h1", "pxe"), [(at(-1) + 15 * k, 15.0 * k) for k in range(160)])
    fake.add("libvirt_domain_info_virtual_cpus", _labels("h1", "pxe"), _level(1.0, 160))
    fake.add("libvirt_domain_info_memory_usage_bytes", _labels("h1", "pxe"), _level(MIB, 160))
    history = read(fake, bins=6).history
    assert states(history, "pxe") == [0] * 6
    row = history.positions(["pxe"])[0]
    assert history.readings[Resource.DISK_IO, row].tolist() == [0.0] * 6


def test_several_disks_add_up(fake: FakePrometheus) -> None:
    """One VM's disks are one demand."""
    scrape(fake, [steady("web", [Stay(host="h1", start=0, end=at(9))])], start=at(-1), end=at(7))
    labels = {**_labels("h1", "web"), "target_device": "vdb"}
    samples = [(at(-1) + 15 * k, 15.0 * 5 * 1024 * k) for k in range(160)]
    fake.add("libvirt_domain_block_stats_read_bytes_total", labels, samples)
    history = read(fake, bins=6).history
    assert history.readings[Resource.DISK_IO, 0] == pytest.approx(8.0, rel=1e-6)


def test_odd_values_are_unknown(fake: FakePrometheus) -> None:
    """NaN, infinite and absurd values are left out and counted; their bins are missing."""
    scrape(fake, [steady("web", [Stay(host="h1", start=0, end=at(40))])], start=at(-1), end=at(13))
    (series,) = (
        s for s in fake.series if s.labels["__name__"] == "libvirt_domain_info_memory_usage_bytes"
    )
    for k, when in enumerate(series.times):
        if at(2) < when <= at(3):
            series.values[k] = float("inf")
        elif at(5) < when <= at(6):
            series.values[k] = float("nan")
        elif at(8) < when <= at(9):
            series.values[k] = 1e30
    found = read(fake, bins=12)
    assert states(found.history, "web") == [0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0]
    assert found.report.implausible == 2


def test_what_is_not_exported_is_told(fake: FakePrometheus) -> None:
    """Quantities that Prometheus has nothing of are named, and left out of the history."""
    fake.add(CPU, _labels("h1", "web"), [(at(-1) + 15 * k, 15.0 * k) for k in range(160)])
    fake.add("libvirt_domain_info_virtual_cpus", _labels("h1", "web"), _level(1.0, 160))
    found = read(fake, bins=6)
    assert found.history.resources == (Resource.CPU,)
    assert {"memory_size", "disk_read", "net_transmit", "state"} <= set(found.report.absent)


def test_nothing_at_all(fake: FakePrometheus) -> None:
    """The error has the time and the query, so that it can be tried by hand."""
    with pytest.raises(TelemetrySourceError) as caught:
        read(fake, bins=6)
    message = str(caught.value)
    assert "2026-03-01T12:00:00Z to 2026-03-01T12:30:00Z" in message
    assert "rate(libvirt_domain_info_cpu_time_seconds_total[300s])" in message


def test_scraped_too_rarely(fake: FakePrometheus) -> None:
    """One sample a bin gives no rate: it is said how often has to be scraped."""
    labels = _labels("h1", "web")
    fake.add(CPU, labels, [(at(k + 0.5), 300.0 * k) for k in range(10)])
    with pytest.raises(TelemetrySourceError, match="scraped at least twice in 300 s"):
        read(fake, bins=6)


def test_a_label_that_is_not_there(fake: FakePrometheus) -> None:
    """An exporter without the label of the settings is told by the labels it has."""
    labels = {"domain": "web", "instance": "h1:9177"}
    fake.add(CPU, labels, [(at(-1) + 15 * k, 15.0 * k) for k in range(160)])
    with pytest.raises(InvalidInputError, match="without the label 'uuid'; expected uuid, domain"):
        read(fake, bins=6)


def test_matchers_choose(fake: FakePrometheus) -> None:
    """Only what the settings select is read."""
    for host, name in (("h1", "web"), ("h2", "db")):
        vm = steady(name, [Stay(host=host, start=0, end=at(9))], labels={"dc": host})
        scrape(fake, [vm], start=at(-1), end=at(7))
    assert read(fake, bins=6, vm_select='dc="h2"').history.vm_ids == ("db",)


def test_parts_meet(fake: FakePrometheus) -> None:
    """A time of more than a day is read in parts; a migration across their edge is no twin."""
    move = at(288)
    stays = [
        Stay(host="h1", start=0, end=move + 200),
        Stay(host="h2", start=move + 200, end=at(400), arriving_s=700),
    ]
    scrape(fake, [steady("web", stays)], start=at(-1), end=at(301), interval=60.0)
    found = read(fake, bins=300)
    assert cpu(found.history, "web") == pytest.approx([1.5] * 300, rel=0.2)
    assert cpu(found.history, "web")[:287] == [1.5] * 287
    assert found.report.moves == 1


def _labels(host: str, name: str) -> dict[str, str]:
    return {"domain": name, "uuid": f"uuid-{name}", "instance": f"{host}:9177"}


def _level(value: float, count: int) -> list[tuple[float, float]]:
    return [(at(-1) + 15 * k, value) for k in range(count)]
