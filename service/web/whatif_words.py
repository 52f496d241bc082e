"""Answers to what-if questions as rows and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.web.rule_words import some
from solver.domain.units import FIELDS
from solver.domain.weights import to_host_s

Row = dict[str, Any]
Answer = Mapping[str, Any]

STATES: Final = {"before": "Now", "unmoved": "Changed, nothing moved", "after": "Changed and moved"}
"""Placements that are judged: name in the answer → its name on the page."""

MOST_HOSTS: Final = 12
"""Hosts of which it is told what changes; those that change most."""

_UNITS: Final[Mapping[str, tuple[str, str, float]]] = {
    "cpu_millicores": ("CPU", "cores", 1000),
    "memory_mib": ("Memory", "GiB", 1024),
    "disk_io_kib_per_s": ("Disk", "MiB/s", 1024),
    "net_io_kib_per_s": ("Network", "MiB/s", 1024),
}
"""Resource → its name, the unit it is shown in, and how many of its own make one."""


def compared(answer: Answer) -> list[Row]:
    """Return what is judged of each placement, a row for each figure."""
    judged = [answer[state] for state in STATES]
    rows = [
        _row("Contention, host-seconds", [f"{each['contention_host_s']:,.1f}" for each in judged]),
        _row(
            "Probability of any overload",
            [f"{each['overload_ppm'] / 1e4:.1f} %" for each in judged],
        ),
    ]
    for field in FIELDS:
        short = [each["shortfall"].get(field, 0) for each in judged]
        if any(short):
            name, unit, scale = _UNITS[field]
            rows.append(
                _row(f"{name} short, {unit}", [f"{amount / scale:,.2f}" for amount in short])
            )
    broken = [sum(v["penalty_host_s"] is None for v in each["violations"]) for each in judged]
    return [*rows, _row("Hard rules and limits broken", [f"{number:,}" for number in broken])]


def left(answer: Answer) -> list[Row]:
    """Return what would be left of each resource, a row each."""
    return [
        _left(field, answer["headroom"][field]) for field in FIELDS if field in answer["headroom"]
    ]


def moves(answer: Answer) -> list[Row]:
    """Return what would have to be done, a row for each step."""
    why = {each["vm_id"]: each["sentence"] for each in answer["result"]["explanations"]}
    return [
        {
            "id": str(i),
            "vm": step["vm_id"],
            "kind": step["kind"],
            "source": step["source_id"] or "",
            "destination": step["destination_id"],
            "begin_s": round(step["start_ms"] / 1000, 1),
            "takes_s": round((step["end_ms"] - step["start_ms"]) / 1000, 1),
            "why": why.get(step["vm_id"], step["reason"]),
        }
        for i, step in enumerate(answer["plan"]["steps"])
    ]


def hosts(answer: Answer) -> list[Row]:
    """Return the contention of the hosts that change most, the largest change first."""
    before = _scores(answer["before"])
    after = _scores(answer["after"])
    names = dict.fromkeys((*before, *after))
    changed = [name for name in names if before.get(name) != after.get(name)]
    changed.sort(key=lambda name: -abs(after.get(name, 0) - before.get(name, 0)))
    return [
        {"id": name, "before": _told(before.get(name)), "after": _told(after.get(name))}
        for name in changed[:MOST_HOSTS]
    ]


def takes(answer: Answer) -> str:
    """Return in a sentence what the change would take."""
    needed = answer["moves"]
    parts = [_counted(needed["migrations"], "migration"), _counted(needed["starts"], "start")]
    told = " and ".join(part for part in parts if part)
    if not told:
        return "Nothing has to be moved."
    sent = needed["transferred_mib"] / 1024
    return f"{told} in {needed['seconds']:,.0f} s, {sent:,.1f} GiB sent."


def survives(answer: Answer) -> str:
    """Return in a sentence whether the loss of one host more would be survived."""
    survival = answer["survival"]
    if survival["survives"]:
        return "The loss of any one host more would be survived (N+1)."
    if survival["survives"] is None:
        return "Whether the loss of one host more would be survived is not known in the time given."
    worst = next(
        each for each in survival["losses"] if each["host_id"] == survival["worst_host_id"]
    )
    lacks = f": {worst['lacks']}" if worst["lacks"] else ""
    return (
        f"Not N+1: the loss of {worst['host_id']} more would leave out "
        f"{_counted(len(worst['left_out']), 'VM') or 'VMs'}{lacks}."
    )


def fits(answer: Answer) -> str:
    """Return in a sentence how many more VMs fit; empty if that was not asked."""
    room = answer["room"]
    if room is None:
        return ""
    best = "" if room["bound"] == room["number"] else f" (certainly no more than {room['bound']:,})"
    return f"{room['number']:,} more VMs of this flavour fit{best}. {room['limits']}".strip()


def needed(answer: Answer) -> str:
    """Return in a sentence which hosts are needed; empty if that was not asked."""
    found = answer["hosts_needed"]
    if found is None:
        return ""
    counts = {name: number for name, number in found["counts"].items() if number}
    if not counts:
        return f"No number of these hosts was found to carry all VMs. {found['limits']}".strip()
    told = some([f"{number:,} like {name}" for name, number in counts.items()])
    risk = f"at a risk of {found['overload_ppm'] / 1e4:.2f} % of any overload"
    return f"Hosts needed: {told}, {risk}. {found['limits']}".strip()


def judged_by(answer: Answer) -> str:
    """Return in a sentence what demand the answer is about."""
    horizon = answer["horizon"]
    futures = _counted(horizon["num_scenarios"], "future")
    by = f", by {answer['forecaster']}" if answer["forecaster"] else ""
    return (
        f"Judged by {futures} of {horizon['seconds'] / 60:.0f} minutes{by}: "
        f"{answer['demand_source']}."
    )


def _row(name: str, values: Sequence[str]) -> Row:
    return {"name": name, **dict(zip(STATES, values, strict=True))}


def _left(field: str, room: Mapping[str, Any]) -> Row:
    name, unit, scale = _UNITS[field]
    capacity = room["capacity"]
    row = {
        "name": f"{name}, {unit}",
        "capacity": "no limit" if capacity is None else f"{capacity / scale:,.0f}",
        "promised": f"{room['promised'] / scale:,.0f}",
        "expected": f"{room['expected'] / scale:,.1f}",
        "peak": f"{room['peak'] / scale:,.1f}",
        "left": "",
    }
    if capacity:
        row["left"] = f"{100 * (capacity - room['peak']) / capacity:.0f} %"
    return row


def _scores(measure: Mapping[str, Any]) -> dict[str, float]:
    return {host["host_id"]: round(to_host_s(host["total"]), 1) for host in measure["hosts"]}


def _told(score: float | None) -> str:
    return "not there" if score is None else f"{score:,.1f}"


def _counted(number: int, what: str) -> str:
    if not number:
        return ""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
