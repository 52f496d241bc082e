"""What-if questions as fields of a form and as the end of an address; the document is the API's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from service.web.fields import flat, nested, without_empty
from service.whatif.schema import WhatIfRequest

FIELDS: Final = (
    "lost_host_ids",
    "maintenance_host_ids",
    "removed_host_ids",
    "added_hosts[0].count",
    "added_hosts[0].like_host_id",
    "added_vms[0].count",
    "added_vms[0].like_vm_id",
    "added_vms[0].allocation.cpu_millicores",
    "added_vms[0].allocation.memory_mib",
    "added_vms[0].apart",
    "removed_vm_ids",
    "demand_factors[0].factor",
    "demand_factors[0].group",
    "horizon",
    "busiest_hours",
    "busiest_days",
    "room",
    "hosts_needed.types",
    "hosts_needed.target",
    "hosts_needed.survive_loss",
    "options.limit_s",
)
"""What can be typed, at the paths of a request."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "horizon": "forecast",
    "busiest_hours": 8,
    "busiest_days": 14,
    "options.limit_s": 2.0,
    "hosts_needed.target": 0.01,
}

_SCALES: Final = {
    "added_vms[0].allocation.cpu_millicores": 1000,
    "added_vms[0].allocation.memory_mib": 1024,
    "hosts_needed.target": 0.01,
}
"""What one unit of a field is in the document: cores, GiB, percent."""

_YES: Final = ("added_vms[0].apart", "hosts_needed.survive_loss")
_LISTS: Final = ("added_hosts", "added_vms", "demand_factors")
_FLAVOUR: Final = "added_vms[0]."

Document = dict[str, Any]


def document_of(by_path: Mapping[str, Any], rest: Mapping[str, Any]) -> Document:
    """Return the request that was typed.

    Parameters
    ----------
    rest
        What else is asked, which no field shows.
    """
    said = _asked(by_path)
    asks_room = said.pop("room", "") == "yes"
    document = nested({path: _said(path, value) for path, value in said.items()})
    if asks_room:
        document["room"] = {"vms": _flavour(document)}
        if _FLAVOUR + "count" not in said:
            document.pop("added_vms", None)
    return {**rest, **document}


def fields_of(document: Mapping[str, Any]) -> tuple[dict[str, Any], Document]:
    """Return what stands in the fields for a request, and what else it asks."""
    shown, rest = dict(DEFAULTS), {}
    for name, value in document.items():
        if value is None:
            continue
        part = _fields_of(name, value, document)
        if part is None:
            rest[name] = value
        else:
            shown |= part
    return {path: _shown(path, value) for path, value in shown.items()}, rest


def question_in(query: str) -> tuple[Document, str]:
    """Return the request and the job that an address names; empty for none.

    What is no request of the API counts as none: links break.
    """
    named = parse_qs(query.removeprefix("?"))
    try:
        document = json.loads(named.get("ask", ["{}"])[0])
        WhatIfRequest.model_validate(document)
    except (ValueError, RecursionError):
        document = {}
    return document, named.get("job", [""])[0]


def address_of(document: Mapping[str, Any], job_id: str) -> str:
    """Return the end of the address at which a request and its answer stand."""
    asked = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return "?" + urlencode({"ask": asked, "job": job_id})


def _asked(by_path: Mapping[str, Any]) -> Document:
    """Return the fields that ask something: not those that say how of what is not asked."""
    said = {
        path: value
        for path, value in without_empty(by_path).items()
        if path in FIELDS and value != [] and not (path in _YES and value == "no")
    }
    idle = []
    if "hosts_needed.types" not in said:
        idle.append("hosts_needed")
    if said.get("horizon") != "busiest":
        idle.append("busiest")
    if not any(path.startswith(_FLAVOUR) and path not in _YES for path in said):
        idle.append(_FLAVOUR)
    return {path: value for path, value in said.items() if not path.startswith(tuple(idle))}


def _flavour(document: Mapping[str, Any]) -> Document:
    """Return the flavour that was typed; of how many, ``room`` is the question."""
    [flavour] = document.get("added_vms", [{}])
    return {name: value for name, value in flavour.items() if name != "count"}


def _fields_of(name: str, value: Any, document: Mapping[str, Any]) -> Document | None:
    """Return the fields that show one entry of a request; ``None`` if they cannot show it all."""
    if name == "room":
        return _fields_of_room(value, document)
    if name == "hosts_needed":
        types = [kind.get("like_host_id") for kind in value["types"]]
        if value["types"] != [{"like_host_id": each} for each in types]:
            return None
        value = {**value, "types": types}
    if name in _LISTS and len(value) != 1:
        return {} if not value else None
    found = flat({name: value})
    return found if set(found) <= set(FIELDS) else None


def _fields_of_room(value: Mapping[str, Any], document: Mapping[str, Any]) -> Document | None:
    if set(value) != {"vms"}:
        return None
    if document.get("added_vms"):
        return {"room": "yes"} if _flavour_fits(value["vms"], document["added_vms"]) else None
    found = flat({"added_vms": [value["vms"]]})
    return {**found, "room": "yes"} if set(found) <= set(FIELDS) else None


def _flavour_fits(flavour: Mapping[str, Any], added: list[Document]) -> bool:
    """Tell whether more of the very VMs that are added are asked for."""
    return len(added) == 1 and _flavour({"added_vms": added}) == flavour


def _said(path: str, value: Any) -> Any:
    """Return what a field says in the document."""
    if path in _SCALES and isinstance(value, int | float):
        scaled = value * _SCALES[path]
        return scaled if path == "hosts_needed.target" else round(scaled)
    if path in _YES:
        return True
    if path == "removed_vm_ids":
        return [each for line in value.splitlines() if (each := line.strip())]
    if path == "hosts_needed.types":
        return [{"like_host_id": each} for each in value]
    return value


def _shown(path: str, value: Any) -> Any:
    """Return what a field shows of the document."""
    if path in _SCALES:
        return round(value / _SCALES[path], 6)
    if path in _YES:
        return "yes" if value else "no"
    if path == "removed_vm_ids":
        return "\n".join(value)
    return value
