"""VMs and hosts that telemetry tells of: their numbers, sizes and blocks."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, func, select

from service.store.tables import DAYS, HOURS, SERIES

NUM_BLOCKS: Final = 64
"""Of the VMs of a cluster: ten thousand make blocks of 156, small enough to be read for one VM."""
HOST_BLOCK: Final = NUM_BLOCKS
_AT_ONCE: Final = 500


class Subject(enum.IntEnum):
    """What a series tells of."""

    VM = 0
    HOST = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One VM or host.

    Parameters
    ----------
    number
        Stands for it in the store.
    first_bin
        The first that ever told of it.
    """

    number: int
    id: str
    vcpus: int
    memory_size_mib: int
    app_type: str | None
    first_bin: int


def block_of(subject: Subject, number: int) -> int:
    """Return the block in which a series' recent bins stand."""
    return HOST_BLOCK if subject is Subject.HOST else number % NUM_BLOCKS


def find(
    connection: Connection,
    cluster_id: str,
    subject: Subject,
    ids: Iterable[str] | None = None,
) -> list[Series]:
    """Return the series of a cluster, or those that are named, in the order of their ids."""
    query = select(SERIES).where(SERIES.c.cluster_id == cluster_id, SERIES.c.kind == subject.value)
    if ids is None:
        return [_series(row) for row in connection.execute(query.order_by(SERIES.c.id))]
    wanted = sorted(set(ids))
    found = []
    for first in range(0, len(wanted), _AT_ONCE):
        some = query.where(SERIES.c.id.in_(wanted[first : first + _AT_ONCE]))
        found += [_series(row) for row in connection.execute(some.order_by(SERIES.c.id))]
    return found


def ensure(
    connection: Connection, cluster_id: str, subject: Subject, wanted: Sequence[Series]
) -> list[int]:
    """Return the numbers of series, made or brought up to date; ``number`` is ignored.

    A size of 0 and an application type of ``None`` are not known, and change nothing.
    """
    standing = {each.id: each for each in find(connection, cluster_id, subject)}
    last = connection.scalar(select(func.max(SERIES.c.number))) or 0
    new, changed, numbers = [], [], []
    for each in wanted:
        before = standing.get(each.id)
        if before is None:
            last += 1
            numbers.append(last)
            of = {"cluster_id": cluster_id, "kind": subject.value, "id": each.id}
            new.append({**of, "number": last, **_values(each)})
        else:
            numbers.append(before.number)
            if _values(_merged(before, each)) != _values(before):
                merged = _values(_merged(before, each))
                changed.append({"of": before.number, **merged})
    if new:
        connection.execute(SERIES.insert(), new)
    if changed:
        connection.execute(_CHANGE, changed)
    return numbers


def without_days(
    connection: Connection, before_bin: int, limit: int
) -> dict[str, dict[int, set[int]]]:
    """Return up to ``limit`` numbers of series that have neither days nor hours.

    By cluster and block, where recent bins of them may stand; of those heard of before a bin.
    """
    days, hours = (
        select(table.c.series).where(table.c.series == SERIES.c.number).exists()
        for table in (DAYS, HOURS)
    )
    query = select(SERIES.c.cluster_id, SERIES.c.kind, SERIES.c.number)
    query = query.where(SERIES.c.first_bin < before_bin, ~days, ~hours).limit(limit)
    found: dict[str, dict[int, set[int]]] = {}
    for row in connection.execute(query):
        block = block_of(Subject(row.kind), row.number)
        found.setdefault(row.cluster_id, {}).setdefault(block, set()).add(row.number)
    return found


def delete(connection: Connection, numbers: Sequence[int]) -> None:
    """Remove series that nothing stands for."""
    for first in range(0, len(numbers), _AT_ONCE):
        some = SERIES.c.number.in_(numbers[first : first + _AT_ONCE])
        connection.execute(SERIES.delete().where(some))


_VALUES: Final = ("vcpus", "memory_size_mib", "app_type", "first_bin")

_CHANGE: Final = (
    SERIES.update()
    .where(SERIES.c.number == bindparam("of"))
    .values({name: bindparam(name) for name in _VALUES})
)


def _values(series: Series) -> dict[str, Any]:
    return {name: getattr(series, name) for name in _VALUES}


def _merged(before: Series, now: Series) -> Series:
    return Series(
        number=before.number,
        id=before.id,
        vcpus=now.vcpus or before.vcpus,
        memory_size_mib=now.memory_size_mib or before.memory_size_mib,
        app_type=before.app_type if now.app_type is None else now.app_type,
        first_bin=min(before.first_bin, now.first_bin),
    )


def _series(row: Row[Any]) -> Series:
    return Series(number=row.number, id=row.id, **{name: getattr(row, name) for name in _VALUES})
