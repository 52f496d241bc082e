"""Plans with all that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_

from service.store.base import KeptPlan, PlanStage
from service.store.errors import NotFoundError
from service.store.revisions import where, write
from service.store.tables import PLANS


class SqlPlans:
    """``base.Plans`` in a table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, cluster_id: str, plan_id: str) -> KeptPlan:
        """Return a plan."""
        query = select(PLANS).where(where(PLANS, {"cluster_id": cluster_id, "id": plan_id}))
        row = self._connection.execute(query).one_or_none()
        if row is None:
            raise NotFoundError(f"there is no plan {plan_id!r} of cluster {cluster_id!r}")
        return _plan(row)

    def page(
        self,
        cluster_id: str,
        *,
        stages: Iterable[PlanStage] | None = None,
        before: str = "",
        limit: int,
    ) -> list[KeptPlan]:
        """Return up to ``limit`` plans, the newest first."""
        query = select(PLANS).where(PLANS.c.cluster_id == cluster_id)
        if stages is not None:
            query = query.where(PLANS.c.stage.in_([stage.value for stage in stages]))
        if before:
            last = where(PLANS, {"cluster_id": cluster_id, "id": before})
            position = select(PLANS.c.made_at, PLANS.c.id).where(last).scalar_subquery()
            query = query.where(tuple_(PLANS.c.made_at, PLANS.c.id) < position)
        query = query.order_by(PLANS.c.made_at.desc(), PLANS.c.id.desc()).limit(limit)
        return [_plan(row) for row in self._connection.execute(query)]

    def put(self, plan: KeptPlan, *, expected_revision: int | None) -> KeptPlan:
        """Write a plan and return it with its new revision."""
        revision = write(
            self._connection,
            PLANS,
            {"cluster_id": plan.cluster_id, "id": plan.id},
            {
                "made_at": plan.made_at,
                "stage": plan.stage.value,
                "trigger": plan.trigger,
                "document": plan.document,
            },
            expected=expected_revision,
            what=f"plan {plan.id!r} of cluster {plan.cluster_id!r}",
        )
        return replace(plan, revision=revision)


def _plan(row: Row[Any]) -> KeptPlan:
    return KeptPlan(**{**row._mapping, "stage": PlanStage(row.stage)})
