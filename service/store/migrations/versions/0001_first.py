"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NAME = sa.String().with_variant(sa.String(collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
INSTANT = sa.BigInteger()
JSON = sa.Text()


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "items",
        sa.Column("kind", NAME, primary_key=True),
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("id", NAME, primary_key=True),
        sa.Column("document", JSON, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("changed_at", INSTANT, nullable=False),
        sa.Column("changed_by", NAME, nullable=False),
    )
    op.create_table(
        "snapshots",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("observed_at", INSTANT, nullable=False),
        sa.Column("document", JSON, nullable=False),
    )
    _work()
    _access()
    _executing()
    _delivered()
    _rolled_up()


def _work() -> None:
    """Plans and jobs, and larger results."""
    op.create_table(
        "plans",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("id", NAME, primary_key=True),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.Column("stage", NAME, nullable=False),
        sa.Column("trigger", NAME, nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("plans_by_age", "plans", ["cluster_id", "made_at", "id"])
    op.create_table(
        "jobs",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("asked_by", NAME, nullable=False),
        sa.Column("asked_at", INSTANT, nullable=False),
        sa.Column("stage", NAME, nullable=False),
        sa.Column("request", JSON, nullable=False),
        sa.Column("cluster_id", NAME, nullable=False),
        sa.Column("progress", JSON),
        sa.Column("result", JSON),
        sa.Column("problem", JSON),
        sa.Column("worker", NAME, nullable=False),
        sa.Column("ended_at", INSTANT),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("jobs_by_age", "jobs", ["asked_at", "id"])
    op.create_index("jobs_by_end", "jobs", ["ended_at"])
    op.create_table(
        "blobs",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("name", NAME, primary_key=True),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )


def _access() -> None:
    """Who may do what, and what was done."""
    op.create_table(
        "credentials",
        sa.Column("id", NAME, primary_key=True),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("document", JSON, nullable=False),
        sa.Column("made_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.Column("last_used_at", INSTANT),
    )
    op.create_index("credentials_by_digest", "credentials", ["kind", "digest"], unique=True)
    op.create_index("credentials_by_subject", "credentials", ["kind", "subject"])
    op.create_table(
        "attempts",
        sa.Column("number", NUMBER, primary_key=True),
        sa.Column("key", NAME, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
    )
    op.create_index("attempts_by_key", "attempts", ["key", "at"])
    op.create_table(
        "audit",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", NAME, nullable=False),
        sa.Column("action", NAME, nullable=False),
        sa.Column("cluster_id", NAME, nullable=False),
        sa.Column("subject", NAME, nullable=False),
        sa.Column("before", JSON),
        sa.Column("after", JSON),
        sa.Column("origin", NAME, nullable=False),
    )
    op.create_index("audit_by_cluster", "audit", ["cluster_id", "number"])
    op.create_table(
        "answers",
        sa.Column("actor", NAME, primary_key=True),
        sa.Column("key", NAME, primary_key=True),
        sa.Column("digest", NAME, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", JSON),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("answers_by_age", "answers", ["at"])


def _executing() -> None:
    """The executor's journal and lease."""
    op.create_table(
        "journal",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("line", sa.Text, nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", NAME, primary_key=True),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("description", NAME, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
    )


def _delivered() -> None:
    """Telemetry as it comes in."""
    op.create_table(
        "streams",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("host_id", NAME, primary_key=True),
        sa.Column("stream", NAME, primary_key=True),
        sa.Column("accepted_through", sa.BigInteger, nullable=False),
        sa.Column("heard_at", INSTANT, nullable=False),
    )
    op.create_table(
        "monitored_hosts",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("host_id", NAME, primary_key=True),
        sa.Column("last_minute_at", INSTANT, nullable=False),
    )
    op.create_table(
        "minutes",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("minute", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("host_id", NAME, primary_key=True),
        sa.Column("stream", NAME, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "due_bins",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("bin", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("arrivals", sa.BigInteger, nullable=False),
    )


def _rolled_up() -> None:
    """Telemetry as it is read."""
    op.create_table(
        "series",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("cluster_id", NAME, nullable=False),
        sa.Column("kind", sa.SmallInteger, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("vcpus", sa.BigInteger, nullable=False),
        sa.Column("memory_size_mib", sa.BigInteger, nullable=False),
        sa.Column("app_type", NAME),
        sa.Column("first_bin", sa.BigInteger, nullable=False),
    )
    op.create_index("series_by_name", "series", ["cluster_id", "kind", "id"], unique=True)
    op.create_table(
        "recent_bins",
        sa.Column("cluster_id", NAME, primary_key=True),
        sa.Column("block", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("bin", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    for table, unit in (("days", "day"), ("hours", "period")):
        op.create_table(
            table,
            sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column(unit, sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("data", sa.LargeBinary, nullable=False),
        )
        op.create_index(f"{table}_by_age", table, [unit])
