"""Answers with what the runtime keeps of a cluster's latest forecast, as it is."""

from __future__ import annotations

import json

from flask import Response

from service.api.answering import answer
from service.api.services import Services
from service.store.base import Kind
from service.store.errors import NotFoundError


def answer_kept(services: Services, cluster_id: str, blob: str) -> Response:
    """Return a document that the runtime keeps; ``blob`` is one of ``service.runtime.kept``.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or no forecast of it yet.
    """
    with services.store.begin(read_only=True) as tx:
        tx.items.get(Kind.CLUSTER, "", cluster_id)
        kept = tx.blobs.get(cluster_id, blob)
    if kept is None:
        raise NotFoundError(f"cluster {cluster_id!r}: there is no forecast yet")
    return answer(json.loads(kept[1]))
