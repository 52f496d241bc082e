"""Every table of the store, as of this version's schema; ``migrations`` leads here step by step."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
)

from service.store.columns import Instant, Json, Name

METADATA: Final = MetaData()

ITEMS: Final = Table(
    "items",
    METADATA,
    Column("kind", Name, primary_key=True),
    Column("cluster_id", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("document", Json, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", Name, nullable=False),
)

SNAPSHOTS: Final = Table(
    "snapshots",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("observed_at", Instant, nullable=False),
    Column("document", Json, nullable=False),
)

PLANS: Final = Table(
    "plans",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    Column("made_at", Instant, nullable=False),
    Column("stage", Name, nullable=False),
    Column("trigger", Name, nullable=False),
    Column("document", Json, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("plans_by_age", "cluster_id", "made_at", "id"),
)

JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("id", Name, primary_key=True),
    Column("kind", Name, nullable=False),
    Column("asked_by", Name, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("stage", Name, nullable=False),
    Column("request", Json, nullable=False),
    Column("cluster_id", Name, nullable=False),
    Column("progress", Json),
    Column("result", Json),
    Column("problem", Json),
    Column("worker", Name, nullable=False),
    Column("ended_at", Instant),
    Column("revision", BigInteger, nullable=False),
    Index("jobs_by_age", "asked_at", "id"),
    Index("jobs_by_end", "ended_at"),
)

CREDENTIALS: Final = Table(
    "credentials",
    METADATA,
    Column("id", Name, primary_key=True),
    Column("kind", Name, nullable=False),
    Column("digest", Name, nullable=False),
    Column("subject", Name, nullable=False),
    Column("document", Json, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Index("credentials_by_digest", "kind", "digest", unique=True),
    Index("credentials_by_subject", "kind", "subject"),
)

ATTEMPTS: Final = Table(
    "attempts",
    METADATA,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("key", Name, nullable=False),
    Column("at", Instant, nullable=False),
    Index("attempts_by_key", "key", "at"),
)

AUDIT: Final = Table(
    "audit",
    METADATA,
    Column(
        "number",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("at", Instant, nullable=False),
    Column("actor", Name, nullable=False),
    Column("action", Name, nullable=False),
    Column("cluster_id", Name, nullable=False),
    Column("subject", Name, nullable=False),
    Column("before", Json),
    Column("after", Json),
    Column("origin", Name, nullable=False),
    Index("audit_by_cluster", "cluster_id", "number"),
)

ANSWERS: Final = Table(
    "answers",
    METADATA,
    Column("actor", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("digest", Name, nullable=False),
    Column("at", Instant, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Json),
    Column("body", Text, nullable=False),
    Index("answers_by_age", "at"),
)

BLOBS: Final = Table(
    "blobs",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("name", Name, primary_key=True),
    Column("made_at", Instant, nullable=False),
    Column("data", LargeBinary, nullable=False),
)

JOURNAL: Final = Table(
    "journal",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Text, nullable=False),
)

LEASES: Final = Table(
    "leases",
    METADATA,
    Column("name", Name, primary_key=True),
    Column("holder", Name, nullable=False),
    Column("description", Name, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

# Telemetry. Minutes are counted from 1970 on, and so are bins, days and the periods of hours.

STREAMS: Final = Table(
    "streams",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("host_id", Name, primary_key=True),
    Column("stream", Name, primary_key=True),
    Column("accepted_through", BigInteger, nullable=False),
    Column("heard_at", Instant, nullable=False),
)

MONITORED_HOSTS: Final = Table(
    "monitored_hosts",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("host_id", Name, primary_key=True),
    Column("last_minute_at", Instant, nullable=False),
)

MINUTES: Final = Table(
    "minutes",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("host_id", Name, primary_key=True),
    Column("stream", Name, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
"""Records as they were delivered."""

DUE_BINS: Final = Table(
    "due_bins",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("bin", BigInteger, primary_key=True, autoincrement=False),
    Column("arrivals", BigInteger, nullable=False),
)
"""Bins with records that came since they were rolled up last."""

SERIES: Final = Table(
    "series",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("cluster_id", Name, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("id", Name, nullable=False),
    Column("vcpus", BigInteger, nullable=False),
    Column("memory_size_mib", BigInteger, nullable=False),
    Column("app_type", Name),
    Column("first_bin", BigInteger, nullable=False),
    Index("series_by_name", "cluster_id", "kind", "id", unique=True),
)
"""VMs and hosts that telemetry tells of, by a number that stands for them below."""

RECENT_BINS: Final = Table(
    "recent_bins",
    METADATA,
    Column("cluster_id", Name, primary_key=True),
    Column("block", Integer, primary_key=True, autoincrement=False),
    Column("bin", BigInteger, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)
"""Bins of days that are not over, a row for many series: cheap to write every five minutes."""

DAYS: Final = Table(
    "days",
    METADATA,
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Index("days_by_age", "day"),
)
"""Bins of days that are over, a row for a series: cheap to read for weeks."""

HOURS: Final = Table(
    "hours",
    METADATA,
    Column("series", Integer, primary_key=True, autoincrement=False),
    Column("period", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
    Index("hours_by_age", "period"),
)
"""Hourly means of what was once kept as bins, a row for a series and four weeks."""
