"""What every page is given: the rest of the program, and where the visitor is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dash import Dash

from service.api.services import Services
from service.security.principal import Principal

ADDRESS: Final = "address"
"""Component that holds the address, for pages that write into it what they are asked."""

Component = Any
"""What Dash shows: a component, text, or a list of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Who asks for a page, and of what.

    Parameters
    ----------
    cluster_id
        Named by the path; empty for pages of no cluster.
    item_id
        What of the cluster the path names; empty for none.
    query
        What stands behind the path, such as ``?rule=r1``; empty for nothing.
    """

    principal: Principal
    cluster_id: str = ""
    item_id: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page.

    Parameters
    ----------
    path
        Such as ``/clusters/<cluster_id>/vms``.
    operation
        Of the API; whoever may ask for it sees the page. Empty for everyone who has logged in.
    label
        In the navigation; empty for a page that others lead to.
    show
        Returns what is on it.
    listen
        Registers what happens on it.
    has_grid
        Whether it shows a large table at once, whose scripts are then loaded with the others.
    """

    path: str
    title: str
    operation: str
    label: str
    show: Callable[[Services, Visit], Component]
    listen: Callable[[Dash, Services], None]
    has_grid: bool = False
