"""Plans with all that belongs to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.dialects.postgresql import JSONB

from service.store.base import KeptPlan, PlanHead, PlanStage
from service.store.columns import Json
from service.store.errors import NotFoundError
from service.store.journal import forget_journal
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
        query = _newest_first(select(PLANS), cluster_id, stages, before, limit)
        return [_plan(row) for row in self._connection.execute(query)]

    def heads(
        self,
        cluster_id: str,
        *,
        stages: Iterable[PlanStage] | None = None,
        before: str = "",
        limit: int,
    ) -> list[PlanHead]:
        """Return the heads of plans, the newest first."""
        is_sqlite = self._connection.dialect.name == "sqlite"
        columns = [column for column in PLANS.columns if column.name != "document"]
        query = select(*columns, *(_of_sqlite() if is_sqlite else _of_postgresql()))
        query = _newest_first(query, cluster_id, stages, before, limit)
        return [_head(row) for row in self._connection.execute(query)]

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

    def forget(self, made_before: datetime, *, stages: Iterable[PlanStage], limit: int) -> int:
        """Remove plans that were made before an instant, and the journal of their moves."""
        query = select(PLANS.c.cluster_id, PLANS.c.id).where(
            PLANS.c.made_at < made_before, PLANS.c.stage.in_([stage.value for stage in stages])
        )
        rows = self._connection.execute(query.order_by(PLANS.c.made_at).limit(limit)).all()
        by_cluster: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            by_cluster[row.cluster_id].add(row.id)
        for cluster_id, ids in by_cluster.items():
            of_these = and_(PLANS.c.cluster_id == cluster_id, PLANS.c.id.in_(sorted(ids)))
            self._connection.execute(PLANS.delete().where(of_these))
            forget_journal(self._connection, cluster_id, ids)
        return len(rows)


def _newest_first(
    query: Select[Any],
    cluster_id: str,
    stages: Iterable[PlanStage] | None,
    before: str,
    limit: int,
) -> Select[Any]:
    query = query.where(PLANS.c.cluster_id == cluster_id)
    if stages is not None:
        query = query.where(PLANS.c.stage.in_([stage.value for stage in stages]))
    if before:
        last = where(PLANS, {"cluster_id": cluster_id, "id": before})
        position = select(PLANS.c.made_at, PLANS.c.id).where(last).scalar_subquery()
        query = query.where(tuple_(PLANS.c.made_at, PLANS.c.id) < position)
    return query.order_by(PLANS.c.made_at.desc(), PLANS.c.id.desc()).limit(limit)


# What of a document heads tell is picked out by the database: documents of a thousand plans are
# some hundred MiB, which would be read under the lock that every other request needs.


def _of_sqlite() -> list[ColumnElement[Any]]:
    document = PLANS.c.document
    return [
        func.json_remove(document, "$.result", type_=Json()).label("document"),
        func.json_array_length(document, "$.result.plan.steps", type_=Integer()).label("num_steps"),
        func.json_extract(document, "$.result.gap", type_=Float()).label("gap"),
        *(
            func.json_extract(document, f"$.result.{when}.repair", type_=Float()).label(when)
            for when in ("before", "after")
        ),
    ]


def _of_postgresql() -> list[ColumnElement[Any]]:
    document = cast(PLANS.c.document, JSONB)
    rest = cast(document.op("-")(literal("result", Text())), Text)
    steps = func.jsonb_array_length(document[("result", "plan", "steps")], type_=Integer())
    gap = cast(document[("result", "gap")].astext, Float)
    return [
        type_coerce(rest, Json()).label("document"),
        steps.label("num_steps"),
        gap.label("gap"),
        *(
            cast(document[("result", when, "repair")].astext, Float).label(when)
            for when in ("before", "after")
        ),
    ]


def _head(row: Row[Any]) -> PlanHead:
    known = {**row._mapping, "stage": PlanStage(row.stage), "num_steps": row.num_steps or 0}
    before, after = known.pop("before") or 0, known.pop("after") or 0
    return PlanHead(**known, repairs=before > after)


def _plan(row: Row[Any]) -> KeptPlan:
    return KeptPlan(**{**row._mapping, "stage": PlanStage(row.stage)})
