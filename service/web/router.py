"""From an address to its page, for whoever is allowed to see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from service.api.services import Services
from service.security.principal import Principal
from service.store.errors import NotFoundError
from service.web.door import may
from service.web.errors import sentence
from service.web.pages import (
    audit,
    clusters,
    connect,
    host,
    login,
    overview,
    password,
    plan,
    plans,
    rules,
    schedule,
    settings,
    tokens,
    user,
    users,
    vm,
    vms,
    whatif,
)
from service.web.parts import empty
from service.web.site import Component, Page, Visit
from solver.domain.errors import ForeswapError

PAGES: Final[tuple[Page, ...]] = (
    clusters.PAGE,
    overview.PAGE,
    vms.PAGE,
    vm.PAGE,
    host.PAGE,
    plans.PAGE,
    plan.PAGE,
    whatif.PAGE,
    rules.PAGE,
    schedule.PAGE,
    settings.PAGE,
    audit.PAGE_OF_CLUSTER,
    users.PAGE,
    user.PAGE,
    tokens.PAGE,
    audit.PAGE,
    connect.PAGE,
    password.PAGE,
)
_ADDRESSES: Final = Map([Rule(page.path, endpoint=page.path) for page in PAGES])
_BY_PATH: Final = {page.path: page for page in PAGES}


def find(path: str) -> tuple[Page, dict[str, str]] | None:
    """Return the page at an address and what the address names; ``None`` if there is none."""
    try:
        endpoint, named = _ADDRESSES.bind("").match(path)
    except HTTPException:
        return None
    return _BY_PATH[endpoint], dict(named)


def show(services: Services, principal: Principal | None, path: str, query: str = "") -> Component:
    """Return what stands at an address; for those who have not logged in, where they do."""
    if principal is None:
        return login.show()
    if principal.must_change_password:
        return password.PAGE.show(services, Visit(principal=principal))
    found = find(path)
    if found is None:
        return empty("There is no such page", f"Nothing stands at {path}.")
    page, named = found
    cluster_id = named.get("cluster_id", "")
    if page.operation and not may(principal, page.operation, cluster_id or None):
        return empty("Not for this role", f"{page.title} is not for the role {principal.role}.")
    visit = Visit(
        principal=principal,
        cluster_id=cluster_id,
        item_id=named.get("item_id", ""),
        query=query,
    )
    return _shown(services, page, visit)


def title(path: str) -> str:
    """Return the title of the page at an address."""
    found = find(path)
    if found is None:
        return "foreswap"
    page, named = found
    names = (named.get("item_id", ""), named.get("cluster_id", ""))
    return " · ".join(filter(None, (page.title, *names, "foreswap")))


def offered(principal: Principal, path: str) -> Sequence[tuple[str, str]]:
    """Return label and address of the pages in the navigation, beside the page at an address."""
    found = find(path)
    cluster_id = found[1].get("cluster_id", "") if found else ""
    return [
        (page.label, page.path.replace("<cluster_id>", cluster_id))
        for page in PAGES
        if page.label
        and (cluster_id or "<cluster_id>" not in page.path)
        and may(principal, page.operation, cluster_id if "<cluster_id>" in page.path else None)
    ]


def _shown(services: Services, page: Page, visit: Visit) -> Component:
    try:
        return page.show(services, visit)
    except NotFoundError as error:
        return empty("Not there", sentence(error))
    except ForeswapError as error:
        return empty("Cannot be shown now", sentence(error))


def listen_to() -> Sequence[Page]:
    """Return every page that has something to listen to, the one for logging in as well."""
    return (login.PAGE, *PAGES)
