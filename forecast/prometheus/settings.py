"""Which series mean what: read from a TOML file, checked, with a preset for each known exporter."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from forecast.prometheus.client import Access
from forecast.prometheus.presets import HOST, PRESETS
from solver.domain.errors import InvalidInputError

COUNTERS: Final = frozenset(
    {"cpu_time", "cpu_wait", "disk_read", "disk_write", "net_receive", "net_transmit"}
)
"""Quantities of a VM that only grow; the others are levels."""
REQUIRED: Final = ("cpu_time", "vcpus")
OPTIONAL: Final = frozenset({"cpu_wait", "memory_available", "memory_usable"})
"""Quantities of VMs that not every exporter tells."""
DEFAULT_PRESET: Final = "debian"

_NAME: Final = re.compile(r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")
_LABEL: Final = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Where one quantity comes from: a metric, or a query of one's own.

    Parameters
    ----------
    metric
        Name of a metric. Counters are rated and levels averaged over the bin.
    query
        PromQL instead: for a counter its mean rate per second over the bin, else its mean. ``$bin``
        in it becomes the length of a bin, e.g. ``300s``. The result must keep the labels that say
        which VM and which host.
    per
        Label by which one VM has several series that add up: a disk, an interface, a vCPU.
    scale
        What to multiply by to get seconds or bytes, e.g. 1e-9 for nanoseconds.
    """

    metric: str = ""
    query: str = ""
    per: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        if bool(self.metric) == bool(self.query):
            raise InvalidInputError("expected metric or query, one of them")
        if self.metric and not _NAME.match(self.metric):
            raise InvalidInputError(
                f"expected the name of a metric, got {self.metric!r} (a query of your own goes "
                "into { query = ... })"
            )
        if self.per and (self.query or not _LABEL.match(self.per)):
            raise InvalidInputError(
                f"expected per to be a label, beside a metric, got {self.per!r}"
            )
        if not 0 < self.scale < float("inf"):
            raise InvalidInputError(f"expected a scale above 0, got {self.scale:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to read the telemetry of VMs and hosts.

    Parameters
    ----------
    vm_label
        Label that tells VMs apart, wherever they run.
    name_label
        Label whose newest value is a VM's identity for the rest of the program; empty for the value
        of ``vm_label`` itself.
    host_label
        Label that tells hosts apart; a port at its end is left out.
    vm_select, host_select
        Label matchers for every metric, such as ``job="libvirt"``.
    vm, host
        By quantity, where it comes from.
    absent_is_off
        Whether a VM that no host has, while all of them answer, is powered off; exporters tell of
        running VMs only. If ``False`` its readings are missing.
    access
        Address and credentials; ``None`` if the file names no address.
    """

    vm_label: str
    name_label: str = ""
    host_label: str = "instance"
    vm_select: str = ""
    host_select: str = ""
    vm: Mapping[str, Measure] = field(default_factory=dict)
    host: Mapping[str, Measure] = field(default_factory=dict)
    absent_is_off: bool = True
    access: Access | None = None

    def __post_init__(self) -> None:
        for name in ("vm_label", "name_label", "host_label"):
            label = getattr(self, name)
            if not _LABEL.match(label) and (label or name != "name_label"):
                raise InvalidInputError(f"expected a label, got {label!r}", path=name)
        for name in REQUIRED:
            if name not in self.vm:
                raise InvalidInputError("expected where it comes from, got none", path=f"vm.{name}")
        for name, reason in (
            ("cpu_time", "its samples tell how much of a bin was seen"),
            ("state", "its smallest and its largest value in a bin are read"),
        ):
            if name in self.vm and not self.vm[name].metric:
                raise InvalidInputError(
                    f"expected a metric, got a query: {reason}", path=f"vm.{name}"
                )


def preset(name: str = DEFAULT_PRESET) -> Settings:
    """Return the settings for a known exporter, and ``node_exporter`` for hosts.

    Raises
    ------
    InvalidInputError
        If there is no such preset.
    """
    if name not in PRESETS:
        raise InvalidInputError(
            f"expected one of {', '.join(PRESETS)}, got {name!r}", path="preset"
        )
    known = PRESETS[name]
    return Settings(
        vm_label=known["labels"]["vm"],
        name_label=known["labels"].get("name", ""),
        vm={k: _preset_measure(values) for k, values in known["vm"].items()},
        host={k: _preset_measure(values) for k, values in HOST.items()},
    )


def _preset_measure(values: Mapping[str, str]) -> Measure:
    return Measure(metric=values["metric"], per=values.get("per", ""))


def read_settings(path: Path | str, *, url: str | None = None) -> Settings:
    """Read settings from a TOML file; what it does not say is as in its preset.

    Parameters
    ----------
    url
        Address of Prometheus, before that of the file.

    Raises
    ------
    InvalidInputError
        If the file cannot be read or something in it is unknown or wrong; names file and key.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidInputError(f"{path}: expected a TOML file: {error}") from error
    try:
        return _settings(document, path.parent, url)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from error


def _settings(document: dict[str, Any], folder: Path, url: str | None) -> Settings:
    top = _Table(
        document,
        "",
        preset=str,
        access=dict,
        labels=dict,
        select=dict,
        vm=dict,
        host=dict,
        absent_is_off=bool,
    )
    base = preset(top.get("preset", DEFAULT_PRESET))
    labels = _Table(top.get("labels", {}), "labels", vm=str, name=str, host=str)
    select = _Table(top.get("select", {}), "select", vm=str, host=str)
    name_default = base.name_label if labels.get("vm", base.vm_label) == base.vm_label else ""
    return replace(
        base,
        vm_label=labels.get("vm", base.vm_label),
        name_label=labels.get("name", name_default),
        host_label=labels.get("host", base.host_label),
        vm_select=_matchers(select.get("vm", ""), "select.vm"),
        host_select=_matchers(select.get("host", ""), "select.host"),
        vm=_measures(top.get("vm", {}), "vm", base.vm),
        host=_measures(top.get("host", {}), "host", base.host),
        absent_is_off=top.get("absent_is_off", True),
        access=_access(top.get("access", {}), folder, url),
    )


def _access(values: dict[str, Any], folder: Path, url: str | None) -> Access | None:
    table = _Table(
        values,
        "access",
        url=str,
        bearer_token_file=str,
        username=str,
        password_file=str,
        ca_file=str,
        timeout_s=(int, float),
        attempts=int,
    )
    address = url or table.get("url", "")
    if not address:
        return None
    files = {
        name: folder / table.get(name, "")
        for name in ("bearer_token_file", "password_file", "ca_file")
        if table.get(name, "")
    }
    try:
        return Access(
            url=address,
            username=table.get("username", None),
            timeout_s=float(table.get("timeout_s", 60.0)),
            attempts=table.get("attempts", 4),
            **files,
        )
    except InvalidInputError as error:
        raise InvalidInputError(str(error), path="access") from error


def _measures(
    values: dict[str, Any], where: str, base: Mapping[str, Measure]
) -> dict[str, Measure]:
    """Return the measures of a preset with those of the file instead; ``false`` leaves one out."""
    known = {"vm": PRESETS[DEFAULT_PRESET]["vm"].keys() | OPTIONAL, "host": HOST.keys()}[where]
    measures = dict(base)
    for name, value in values.items():
        path = f"{where}.{name}"
        if name not in known:
            raise InvalidInputError(
                f"unknown quantity; expected one of {', '.join(sorted(known))}", path=path
            )
        if value is False:
            measures.pop(name, None)
            continue
        try:
            measures[name] = _measure(value, path, base.get(name))
        except InvalidInputError as error:
            if error.path:
                raise
            raise InvalidInputError(str(error), path=path) from error
    return measures


def _measure(value: object, path: str, base: Measure | None) -> Measure:
    if isinstance(value, str):
        value = {"metric": value}
        if base is not None and base.metric:
            value["per"] = base.per
    if not isinstance(value, dict):
        raise InvalidInputError(f"expected the name of a metric, a table or false, got {value!r}")
    table = _Table(value, path, metric=str, query=str, per=str, scale=(int, float))
    return Measure(
        metric=table.get("metric", ""),
        query=table.get("query", ""),
        per=table.get("per", ""),
        scale=float(table.get("scale", 1.0)),
    )


def _matchers(text: str, path: str) -> str:
    if "{" in text or "}" in text:
        raise InvalidInputError(
            f"""expected label matchers without braces, such as job="libvirt", got {text!r}""",
            path=path,
        )
    return text.strip().rstrip(",")


class _Table:
    """A table of the file whose keys and types have been checked."""

    def __init__(self, values: dict[str, Any], where: str, **types: Any) -> None:
        self._values = values
        for name, value in values.items():
            path = f"{where}.{name}" if where else name
            if name not in types:
                raise InvalidInputError(
                    f"unknown key; expected one of {', '.join(types)}", path=path
                )
            wanted = types[name] if isinstance(types[name], tuple) else (types[name],)
            # To Python, true is a number.
            if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
                names = {
                    str: "text",
                    dict: "a table",
                    bool: "true or false",
                    int: "a number",
                    float: "a number",
                }
                raise InvalidInputError(f"expected {names[wanted[0]]}, got {value!r}", path=path)

    def get(self, name: str, default: Any) -> Any:
        return self._values.get(name, default)
