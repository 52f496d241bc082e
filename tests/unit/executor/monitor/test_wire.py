"""A record survives its way as JSON, also between neighbouring versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.counters import VmState
from executor.monitor.sample import (
    HOST_FIGURES,
    NO_VMS,
    SCHEMA,
    VM_FIGURES,
    Figure,
    HostMinute,
    MinuteRecord,
    VmMinute,
)
from executor.monitor.wire import decode, encode
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId
from tests.monitoring import START_AT

amounts = st.integers(min_value=0, max_value=10**12).map(lambda thousandths: thousandths / 1000)
figures = st.builds(Figure, mean=amounts, p95=amounts, max=amounts)
names = st.text(min_size=1, max_size=20)
vms = st.builds(
    VmMinute,
    vm_id=names.map(VmId),
    name=names,
    uuid=names,
    state=st.sampled_from(VmState),
    num_vcpus=st.none() | st.integers(min_value=1, max_value=512),
    num_samples=st.integers(min_value=0, max_value=60),
    figures=st.dictionaries(st.sampled_from(VM_FIGURES), figures),
)
records = st.builds(
    MinuteRecord,
    host_id=names.map(HostId),
    minute_at=st.just(START_AT),
    span_s=amounts,
    num_samples=st.integers(min_value=0, max_value=60),
    host=st.builds(
        HostMinute,
        num_cpus=st.integers(min_value=1, max_value=512),
        memory_total_mib=amounts,
        figures=st.dictionaries(st.sampled_from(HOST_FIGURES), figures),
        cpu_fractions=st.lists(figures, max_size=3).map(tuple),
    ),
    vms=st.lists(vms, max_size=3).map(tuple),
    flags=st.frozensets(st.sampled_from([NO_VMS, "of_tomorrow"])),
    clock_skew_s=st.none() | st.integers(-9, 9).map(float),
    schema=st.just(SCHEMA),
)


@given(records)
def test_records_survive_their_way(record: MinuteRecord) -> None:
    """What is decoded is what was encoded, to the thousandth, on one line of ASCII."""
    line = encode(record)
    assert b"\n" not in line
    assert decode(line) == record


def document() -> dict[str, Any]:
    """Return the least that a record says."""
    return {
        "schema": 1,
        "host_id": "h1",
        "minute_at": "2026-03-03T08:00:00+00:00",
        "span_s": 60,
        "num_samples": 6,
        "host": {"num_cpus": 2, "memory_total_mib": 1024},
        "vms": [{"vm_id": "a", "name": "a", "uuid": "u"}],
    }


def test_missing_fields_take_their_defaults() -> None:
    """A record of an older agent, with less in it, can be read."""
    record = decode(json.dumps(document()))
    assert record.flags == frozenset()
    assert record.vms[0].state is VmState.UNKNOWN
    assert record.host.figures == {}


def test_unknown_fields_are_ignored() -> None:
    """A record of the next version, with more in it, can be read."""
    newer = document() | {"schema": SCHEMA + 1, "colour": "red"}
    newer["host"] |= {"figures": {"warmth_kelvin": [1, 2, 3, 4]}, "rack": "r1"}
    newer["vms"][0] |= {"state": "dreaming", "gpu": {}}
    record = decode(json.dumps(newer))
    assert record.schema == SCHEMA + 1
    assert record.host.figures["warmth_kelvin"] == Figure(mean=1, p95=2, max=3)
    assert record.vms[0].state is VmState.UNKNOWN


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"schema": SCHEMA + 2}, "record.schema"),
        ({"schema": 0}, "record.schema"),
        ({"host_id": ""}, "record.host_id"),
        ({"minute_at": "yesterday"}, "record.minute_at"),
        ({"minute_at": "2026-03-03T08:00:00"}, "record.minute_at"),
        ({"span_s": float("nan")}, "record.span_s"),
        ({"num_samples": -1}, "record.num_samples"),
        ({"host": None}, "record.host"),
        ({"host": {"num_cpus": 2, "memory_total_mib": 1, "figures": {"x": [1]}}}, "figures.x"),
        ({"vms": {}}, "record.vms"),
        ({"vms": [{"vm_id": "a", "name": "a"}]}, r"record.vms\[0\].uuid"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_place(
    change: dict[str, Any], path: str
) -> None:
    """The message names the field, so that the agent at fault is found."""
    with pytest.raises(InvalidInputError, match=path):
        decode(json.dumps(document() | change))


def test_a_line_that_is_no_json_is_refused() -> None:
    """Half a record is none."""
    with pytest.raises(InvalidInputError, match="as JSON"):
        decode(b'{"schema":')
