"""Editable documents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Integer, Row, and_, bindparam, select

from service.store.base import Item, Kind
from service.store.errors import NotFoundError
from service.store.revisions import require_revision, where, write
from service.store.tables import ITEMS
from solver.domain.errors import InvalidInputError

_AT_ONCE: Final = 500
"""Ids in one question: databases bound the number of parameters."""


class SqlItems:
    """``base.Items`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, kind: Kind, cluster_id: str, item_id: str) -> Item:
        """Return an item."""
        row = self._connection.execute(_GET, _key(kind, cluster_id, item_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no {_named(kind, cluster_id, item_id)}")
        return _item(row)

    def find(self, kind: Kind, cluster_id: str, item_ids: Iterable[str]) -> dict[str, Item]:
        """Return those of the items that exist, by id."""
        found = {}
        for some in _pieces(item_ids):
            wanted = {"kind": kind.value, "cluster_id": cluster_id, "ids": some}
            rows = self._connection.execute(_FIND, wanted)
            found.update({row.id: _item(row) for row in rows})
        return found

    def page(self, kind: Kind, cluster_id: str, *, after: str = "", limit: int) -> list[Item]:
        """Return up to ``limit`` items in the order of their ids."""
        wanted = {"kind": kind.value, "cluster_id": cluster_id, "after": after, "most": limit}
        return [_item(row) for row in self._connection.execute(_PAGE, wanted)]

    def put(self, item: Item, *, expected_revision: int | None) -> Item:
        """Write an item and return it with its new revision."""
        revision = write(
            self._connection,
            ITEMS,
            _key(item.kind, item.cluster_id, item.id),
            {
                "document": item.document,
                "changed_at": item.changed_at,
                "changed_by": item.changed_by,
            },
            expected=expected_revision,
            what=_named(item.kind, item.cluster_id, item.id),
        )
        return replace(item, revision=revision)

    def put_all(self, items: Sequence[Item]) -> None:
        """Write many items at once, each expected at the revision it holds."""
        self._require_as_seen(items)
        new = [_values(item) for item in items if not item.revision]
        changed = [{**_values(item), **_bound_key(item)} for item in items if item.revision]
        if new:
            self._connection.execute(ITEMS.insert(), new)
        if changed:
            self._connection.execute(_CHANGE, changed)

    def _require_as_seen(self, items: Sequence[Item]) -> None:
        by_set: defaultdict[tuple[Kind, str], dict[str, int]] = defaultdict(dict)
        for item in items:
            of_set = by_set[item.kind, item.cluster_id]
            if item.id in of_set:
                raise InvalidInputError(
                    f"{_named(item.kind, item.cluster_id, item.id)} comes twice"
                )
            of_set[item.id] = item.revision
        for (kind, cluster_id), expected in by_set.items():
            standing = self._revisions(kind, cluster_id, expected)
            for item_id, revision in expected.items():
                what = _named(kind, cluster_id, item_id)
                require_revision(what, standing.get(item_id, 0), revision)

    def _revisions(self, kind: Kind, cluster_id: str, item_ids: Iterable[str]) -> dict[str, int]:
        found: dict[str, int] = {}
        for some in _pieces(item_ids):
            query = select(ITEMS.c.id, ITEMS.c.revision)
            query = query.where(_are_of(kind, cluster_id), ITEMS.c.id.in_(some))
            found.update({row.id: row.revision for row in self._connection.execute(query)})
        return found

    def delete(
        self, kind: Kind, cluster_id: str, item_id: str, *, expected_revision: int | None
    ) -> Item:
        """Remove an item and return it as it stood."""
        found = self.get(kind, cluster_id, item_id)
        require_revision(_named(kind, cluster_id, item_id), found.revision, expected_revision)
        key = _key(kind, cluster_id, item_id)
        self._connection.execute(ITEMS.delete().where(where(ITEMS, key)))
        return found

    def delete_of(self, kind: Kind, cluster_id: str) -> int:
        """Remove all items of a kind of a cluster."""
        change = ITEMS.delete().where(_are_of(kind, cluster_id))
        return self._connection.execute(change).rowcount


# Made once: nearly every request asks them, and making one takes longer than its answer.
_OF_CLUSTER: Final = select(ITEMS).where(
    *(ITEMS.c[name] == bindparam(name) for name in ("kind", "cluster_id"))
)
_GET: Final = _OF_CLUSTER.where(ITEMS.c.id == bindparam("id"))
_FIND: Final = _OF_CLUSTER.where(ITEMS.c.id.in_(bindparam("ids", expanding=True)))
_PAGE: Final = (
    _OF_CLUSTER.where(ITEMS.c.id > bindparam("after"))
    .order_by(ITEMS.c.id)
    .limit(bindparam("most", type_=Integer))
)

_CHANGE: Final = (
    ITEMS.update()
    .where(
        ITEMS.c.kind == bindparam("of_kind"),
        ITEMS.c.cluster_id == bindparam("of_cluster"),
        ITEMS.c.id == bindparam("of_id"),
    )
    .values(
        {name: bindparam(name) for name in ("document", "changed_at", "changed_by", "revision")}
    )
)


def _pieces(item_ids: Iterable[str]) -> Iterator[list[str]]:
    wanted = sorted(set(item_ids))
    for first in range(0, len(wanted), _AT_ONCE):
        yield wanted[first : first + _AT_ONCE]


def _are_of(kind: Kind, cluster_id: str) -> ColumnElement[bool]:
    return and_(ITEMS.c.kind == kind.value, ITEMS.c.cluster_id == cluster_id)


def _values(item: Item) -> dict[str, Any]:
    """Return an item's row as it is to be written."""
    return {
        **_key(item.kind, item.cluster_id, item.id),
        "document": item.document,
        "changed_at": item.changed_at,
        "changed_by": item.changed_by,
        "revision": item.revision + 1,
    }


def _bound_key(item: Item) -> dict[str, str]:
    return {"of_kind": item.kind.value, "of_cluster": item.cluster_id, "of_id": item.id}


def _key(kind: Kind, cluster_id: str, item_id: str) -> dict[str, str]:
    return {"kind": kind.value, "cluster_id": cluster_id, "id": item_id}


def _item(row: Row[Any]) -> Item:
    return Item(**{**row._mapping, "kind": Kind(row.kind)})


def _named(kind: Kind, cluster_id: str, item_id: str) -> str:
    of = f" of cluster {cluster_id!r}" if cluster_id else ""
    return f"{kind.value} {item_id!r}{of}"
