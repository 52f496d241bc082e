"""Puts the pages together: an application of their own, beside the API's in the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from dash import Dash
from flask import Flask, Response

from service.api import cookies
from service.api.services import Services
from service.inventory.marks import read_mark
from service.plans.wishes import ACTIVE
from service.runtime.kept import OUTLOOK, RUNTIME
from service.security.principal import Principal
from service.store.base import Kind
from service.web import frame, packing, router, row_answers
from service.web.door import may, visitor
from service.web.errors import tell
from service.web.pages.login import CSRF_COOKIE

OF_THE_API: Final = ("/api/", "/healthz", "/readyz", "/metrics")
"""Beginnings of the paths that are the API's; all others are the pages'."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_FRAME: Final = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def create_pages(services: Services) -> Flask:
    """Return the application of the pages."""
    server = Flask("foreswap-web", static_folder=None)
    server.config["TRUSTED_HOSTS"] = list(services.security.allowed_hosts) or None
    dash = Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # The annotation forgets Flask itself.
        title="foreswap",
        update_title="",
        index_string=_FRAME,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
        compress=False,
        # Components of a page are there only while it is shown.
        suppress_callback_exceptions=True,
        csrf_token_name=CSRF_COOKIE,
        csrf_header_name=cookies.CSRF_HEADER,
        on_error=tell,
    )
    dash.layout = frame.frame
    frame.listen(dash, services)
    for page in router.listen_to():
        page.listen(dash, services)
    _answer_marks(server, services)
    row_answers.install(server, services)
    packing.install(server, tuple(dash.csp_hashes()))
    return server


def beside(api: Wsgi, pages: Wsgi) -> Wsgi:
    """Return one application of the API's and the pages'."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        is_api = environ.get("PATH_INFO", "").startswith(OF_THE_API)
        return (api if is_api else pages)(environ, start)

    return answer


def _answer_marks(server: Flask, services: Services) -> None:
    """Tell what changes when what a page shows does."""

    def mark(cluster_id: str = "") -> Response:
        who = visitor(services)
        # No error, which a browser would complain of every second at the form for logging in.
        text = "nobody" if who is None else _mark(services, who, cluster_id)
        return Response(text, content_type="text/plain; charset=utf-8")

    server.add_url_rule("/web/mark", "mark", mark)
    server.add_url_rule("/web/mark/<cluster_id>", "mark_of_cluster", mark)


def _mark(services: Services, who: Principal, cluster_id: str) -> str:
    if not cluster_id:
        return _last_change(services, who)
    if not may(who, "clusters.show", cluster_id):
        return ""
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
