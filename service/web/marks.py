"""Marks: a word that changes when what a page shows does; every page asks for it again and again.

However many pages are open, the mark of a cluster is read from the store a few times a second.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from flask import Flask, Response

from service.api.services import Services
from service.inventory.latest import Latest
from service.inventory.marks import read_mark
from service.plans.wishes import ACTIVE
from service.runtime.kept import OUTLOOK, RUNTIME
from service.security.principal import Principal
from service.store.base import Kind
from service.web.door import may, visitor

KEPT_S: Final = 0.15
"""How long a mark answers everybody who asks; a change is seen that much later."""

_CLUSTER: Final = re.compile(r"/clusters/([^/]+)")
"""Which cluster's mark a page asks for; the script of the pages goes by the same."""


def install(server: Flask, services: Services) -> None:
    """Let the application answer for marks."""

    latest: Latest[str] = Latest()

    def read(cluster_id: str) -> str:
        """Return what was read a moment ago, if anybody asked then."""
        moment = int(time.monotonic() / KEPT_S)
        return latest.get(cluster_id, moment, lambda _: _of_cluster(services, cluster_id))

    def mark(cluster_id: str = "") -> Response:
        text = mark_of(services, visitor(services), cluster_id, read)
        return Response(text, content_type="text/plain; charset=utf-8")

    server.add_url_rule("/web/mark", "mark", mark)
    server.add_url_rule("/web/mark/<cluster_id>", "mark_of_cluster", mark)


def mark_at(services: Services, who: Principal | None, path: str) -> str:
    """Return the mark that the page at an address, as the browser writes it, asks for."""
    found = _CLUSTER.match(path)
    cluster_id = unquote(found[1]) if found else ""
    return mark_of(services, who, cluster_id, lambda name: _of_cluster(services, name))


def mark_of(
    services: Services, who: Principal | None, cluster_id: str, read: Callable[[str], str]
) -> str:
    """Return the mark of a cluster; without one, of the log of changes.

    Parameters
    ----------
    read
        Returns the mark of a cluster, whoever asks.
    """
    if who is None:
        # No error, which a browser would complain of at the form for logging in.
        return "nobody"
    if not cluster_id:
        return _last_change(services, who)
    return read(cluster_id) if may(who, "clusters.show", cluster_id) else ""


def _of_cluster(services: Services, cluster_id: str) -> str:
    with services.store.begin(read_only=True) as tx:
        if not tx.items.find(Kind.CLUSTER, "", [cluster_id]):
            return ""
        newest = tx.plans.heads(cluster_id, limit=1)
        acting = tx.plans.heads(cluster_id, stages=ACTIVE, limit=1)
        plans = [f"{plan.id} {plan.revision}" for plan in (*newest, *acting)]
        schedule = tx.items.find(Kind.SCHEDULE, cluster_id, [cluster_id])
        revisions = [item.revision for item in schedule.values()]
        kept = [tx.blobs.made_at(cluster_id, name) for name in (OUTLOOK, RUNTIME)]
        return f"{read_mark(tx, cluster_id)} {plans} {revisions} {kept}"


def _last_change(services: Services, who: Principal) -> str:
    """Return the number of the last change there was; for admins, who alone see all of them."""
    if not may(who, "users.list"):
        return ""
    with services.store.begin(read_only=True) as tx:
        return str([entry.number for entry in tx.audit.page(limit=1)])
