"""Puts the pages together: an application of their own, beside the API's in the same process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask

from service.api import cookies
from service.api.services import Services
from service.web import frame, marks, packing, router, row_answers
from service.web.document import STYLES_OF_THEIR_OWN, Document
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
    dash = Document(
        __name__,
        server=server,  # type: ignore[arg-type]  # The annotation forgets Flask itself.
        title="foreswap",
        update_title="",
        index_string=_FRAME,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
        compress=False,
        assets_ignore=STYLES_OF_THEIR_OWN,
        # Components of a page are there only while it is shown.
        suppress_callback_exceptions=True,
        csrf_token_name=CSRF_COOKIE,
        csrf_header_name=cookies.CSRF_HEADER,
        on_error=tell,
    )
    dash.layout = lambda: frame.frame(services)
    frame.listen(dash, services)
    for page in router.listen_to():
        page.listen(dash, services)
    marks.install(server, services)
    row_answers.install(server, services)
    packing.install(server, tuple(dash.csp_hashes()))
    return server


def beside(api: Wsgi, pages: Wsgi) -> Wsgi:
    """Return one application of the API's and the pages'."""

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        is_api = environ.get("PATH_INFO", "").startswith(OF_THE_API)
        return (api if is_api else pages)(environ, start)

    return answer
