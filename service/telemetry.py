"""What was wrong with telemetry, told to the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from forecast.history import HistoryReport, VmDefects

MEND_HELP: Final = "Go on where rows are wrong: count, mend or leave them out."

_NAMES: Final = {
    "missing": "missing readings",
    "repeated": "repeated rows",
    "disordered": "rows out of order",
    "off_grid": "rows between two bins",
    "future": "rows of the future",
    "astray": "rows of years ago",
    "implausible": "implausible rows",
    "zero_cores": "rows without cores",
    "resized": "changes of size",
    "clipped": "readings beyond the size",
}


def defects_line(report: HistoryReport) -> str:
    """Return one sentence on what was found, and which VM had most of it.

    Returns
    -------
    str
        Empty if nothing was wrong.
    """
    if not report.by_vm:
        return ""
    total = {name: sum(getattr(d, name) for d in report.by_vm.values()) for name in _NAMES}
    found = ", ".join(f"{count:,} {_NAMES[name]}" for name, count in total.items() if count)
    worst, defects = max(report.by_vm.items(), key=lambda item: sum(asdict(item[1]).values()))
    return (
        f"telemetry of {len(report.by_vm):,} VMs has defects: {found}; "
        f"most in {worst} ({sum(asdict(defects).values()):,})"
    )


def defects_document(by_vm: Mapping[str, VmDefects]) -> dict[str, Any]:
    """Return the defects of each VM as plain JSON values, without those it does not have."""
    return {
        vm: {name: count for name, count in asdict(defects).items() if count}
        for vm, defects in by_vm.items()
    }
