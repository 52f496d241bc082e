"""The fields of a rule: those that its kind has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import dash_mantine_components as dmc

from service.web.fields import field_id
from service.web.rule_form import MODELS, VM_LISTS, paths_of
from service.web.rule_words import KINDS
from service.web.site import Component
from solver.domain.rules import LEVELS

FORM: Final = "rules"

VM_LABELS: Final = {"vm_ids": "VMs", "on_vm_ids": "VMs they depend on", "other_vm_ids": "Others"}


def fields(
    kind: str, known: Mapping[str, Any], hosts: Sequence[str], *, new: bool
) -> list[Component]:
    """Return the fields of a kind of rule.

    Parameters
    ----------
    known
        What stands in them.
    new
        Whether its name can still be chosen.
    """
    name = dmc.TextInput(
        id=field_id(FORM, "id"),
        label="Name",
        description="of the rule",
        value=known.get("id", ""),
        readOnly=not new,
    )
    paths = [path for path in paths_of(kind) if path in _MAKERS or path in VM_LISTS]
    narrow = [_field(path, known.get(path), hosts) for path in paths if path not in _WIDE]
    wide = [_field(path, known.get(path), hosts) for path in paths if path in _WIDE]
    says = dmc.Text(KINDS[kind][1], c="dimmed", size="sm")
    return [says, dmc.SimpleGrid([name, *narrow], cols={"base": 1, "sm": 2}), *wide]


def kinds() -> list[dict[str, str]]:
    """Return what a kind is chosen from."""
    return [{"value": kind, "label": KINDS[kind][0]} for kind in MODELS]


def _field(path: str, value: Any, hosts: Sequence[str]) -> Component:
    if path in VM_LISTS:
        return _vms(path, value)
    return _MAKERS[path](path, value, hosts)


def _vms(path: str, value: Any) -> Component:
    return dmc.Textarea(
        id=field_id(FORM, path),
        label=VM_LABELS[path],
        description="one id on each line",
        value=value or "",
        autosize=True,
        minRows=2,
        maxRows=8,
    )


def _penalty(path: str, value: Any, _hosts: Sequence[str]) -> Component:
    return dmc.NumberInput(
        id=field_id(FORM, path),
        label="Penalty, host-seconds",
        description="empty: the rule is hard",
        value="" if value is None else value,
    )


def _continuous(path: str, value: Any, _hosts: Sequence[str]) -> Component:
    return dmc.Select(
        id=field_id(FORM, path),
        label="Binds",
        description="also while VMs are on their way, or not",
        data=[
            {"value": "moving", "label": "at every instant"},
            {"value": "at rest", "label": "placements at rest"},
        ],
        value=value or "moving",
        allowDeselect=False,
    )


def _level(path: str, value: Any, _hosts: Sequence[str]) -> Component:
    return dmc.Select(
        id=field_id(FORM, path),
        label="Domain",
        description="what counts as one",
        data=list(LEVELS),
        value=value or "zone",
        allowDeselect=False,
    )


def _hosts(path: str, value: Any, hosts: Sequence[str]) -> Component:
    return dmc.MultiSelect(
        id=field_id(FORM, path),
        label="Hosts",
        data=sorted({*hosts, *(value or ())}),
        value=list(value or ()),
        searchable=True,
        hidePickedOptions=True,
        limit=50,
        nothingFoundMessage="No such host",
    )


def _parts(path: str, value: Any, _hosts: Sequence[str]) -> Component:
    return dmc.Textarea(
        id=field_id(FORM, path),
        label="Parts",
        description="hosts of a part on each line, with commas between; empty: every zone is one",
        value=value or "",
        autosize=True,
        minRows=2,
    )


def _number(label: str) -> Callable[[str, Any, Sequence[str]], Component]:
    def make(path: str, value: Any, _hosts: Sequence[str]) -> Component:
        return dmc.NumberInput(
            id=field_id(FORM, path),
            label=label,
            description="a whole number",
            value="" if value is None else value,
            allowDecimal=False,
        )

    return make


_MAKERS: Final[Mapping[str, Callable[[str, Any, Sequence[str]], Component]]] = {
    "penalty_host_s": _penalty,
    "continuous": _continuous,
    "level": _level,
    "host_ids": _hosts,
    "parts": _parts,
    "min_domains": _number("Least domains"),
    "max_vms": _number("Most VMs on a host"),
    "max_hosts": _number("Most hosts"),
}
_WIDE: Final = (*VM_LISTS, "host_ids", "parts")

KNOWN: Final = frozenset({*_MAKERS, *VM_LISTS})
"""Fields that there is a component for."""
