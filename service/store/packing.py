"""Telemetry as bytes: minutes as they were delivered, bins of many VMs, and days of one.

Numbers are 32-bit floats, kept figure by figure with like bytes side by side, which is what makes
them small. Every form begins with its version.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from executor.counters import VmState
from executor.monitor.sample import Figure, HostMinute, MinuteRecord, VmMinute
from forecast.history import BinState
from service.monitored import (
    MEAN,
    NUM_QUANTITIES,
    NUM_STATISTICS,
    SeenVm,
    Sheet,
    figure_table,
    host_sheet,
    vm_sheet,
)
from service.store.errors import StoreError
from solver.domain.units import HostId, VmId

Floats = npt.NDArray[np.float32]
States = npt.NDArray[np.uint8]

_VERSION: Final = 1
_HEAD: Final = struct.Struct("<BI")
_LEVEL: Final = 1
"""Of compression: higher ones save a few per cent for several times the work."""


# Minutes ---------------------------------------------------------------------------------------


def pack_minute(record: MinuteRecord) -> bytes:
    """Return a record as bytes; figures keep seven digits."""
    names, figures = figure_table([vm.figures for vm in record.vms])
    host_names, host_figures = figure_table([record.host.figures])
    cpus = [(each.mean, each.p95, each.max) for each in record.host.cpu_fractions]
    head = {
        "schema": record.schema,
        "host_id": record.host_id,
        "minute_at": record.minute_at.isoformat(),
        "span_s": record.span_s,
        "num_samples": record.num_samples,
        "flags": sorted(record.flags),
        "clock_skew_s": record.clock_skew_s,
        "num_cpus": record.host.num_cpus,
        "memory_total_mib": record.host.memory_total_mib,
        "host_names": host_names,
        "num_fractions": len(cpus),
        "names": names,
        "vms": [
            (vm.vm_id, vm.name, vm.uuid, vm.state.value, vm.num_vcpus, vm.num_samples)
            for vm in record.vms
        ],
    }
    parts = (host_figures, np.array(cpus, dtype=np.float64), figures)
    numbers = np.concatenate([part.ravel() for part in parts]).astype("<f4")
    text = json.dumps(head, separators=(",", ":")).encode("ascii")
    body = zlib.compress(text + _shuffled(numbers), _LEVEL)
    return _HEAD.pack(_VERSION, len(text)) + body


def unpack_minute(data: bytes) -> MinuteRecord:
    """Return a record as it was packed.

    Raises
    ------
    StoreError
        If the bytes are damaged, or of a later version.
    """
    head, numbers = _minute_parts(data)
    host_table, cpus, table = _tables(head, numbers)
    return MinuteRecord(
        schema=head["schema"],
        host_id=HostId(head["host_id"]),
        minute_at=datetime.fromisoformat(head["minute_at"]),
        span_s=head["span_s"],
        num_samples=head["num_samples"],
        flags=frozenset(head["flags"]),
        clock_skew_s=head["clock_skew_s"],
        host=HostMinute(
            num_cpus=head["num_cpus"],
            memory_total_mib=head["memory_total_mib"],
            figures=_figures(head["host_names"], host_table, 0),
            cpu_fractions=tuple(_figure(each) for each in cpus),
        ),
        vms=tuple(
            _vm(vm, _figures(head["names"], table, number)) for number, vm in enumerate(head["vms"])
        ),
    )


def sheets_of_minute(data: bytes) -> tuple[Sheet, Sheet]:
    """Return the VMs and the host of a packed record, to be rolled up."""
    head, numbers = _minute_parts(data)
    minute_at, span_s = datetime.fromisoformat(head["minute_at"]), head["span_s"]
    host_table, _, table = _tables(head, numbers)
    vms = [
        SeenVm(id=told[0], state=VmState(told[3]), num_vcpus=told[4], num_samples=told[5])
        for told in head["vms"]
    ]
    names, host_names = tuple(head["names"]), tuple(head["host_names"])
    size = head["num_cpus"], head["memory_total_mib"]
    return (
        vm_sheet(minute_at, span_s, head["num_samples"], vms, names, table),
        host_sheet(head["host_id"], minute_at, span_s, *size, host_names, host_table),
    )


def _tables(head: dict[str, Any], numbers: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the figures of the host, of its processors, and of its VMs."""
    num_host, num_cpus, num_vms = len(head["host_names"]), head["num_fractions"], len(head["vms"])
    of_host, of_cpus, of_vms = np.split(
        numbers, np.cumsum([NUM_STATISTICS * num_host, NUM_STATISTICS * num_cpus])
    )
    return (
        of_host.reshape(num_host, NUM_STATISTICS, 1),
        of_cpus.reshape(num_cpus, NUM_STATISTICS),
        of_vms.reshape(len(head["names"]), NUM_STATISTICS, num_vms),
    )


def _minute_parts(data: bytes) -> tuple[dict[str, Any], Floats]:
    try:
        version, length = _HEAD.unpack_from(data)
        _require_version(version)
        content = zlib.decompress(data[_HEAD.size :])
        head: dict[str, Any] = json.loads(content[:length])
    except (struct.error, zlib.error, ValueError) as error:
        raise StoreError(f"a minute of telemetry is damaged: {error}") from error
    return head, _unshuffled(content[length:])


def _vm(told: list[Any], figures: dict[str, Figure]) -> VmMinute:
    vm_id, name, uuid, state, num_vcpus, num_samples = told
    return VmMinute(
        vm_id=VmId(vm_id),
        name=name,
        uuid=uuid,
        state=VmState(state),
        num_vcpus=num_vcpus,
        num_samples=num_samples,
        figures=figures,
    )


def _figures(names: list[str], table: Floats, number: int) -> dict[str, Figure]:
    return {
        name: _figure(table[position, :, number])
        for position, name in enumerate(names)
        if not np.isnan(table[position, MEAN, number])
    }


def _figure(numbers: Floats) -> Figure:
    mean, p95, largest = numbers.tolist()
    return Figure(mean=mean, p95=p95, max=largest)


# Bins ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Some series in one bin.

    Parameters
    ----------
    numbers
        Of the series, rising.
    state
        Shape ``(num,)``.
    figures
        Shape ``(3, NUM_QUANTITIES, num)``.
    """

    numbers: npt.NDArray[np.int32]
    state: States
    figures: Floats


def pack_block(block: Block) -> bytes:
    """Return a block as bytes; it is read a hundred times and then packed into days."""
    parts = (
        block.numbers.astype("<i4").tobytes(),
        block.state.tobytes(),
        np.ascontiguousarray(block.figures, dtype="<f4").tobytes(),
    )
    return _HEAD.pack(_VERSION, len(block.numbers)) + b"".join(parts)


def unpack_block(data: bytes) -> Block:
    """Return a block as it was packed.

    Raises
    ------
    StoreError
        If the bytes are damaged, or of a later version.
    """
    version, num = _HEAD.unpack_from(data)
    _require_version(version)
    expected = _HEAD.size + num * (5 + 4 * NUM_STATISTICS * NUM_QUANTITIES)
    if len(data) != expected:
        raise StoreError(f"a block of bins is damaged: expected {expected} bytes, got {len(data)}")
    numbers = np.frombuffer(data, "<i4", num, _HEAD.size)
    state = np.frombuffer(data, np.uint8, num, _HEAD.size + 4 * num)
    figures = np.frombuffer(data, "<f4", offset=_HEAD.size + 5 * num)
    return Block(
        numbers=numbers,
        state=state,
        figures=figures.reshape(NUM_STATISTICS, NUM_QUANTITIES, num),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chunk:
    """One series over some bins.

    Parameters
    ----------
    state
        Shape ``(num_bins,)``.
    figures
        Shape ``(3, NUM_QUANTITIES, num_bins)``, or the means alone, ``(1, …)``.
    """

    state: States
    figures: Floats

    def overlaid(self, newer: Chunk) -> Chunk:
        """Return this one with another's over it, where that one knows anything."""
        known = newer.state != BinState.ABSENT
        return replace(
            self,
            state=np.where(known, newer.state, self.state),
            figures=np.where(known, newer.figures, self.figures),
        )


def empty_chunk(num_bins: int) -> Chunk:
    """Return a chunk that knows nothing."""
    return Chunk(
        state=np.full(num_bins, BinState.ABSENT, dtype=np.uint8),
        figures=np.full((NUM_STATISTICS, NUM_QUANTITIES, num_bins), np.nan, dtype=np.float32),
    )


def pack_chunk(chunk: Chunk) -> bytes:
    """Return a chunk as bytes: states and means first, since most readers want no more."""
    means = zlib.compress(chunk.state.tobytes() + _shuffled(chunk.figures[MEAN]), _LEVEL)
    others = zlib.compress(_shuffled(chunk.figures[MEAN + 1 :]), _LEVEL)
    return _HEAD.pack(_VERSION, len(means)) + means + others


def unpack_chunk(data: bytes, num_bins: int, *, means_only: bool = False) -> Chunk:
    """Return a chunk as it was packed, or its means.

    Raises
    ------
    StoreError
        If the bytes are damaged, or of a later version.
    """
    try:
        version, length = _HEAD.unpack_from(data)
        _require_version(version)
        end = _HEAD.size + length
        content = zlib.decompress(data[_HEAD.size : end])
        state = np.frombuffer(content, np.uint8, num_bins)
        figures = _unshuffled(content[num_bins:]).reshape(1, NUM_QUANTITIES, num_bins)
        if not means_only:
            others = _unshuffled(zlib.decompress(data[end:]))
            shape = (NUM_STATISTICS - 1, NUM_QUANTITIES, num_bins)
            figures = np.concatenate([figures, others.reshape(shape)])
    except (struct.error, zlib.error, ValueError) as error:
        raise StoreError(f"a chunk of bins is damaged: {error}") from error
    return Chunk(state=state, figures=figures)


# Numbers ---------------------------------------------------------------------------------------


def _shuffled(numbers: npt.NDArray[Any]) -> bytes:
    """Return the first bytes of all numbers, then the second ones, and so on."""
    flat = np.ascontiguousarray(numbers, dtype="<f4").view(np.uint8)
    return flat.reshape(-1, 4).T.tobytes()


def _unshuffled(data: bytes) -> Floats:
    columns = np.frombuffer(data, np.uint8).reshape(4, -1)
    return np.ascontiguousarray(columns.T).view("<f4").ravel()


def _require_version(version: int) -> None:
    if version != _VERSION:
        raise StoreError(f"telemetry of version {version}: expected {_VERSION}")
