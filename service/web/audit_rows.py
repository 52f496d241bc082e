"""The log of changes as people read it: what differs, where its subject is shown, as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from service.api.audit import AuditQuery
from service.security.audit import Wanted
from service.store.base import AuditEntry
from service.web.fields import flat, validated, without_empty

NAMES: Final = ("cluster_id", "actor", "action", "subject", "since", "until")
"""What may be asked, as in the API."""

NOTHING: Final = "–"
_MOST_TEXT: Final = 200
_COLUMNS: Final = ("number", "at", "actor", "origin", "action", "cluster_id", "subject")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs between before and after.

    Parameters
    ----------
    name
        Path in the document.
    before, after
        In words; a dash where there was, or is, nothing.
    """

    name: str
    before: str
    after: str


def differences(entry: AuditEntry) -> list[Difference]:
    """Return what an entry changed, in the order of the documents."""
    before, after = _flat(entry.before), _flat(entry.after)
    names = [*before, *(name for name in after if name not in before)]
    return [
        Difference(name=name, before=words(before.get(name)), after=words(after.get(name)))
        for name in names
        if before.get(name) != after.get(name)
    ]


def words(value: Any) -> str:
    """Return a value of a document as people read it.

    >>> words(None), words(True), words(["a", "b"]), words(7)
    ('–', 'yes', 'a, b', '7')
    """
    if value is None or value in ("", [], {}):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"


def address(entry: AuditEntry) -> str:
    """Return the page that shows the subject of an entry; empty for none."""
    kind, _, name = entry.subject.partition("/")
    if not entry.cluster_id:
        return _OF_SERVICE.get(kind, "").format(quote(name.partition("/")[0], safe=""))
    cluster = f"/clusters/{quote(entry.cluster_id, safe='')}"
    if not entry.subject:
        return cluster
    if kind == "plans":
        name = name.partition("/")[0]
    return _OF_CLUSTER.get(kind, "").format(cluster, quote(name, safe=""))


_OF_SERVICE: Final = {"users": "/users/{}", "tokens": "/tokens"}
_OF_CLUSTER: Final = {
    "vms": "{}/vms/{}",
    "hosts": "{}/hosts/{}",
    "plans": "{}/plans/{}",
    "rules": "{}/rules?rule={}",
    "schedule": "{}/schedule",
    "snapshot": "{}",
}
"""First part of a subject → page, of the cluster's address and what it is called."""


def asked_by(query: str) -> dict[str, str]:
    """Return what the part of an address behind the path asks."""
    found = dict(parse_qsl(query.removeprefix("?")))
    return {name: found[name] for name in NAMES if found.get(name)}


def wanted_of(asked: Mapping[str, Any], cluster_id: str) -> Wanted:
    """Return the question that was typed.

    Parameters
    ----------
    cluster_id
        Of the page; empty for the page of all.

    Raises
    ------
    InvalidRequestError
        With everything that is wrong.
    """
    typed = without_empty({name: asked.get(name) for name in NAMES})
    query = validated(AuditQuery, typed | ({"cluster_id": cluster_id} if cluster_id else {}))
    return Wanted(**{name: getattr(query, name) for name in NAMES})


def csv_of(entries: Iterable[AuditEntry]) -> str:
    """Return entries as a file for spreadsheets, which take no cell of it for a formula."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*_COLUMNS, "changes"])
    for entry in entries:
        told = {name: getattr(entry, name) for name in _COLUMNS} | {"at": entry.at.isoformat()}
        changes = "; ".join(f"{d.name}: {d.before} → {d.after}" for d in differences(entry))
        writer.writerow([_cell(str(value)) for value in (*told.values(), changes)])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _flat(document: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if not document else flat(document)
