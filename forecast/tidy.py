"""Read a history from tidy Parquet or CSV: one row per VM and 5-minute bin.

Columns (units in the names; ``ts`` is the start of the bin in UTC)::

    vm  ts  cpu_cores  cpu_used                        required
    mem_mib  mem_granted_mib  mem_active_mib           memory
    disk_read_kbs  disk_write_kbs                      disk
    net_rx_kbs  net_tx_kbs                             network
    state                                              0 measured 1 interpolated 2 off 3 missing
    app_type                                           a category
    user_activity  user_activity_*                     what users do: sessions, requests, …

The file is gone through twice: first the keys (which VM, when), so that the grid is known and
every defect of order is found before anything is allocated; then the values, batch by batch,
straight into their place. A defect ends the reading with one error that names VM, time, column,
value and limit, unless defects are to be mended: then they are counted, VM by VM. Nothing is
silently dropped. Converting other layouts is ``forecast.importers``'.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

from forecast.history import History, utc
from forecast.table_files import open_table
from forecast.tidy_columns import BY_RESOURCE, REQUIRED, is_activity
from forecast.tidy_grid import Grid
from forecast.tidy_keys import read_keys
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource


def read_history(
    path: Path | str,
    *,
    resources: Sequence[Resource] | None = None,
    vm_ids: Collection[str] | None = None,
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    now: datetime | None = None,
    mend: bool = False,
) -> History:
    """Read a tidy file into a history.

    Parameters
    ----------
    path
        A Parquet or CSV file in the columns of the module's docstring; other columns are ignored.
    resources
        Which resources to read; CPU is always read. All that the file has if ``None``.
    vm_ids
        Which VMs to read; all if ``None``.
    from_at, until_at
        First instant wanted and the first not wanted any more, on the grid.
    now
        Rows that start later are refused; the system's clock if ``None``.
    mend
        Go on where a row is wrong, as telemetry from the field is: rows between two bins count for
        the earlier one, of several rows for a bin the last counts (be it right or wrong), rows of
        the future or of years ago are left out, and a row with an impossible value is a missing
        one. ``report.by_vm`` counts them, also for VMs of which no row is left.

    Returns
    -------
    History
        VMs in the order of their first row.

    Raises
    ------
    InvalidInputError
        If the file is truncated or of another kind, lacks a column or a VM that was asked for, or
        holds a time stamp that is out of order, duplicated, off the grid or in the future, or a
        value that is negative, not finite, absurdly large, or null in a row that is not marked
        missing.
    """
    path = Path(path)
    source = open_table(path)
    absent = [name for name in REQUIRED if name not in source.columns]
    if absent:
        raise InvalidInputError(
            f"{path}: column {absent[0]!r} is missing; expected at least "
            f"{', '.join(REQUIRED)}, found {', '.join(source.columns)}"
        )
    wanted = _wanted(path, source.columns, resources)
    keys = read_keys(
        path,
        source.batches(("vm", "ts")),
        wanted_vms=frozenset(vm_ids) if vm_ids is not None else None,
        from_s=_seconds(from_at, default=-(2**62)),
        until_s=_seconds(until_at, default=2**62),
        now=utc(now) if now is not None else datetime.now(UTC),
        mend=mend,
    )
    columns = [name for resource in wanted for name in BY_RESOURCE[resource]]
    columns = [name for name in columns if name in source.columns]
    columns += [name for name in ("state", "app_type") if name in source.columns]
    columns += [name for name in source.columns if is_activity(name)]
    grid = Grid.empty(keys, columns, mend=mend)
    row = 0
    for batch in source.batches(tuple(columns)):
        grid.place(path, batch, row)
        row += batch.num_rows
    return grid.history()


def _wanted(
    path: Path, columns: Collection[str], resources: Sequence[Resource] | None
) -> list[Resource]:
    """Return the resources to read: CPU and those asked for, or all that the file has."""
    needs = {
        Resource.MEMORY: ("mem_active_mib", "mem_granted_mib"),
        Resource.DISK_IO: ("disk_read_kbs", "disk_write_kbs"),
        Resource.NET_IO: ("net_rx_kbs", "net_tx_kbs"),
    }
    wanted = [Resource.CPU]
    for resource, names in needs.items():
        found = any(name in columns for name in names)
        if resources is None:
            if found:
                wanted.append(resource)
        elif resource in resources:
            if not found:
                raise InvalidInputError(
                    f"{path}: {resource.field} was asked for, but the file has no column "
                    f"{' or '.join(names)}"
                )
            wanted.append(resource)
    return wanted


def _seconds(at: datetime | None, *, default: int) -> int:
    return default if at is None else int(utc(at).timestamp())
