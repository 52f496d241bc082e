"""Groups of rows."""

from __future__ import annotations

from service.web.rows import Row, grouped


def row(group: str, host: str, priority: int) -> Row:
    """Return a row of one core and one GiB."""
    return {"group": group, "host": host, "priority": priority, "cores": 1.0, "memory_gib": 1.0}


def test_groups_add_up_the_largest_first() -> None:
    """VMs that run nowhere are counted, and on no host."""
    rows = [row("a", "h1", 3), row("b", "h1", 5), row("b", "", 9), row("b", "h2", 1)]
    first, second = grouped(rows, "group")
    assert (first["name"], first["num_vms"], first["num_hosts"], first["cores"]) == ("b", 3, 2, 3)
    assert (first["lowest"], first["highest"]) == (1, 9)
    assert (second["name"], second["num_vms"]) == ("a", 1)
