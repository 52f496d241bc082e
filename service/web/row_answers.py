"""Answers the table of VMs when it asks for its rows: all of them, or what has changed."""

from __future__ import annotations

from typing import Final

from flask import Flask, Response, request

from service.api.services import Services
from service.store.errors import NotFoundError
from service.web.door import may, visitor
from service.web.row_versions import Versions, packed_for

PATH: Final = "/web/vms/<cluster_id>"


def install(server: Flask, services: Services) -> None:
    """Let the application answer for the rows of a cluster's VMs."""
    versions = Versions()

    def rows(cluster_id: str) -> Response:
        who = visitor(services)
        if who is None:
            # No error, which a browser would complain of: the form for logging in is about to show.
            return Response("{}", content_type="application/json")
        if not may(who, "vms.list", cluster_id):
            return Response("not for this role", status=403, content_type="text/plain")
        try:
            with services.store.begin(read_only=True) as tx:
                now = versions.now(tx, cluster_id)
        except NotFoundError as error:
            return Response(str(error), status=404, content_type="text/plain")
        packed = packed_for(who, versions, cluster_id, request.args.get("since", ""), now)
        answer = Response(packed, content_type="application/json")
        answer.headers["Content-Encoding"] = "gzip"
        return answer

    server.add_url_rule(PATH, "rows", rows)
