"""The fields of a what-if question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dash_mantine_components as dmc

from service.web.fields import field_id
from service.web.site import Component

FORM: Final = "whatif"

_HORIZONS: Final = {
    "forecast": "Next hour, as forecast",
    "busiest": "Busiest hours observed",
    "present": "All that VMs were promised",
}
_NO_YES: Final = [{"value": "no", "label": "no"}, {"value": "yes", "label": "yes"}]


def fields(
    known: Mapping[str, Any], hosts: Sequence[str], groups: Sequence[str]
) -> list[Component]:
    """Return the fields with what stands in them."""
    return [
        _group(
            "Hosts",
            _hosts(known, hosts, "lost_host_ids", "Lost", "gone without warning"),
            _hosts(known, hosts, "maintenance_host_ids", "Drained", "emptied for a while"),
            _hosts(known, hosts, "removed_host_ids", "Removed", "emptied for good"),
            _pair(
                _number(known, "added_hosts[0].count", "Added", "so many more"),
                _choice(known, "added_hosts[0].like_host_id", "Like", "one there", hosts),
            ),
        ),
        _group(
            "VMs",
            _pair(
                _number(known, "added_vms[0].count", "Added", "so many more"),
                _text(known, "added_vms[0].like_vm_id", "Like VM", "or of the size below"),
            ),
            _pair(
                _number(known, "added_vms[0].allocation.cpu_millicores", "Cores", "of each"),
                _number(known, "added_vms[0].allocation.memory_mib", "GiB", "of each"),
            ),
            _pair(
                _yes(known, "added_vms[0].apart", "On hosts of their own", "no two share one"),
                _yes(known, "room", "How many fit?", "as many as can be"),
            ),
            _many(known, "removed_vm_ids", "Removed", "one id on each line"),
        ),
        _group(
            "Demand",
            _pair(
                _number(known, "demand_factors[0].factor", "Times", "1.3 is 30 % more"),
                _choice(known, "demand_factors[0].group", "Of the group", "empty: of all", groups),
            ),
            _horizon(known),
            _pair(
                _number(known, "busiest_hours", "Busiest hours", "how many"),
                _number(known, "busiest_days", "Of the last days", "at most 28"),
            ),
        ),
        _group(
            "How many hosts are needed?",
            _hosts(known, hosts, "hosts_needed.types", "Like these", "empty: not asked"),
            _pair(
                _number(known, "hosts_needed.target", "Risk, %", "of any overload"),
                _yes(known, "hosts_needed.survive_loss", "N+1", "one may be lost"),
            ),
        ),
        _number(
            known, "options.limit_s", "Seconds of search", "each part of the answer takes as long"
        ),
    ]


def _group(legend: str, *parts: Component) -> Component:
    return dmc.Fieldset(dmc.Stack(list(parts), gap="xs"), legend=legend, mb="sm", p="sm")


def _pair(*parts: Component) -> Component:
    return dmc.SimpleGrid(list(parts), cols=2, spacing="sm")


def _number(known: Mapping[str, Any], path: str, label: str, description: str) -> Component:
    return dmc.NumberInput(
        id=field_id(FORM, path), label=label, description=description, value=known.get(path, "")
    )


def _text(known: Mapping[str, Any], path: str, label: str, description: str) -> Component:
    return dmc.TextInput(
        id=field_id(FORM, path), label=label, description=description, value=known.get(path, "")
    )


def _many(known: Mapping[str, Any], path: str, label: str, description: str) -> Component:
    return dmc.Textarea(
        id=field_id(FORM, path),
        label=label,
        description=description,
        value=known.get(path, ""),
        autosize=True,
        minRows=1,
        maxRows=6,
    )


def _yes(known: Mapping[str, Any], path: str, label: str, description: str) -> Component:
    return dmc.Select(
        id=field_id(FORM, path),
        label=label,
        description=description,
        data=_NO_YES,
        value=known.get(path, "no"),
        allowDeselect=False,
    )


def _choice(
    known: Mapping[str, Any], path: str, label: str, description: str, among: Sequence[str]
) -> Component:
    value = known.get(path) or None
    return dmc.Select(
        id=field_id(FORM, path),
        label=label,
        description=description,
        data=sorted({*among, *([value] if value else [])}),
        value=value,
        searchable=True,
        clearable=True,
        limit=50,
    )


def _hosts(
    known: Mapping[str, Any], hosts: Sequence[str], path: str, label: str, description: str
) -> Component:
    value = list(known.get(path, ()))
    return dmc.MultiSelect(
        id=field_id(FORM, path),
        label=label,
        description=description,
        data=sorted({*hosts, *value}),
        value=value,
        searchable=True,
        hidePickedOptions=True,
        limit=50,
        nothingFoundMessage="No such host",
    )


def _horizon(known: Mapping[str, Any]) -> Component:
    return dmc.Select(
        id=field_id(FORM, "horizon"),
        label="Judged by",
        description="the demand of",
        data=[{"value": value, "label": label} for value, label in _HORIZONS.items()],
        value=known["horizon"],
        allowDeselect=False,
    )
