"""What-if: any change of a kept cluster, judged before it is made."""

from __future__ import annotations

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from service.api.asking import Path
from service.api.idempotency import once_outside
from service.api.jobs import JobBody
from service.api.operations import operation
from service.api.results import WhatIfBody
from service.api.services import Services
from service.api.solve import MAX_BODY_MIB, desk_of, respond
from service.inventory.effective import effective
from service.present import present
from service.whatif.request import summary, whatif_work
from service.whatif.schema import WhatIfRequest
from solver.schema import Id


class WhatIfPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the view of what-ifs."""
    api = APIBlueprint(
        "whatif", __name__, abp_tags=[Tag(name="what-if", description="changes not made yet")]
    )

    @api.post("/clusters/<cluster_id>/whatif", responses={200: WhatIfBody, 202: JobBody})
    @operation("whatif.ask", keyed=True, max_body_mib=MAX_BODY_MIB)
    def ask_whatif(path: WhatIfPath, body: WhatIfRequest) -> Response:
        """Say what a change comes to: feasible or not, moves, contention, what is left, N+1.

        Nothing is changed. Answered at once or as a job, as solves are.
        """
        desk = desk_of(services)
        with services.store.begin(read_only=True) as tx:
            cluster = effective(tx, path.cluster_id)
            now = present(tx, path.cluster_id, services.now())
        work = whatif_work(
            path.cluster_id,
            cluster,
            body,
            now=now,
            limits=desk.settings.limits,
            store_url=desk.settings.store_url,
        )
        is_large = desk.is_large(work.num_vms, work.limit_s)
        return once_outside(
            services,
            lambda: respond(
                desk,
                "whatif",
                work,
                summary(work),
                is_large=is_large,
                cluster_id=path.cluster_id,
            ),
        )

    return api
