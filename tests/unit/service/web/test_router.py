"""Addresses and their pages."""

from __future__ import annotations

import pytest

from service.security import roles
from service.security.principal import Principal, Role
from service.web.router import PAGES, find, offered, title


@pytest.mark.parametrize(
    ("path", "page", "named"),
    [
        ("/", "Clusters", {}),
        ("/clusters/c 1", "Overview", {"cluster_id": "c 1"}),
        ("/clusters/new", "Connect a cluster", {}),
        ("/users/anna", "User", {"item_id": "anna"}),
        ("/clusters/c1/plans/p1", "Plan", {"cluster_id": "c1", "item_id": "p1"}),
    ],
)
def test_an_address_leads_to_its_page(path: str, page: str, named: dict[str, str]) -> None:
    """The path names the page and what it is about."""
    found = find(path)
    assert found is not None
    assert (found[0].title, found[1]) == (page, named)


def test_nothing_stands_at_other_addresses() -> None:
    """A path with too much or nothing known is no page."""
    assert find("/clusters/c1/nothing") is None
    assert find("/clusters//vms") is None
    assert title("/nothing") == "foreswap"


def test_every_page_asks_for_an_operation_of_the_api() -> None:
    """What a page needs has its row in the table of roles."""
    assert all(roles.known(page.operation) for page in PAGES if page.operation)


def test_the_navigation_offers_what_a_role_may_see() -> None:
    """An owner is led to VMs and their log; without a cluster nobody is led into one."""
    owner = Principal(name="o", role=Role.OWNER, owner="team")
    expected = ["Clusters", "VMs", "Audit", "All changes"]
    assert [label for label, _ in offered(owner, "/clusters/c1/vms")] == expected
    admin = Principal(name="a", role=Role.ADMIN)
    assert [label for label, _ in offered(admin, "/")] == [
        "Clusters",
        "Users",
        "Tokens",
        "All changes",
    ]
