"""A minute's record as one line of JSON, between agents and services of neighbouring versions.

``SCHEMA`` rises when a field is added; the meaning of a field never changes, and none is taken away
before two further versions have passed. A reader ignores fields it does not know, takes the
defaults of fields that are missing, and accepts every schema from 1 to one above its own. So an
agent and a service that are one version apart understand each other, whichever is ahead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from executor.counters import VmState
from executor.monitor.sample import SCHEMA, Figure, HostMinute, MinuteRecord, VmMinute
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId

_STATES: Final = {state.value: state for state in VmState}


def encode(record: MinuteRecord) -> bytes:
    """Return a record as one line of JSON, without the line's end."""
    document = {
        "schema": record.schema,
        "host_id": record.host_id,
        "minute_at": record.minute_at.isoformat(),
        "span_s": _short(record.span_s),
        "num_samples": record.num_samples,
        "flags": sorted(record.flags),
        "clock_skew_s": record.clock_skew_s,
        "host": {
            "num_cpus": record.host.num_cpus,
            "memory_total_mib": _short(record.host.memory_total_mib),
            "figures": _figures_to_json(record.host.figures),
            "cpu_fractions": [_figure_to_json(each) for each in record.host.cpu_fractions],
        },
        "vms": [_vm_to_json(vm) for vm in record.vms],
    }
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def decode(line: bytes | str) -> MinuteRecord:
    """Return the record of a line of JSON.

    Raises
    ------
    InvalidInputError
        If it is no JSON, of a schema that cannot be understood, or a value is of another kind than
        expected; the message names the place.
    """
    try:
        document = json.loads(line)
    except ValueError as error:
        raise InvalidInputError(f"expected a record as JSON, got: {error}") from error
    return from_json(document)


def from_json(document: object) -> MinuteRecord:
    """Return the record of a parsed document; errors as of :func:`decode`."""
    whole = _object(document, "record")
    schema = _whole(whole, "schema", "record")
    if not 1 <= schema <= SCHEMA + 1:
        raise InvalidInputError(
            f"expected a schema of 1..{SCHEMA + 1}, got {schema}", path="record.schema"
        )
    host = _object(whole.get("host"), "record.host")
    return MinuteRecord(
        schema=schema,
        host_id=HostId(_text(whole, "host_id", "record")),
        minute_at=_instant(whole, "minute_at", "record"),
        span_s=_number(whole.get("span_s"), "record.span_s"),
        num_samples=_whole(whole, "num_samples", "record"),
        flags=frozenset(str(flag) for flag in _list(whole.get("flags"), "record.flags")),
        clock_skew_s=_optional_number(whole.get("clock_skew_s"), "record.clock_skew_s"),
        host=HostMinute(
            num_cpus=_whole(host, "num_cpus", "record.host"),
            memory_total_mib=_number(host.get("memory_total_mib"), "record.host.memory_total_mib"),
            figures=_figures(host.get("figures"), "record.host.figures"),
            cpu_fractions=tuple(
                _figure(each, f"record.host.cpu_fractions[{number}]")
                for number, each in enumerate(
                    _list(host.get("cpu_fractions"), "record.host.cpu_fractions")
                )
            ),
        ),
        vms=tuple(
            _vm(each, f"record.vms[{number}]")
            for number, each in enumerate(_list(whole.get("vms"), "record.vms"))
        ),
    )


def _vm_to_json(vm: VmMinute) -> dict[str, Any]:
    return {
        "vm_id": vm.vm_id,
        "name": vm.name,
        "uuid": vm.uuid,
        "state": vm.state.value,
        "num_vcpus": vm.num_vcpus,
        "num_samples": vm.num_samples,
        "figures": _figures_to_json(vm.figures),
    }


def _vm(value: object, path: str) -> VmMinute:
    vm = _object(value, path)
    vcpus = vm.get("num_vcpus")
    return VmMinute(
        vm_id=VmId(_text(vm, "vm_id", path)),
        name=_text(vm, "name", path),
        uuid=_text(vm, "uuid", path),
        state=_state(vm.get("state")),
        num_vcpus=None if vcpus is None else _whole(vm, "num_vcpus", path),
        num_samples=_whole(vm, "num_samples", path) if "num_samples" in vm else 0,
        figures=_figures(vm.get("figures"), f"{path}.figures"),
    )


def _state(value: object) -> VmState:
    """Return the state, ``UNKNOWN`` for one of a later version."""
    return _STATES.get(value, VmState.UNKNOWN) if isinstance(value, str) else VmState.UNKNOWN


def _figures_to_json(figures: Mapping[str, Figure]) -> dict[str, list[float]]:
    return {name: _figure_to_json(figure) for name, figure in figures.items()}


def _figure_to_json(figure: Figure) -> list[float]:
    return [_short(figure.mean), _short(figure.p95), _short(figure.max)]


def _figures(value: object, path: str) -> dict[str, Figure]:
    found = {} if value is None else _object(value, path)
    return {name: _figure(each, f"{path}.{name}") for name, each in found.items()}


def _figure(value: object, path: str) -> Figure:
    numbers = _list(value, path)
    if len(numbers) < 3:
        raise InvalidInputError(f"expected mean, p95 and max, got {value!r}", path=path)
    mean, p95, largest = numbers[:3]
    return Figure(mean=_number(mean, path), p95=_number(p95, path), max=_number(largest, path))


def _short(value: float) -> float:
    """Return a number as it is sent: thousandths are beyond every source's precision."""
    return round(value, 3)


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInputError(f"expected an object, got {value!r:.80}", path=path)
    return value


def _list(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidInputError(f"expected a list, got {value!r:.80}", path=path)
    return value


def _text(document: Mapping[str, Any], name: str, path: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInputError(f"expected a text, got {value!r:.80}", path=f"{path}.{name}")
    return value


def _whole(document: Mapping[str, Any], name: str, path: str) -> int:
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidInputError(
            f"expected a whole number of 0 or more, got {value!r:.80}", path=f"{path}.{name}"
        )
    return value


def _number(value: object, path: str) -> float:
    if type(value) is float and math.isfinite(value):
        return value  # Nearly all are, and there are thousands in a record.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidInputError(f"expected a finite number, got {value!r:.80}", path=path)
    return float(value)


def _optional_number(value: object, path: str) -> float | None:
    return None if value is None else _number(value, path)


def _instant(document: Mapping[str, Any], name: str, path: str) -> datetime:
    text = _text(document, name, path)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInputError(
            f"expected an ISO-8601 instant, got {text!r}", path=f"{path}.{name}"
        ) from error
    if at.tzinfo is None:
        raise InvalidInputError(
            f"expected an instant with a zone, got {text!r}", path=f"{path}.{name}"
        )
    return at.astimezone(UTC)
