"""What a store promises. ``tests/contract/test_stores.py`` holds every store to it.

Everything but telemetry is read and written within a transaction::

    with store.begin() as tx:
        rule = tx.items.get(Kind.RULE, cluster_id, rule_id)
        tx.items.put(replace(rule, document=wanted), expected_revision=rule.revision)
        tx.audit.append(entry)

A transaction takes effect as a whole when its block ends, and not at all when the block raises.
Once ``begin`` has returned from its block, what was written survives the end of the process and of
the machine. Instants are aware UTC. Documents are JSON values. Ids and other names are any texts
but the empty one, without the character 0.

Errors: ``NotFoundError`` and ``ConflictError`` of ``service.store.errors`` as each method says, and
``StoreError`` where the database cannot be used.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from executor.journal import Journal
from executor.lease import Lease
from executor.monitor.sample import MinuteRecord
from forecast.history import STEP_SECONDS, Floats, History
from solver.domain.units import HostId, VmId

Document = Mapping[str, Any]


class Kind(enum.StrEnum):
    """Kinds of editable documents, each kept with its revision."""

    CLUSTER = "cluster"
    """Name, time zone, driver; its ``cluster_id`` is empty, so that all clusters can be listed."""
    RULE = "rule"
    VM_POLICY = "vm_policy"
    """Priority and its bounds, owner, group, application type of one VM; absent for defaults."""
    HOST_POLICY = "host_policy"
    """Maintenance mode of one host; absent for none."""
    SCHEDULE = "schedule"
    """When and how far a cluster is balanced by itself; its id is the cluster's."""
    INVENTORY = "inventory"
    """Marks the latest change of what is known of a cluster; its id is the cluster's."""
    USER = "user"
    """Its ``cluster_id`` is empty: users are of the whole service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One editable document.

    Parameters
    ----------
    cluster_id
        Whose it is; empty for what belongs to the whole service.
    revision
        1 when it is made, one more with every change; an ETag.
    changed_by
        Name of the user or token.
    """

    kind: Kind
    cluster_id: str
    id: str
    document: Document
    revision: int = 0
    changed_at: datetime | None = None
    changed_by: str = ""


class Items(Protocol):
    """Editable documents, by kind, cluster and id."""

    def get(self, kind: Kind, cluster_id: str, item_id: str) -> Item:
        """Return an item.

        :raises NotFoundError: if there is none
        """

    def find(self, kind: Kind, cluster_id: str, item_ids: Iterable[str]) -> dict[str, Item]:
        """Return those of the items that exist, by id."""

    def page(self, kind: Kind, cluster_id: str, *, after: str = "", limit: int) -> list[Item]:
        """Return up to ``limit`` items in the order of their ids, from behind ``after``."""

    def put(self, item: Item, *, expected_revision: int | None) -> Item:
        """Write an item and return it with its new revision; ``changed_at`` must be given.

        :param expected_revision: of the item as it stands, 0 for one that must not exist yet,
            ``None`` for whatever stands
        :raises ConflictError: if it stands at another revision; carries the one that stands
        """

    def put_all(self, items: Sequence[Item]) -> None:
        """Write many items at once, each expected at the revision it holds; all or none.

        Ten thousand take a second or two.

        :raises ConflictError: if one stands at another revision; its message names it
        """

    def delete(
        self, kind: Kind, cluster_id: str, item_id: str, *, expected_revision: int | None
    ) -> Item:
        """Remove an item and return it as it stood.

        :raises NotFoundError: if there is none
        :raises ConflictError: if it stands at another revision
        """

    def delete_of(self, kind: Kind, cluster_id: str) -> int:
        """Remove all items of a kind of a cluster; return how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A cluster as it was seen last: a cluster document of ``solver.schema``, without policies."""

    cluster_id: str
    observed_at: datetime
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadSnapshot:
    """A snapshot whose VMs are still to be read.

    Parameters
    ----------
    document
        The cluster document without its VMs.
    vms
        The JSON of each VM; equal wherever a VM stands as in another snapshot.
    """

    document: Document
    vms: Sequence[str]


class Snapshots(Protocol):
    """The latest snapshot of each cluster."""

    def get(self, cluster_id: str) -> Snapshot | None:
        """Return the latest; ``None`` before the first."""

    def unread(self, cluster_id: str) -> UnreadSnapshot | None:
        """Return the latest with its VMs unread; ``None`` before the first."""

    def put(self, snapshot: Snapshot) -> bool:
        """Keep a snapshot, unless a later one is there; return whether it was kept."""

    def observed_at(self, cluster_id: str) -> datetime | None:
        """Return when the latest was seen, without reading it; ``None`` before the first."""

    def delete(self, cluster_id: str) -> None:
        """Remove the latest of a cluster, if there is one."""


class PlanStage(enum.StrEnum):
    """Where a plan is on its way."""

    WANTED = "wanted"
    """Asked for; the leader is to make it."""
    PROPOSED = "proposed"
    """Waits to be approved, or is a recommendation."""
    APPROVED = "approved"
    """Waits for the leader to begin it."""
    RUNNING = "running"
    DONE = "done"
    """All that was to be done is done."""
    ENDED = "ended"
    """It ended with steps that were not done."""
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    """A newer plan was made before anyone approved it, or the cluster is no longer the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPlan:
    """A plan and all that belongs to it.

    Parameters
    ----------
    trigger
        What it was made for: ``schedule``, ``manual``, ``drain`` and so on.
    document
        Plan, result, explanations, decisions on single steps, outcomes.
    """

    id: str
    cluster_id: str
    made_at: datetime
    stage: PlanStage
    trigger: str
    document: Document
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHead:
    """A plan without its result, which is large: what lists, sums and figures need.

    Parameters
    ----------
    document
        As the plan's, but for ``result``.
    num_steps
        Steps of the plan in the result; 0 where there is none.
    gap
        Between answer and bound of the result.
    repairs
        Whether less is broken after it than before.
    """

    id: str
    cluster_id: str
    made_at: datetime
    stage: PlanStage
    trigger: str
    document: Document
    num_steps: int = 0
    gap: float | None = None
    repairs: bool = False
    revision: int = 0


class Plans(Protocol):
    """Plans of all clusters."""

    def get(self, cluster_id: str, plan_id: str) -> KeptPlan:
        """Return a plan.

        :raises NotFoundError: if there is none
        """

    def page(
        self,
        cluster_id: str,
        *,
        stages: Iterable[PlanStage] | None = None,
        before: str = "",
        limit: int,
    ) -> list[KeptPlan]:
        """Return up to ``limit`` plans, the newest first, from behind the plan ``before``.

        None if there is no such plan. Each may be some hundred KiB: see ``heads``.
        """

    def heads(
        self,
        cluster_id: str,
        *,
        stages: Iterable[PlanStage] | None = None,
        before: str = "",
        limit: int,
    ) -> list[PlanHead]:
        """Return the heads of those that ``page`` returns, without reading their results."""

    def put(self, plan: KeptPlan, *, expected_revision: int | None) -> KeptPlan:
        """Write a plan, as ``Items.put`` writes an item.

        :raises ConflictError: if it stands at another revision
        """

    def forget(self, made_before: datetime, *, stages: Iterable[PlanStage], limit: int) -> int:
        """Remove up to ``limit`` plans at some stages that were made before an instant.

        The executor's journal of them is removed as well. Returns how many there were.
        """


class JobStage(enum.StrEnum):
    """Where a job is on its way."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work that takes longer than a request.

    Parameters
    ----------
    asked_by
        Who may see and cancel it.
    progress
        Best so far, bound, engine.
    result
        ``None`` until it is done.
    problem
        Why it failed, as problem details.
    worker
        Names the process that runs it; a job whose process has ended has failed.
    """

    id: str
    kind: str
    asked_by: str
    asked_at: datetime
    stage: JobStage
    request: Document
    cluster_id: str = ""
    progress: Document | None = None
    result: Document | None = None
    problem: Document | None = None
    worker: str = ""
    ended_at: datetime | None = None
    revision: int = 0


class Jobs(Protocol):
    """Jobs of all replicas."""

    def get(self, job_id: str) -> Job:
        """Return a job.

        :raises NotFoundError: if there is none
        """

    def page(self, *, asked_by: str | None = None, before: str = "", limit: int) -> list[Job]:
        """Return up to ``limit`` jobs, the newest first, from behind the job ``before``.

        None if there is no such job any more.
        """

    def unfinished(self) -> list[Job]:
        """Return all jobs of all replicas that have not ended, the oldest first."""

    def put(self, job: Job, *, expected_revision: int | None) -> Job:
        """Write a job, as ``Items.put`` writes an item.

        :raises ConflictError: if it stands at another revision
        """

    def forget(self, ended_before: datetime) -> int:
        """Remove jobs that ended before an instant; return how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A token or a session: a secret that only its holder knows, kept as a hash.

    Parameters
    ----------
    digest
        Of the secret; how it is made is not the store's matter.
    subject
        Name of the user, or of the token.
    document
        What it allows: role, host, VMs.
    """

    id: str
    kind: str
    digest: str
    subject: str
    document: Document
    made_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class Credentials(Protocol):
    """Tokens and sessions."""

    def find(self, kind: str, digest: str) -> Credential | None:
        """Return the credential of a digest; ``None`` if there is none, expired or not."""

    def page(
        self, kind: str, *, subject: str | None = None, after: str = "", limit: int
    ) -> list[Credential]:
        """Return up to ``limit`` credentials in the order of their ids, from behind ``after``."""

    def put(self, credential: Credential) -> None:
        """Write a credential, over one of the same id."""

    def delete(self, credential_id: str) -> Credential:
        """Remove a credential and return it.

        :raises NotFoundError: if there is none
        """

    def delete_of(self, kind: str, subject: str) -> int:
        """Remove all of a subject; return how many."""

    def forget_expired(self, now: datetime) -> int:
        """Remove those that have expired; return how many."""


class Attempts(Protocol):
    """Failed logins, counted over all replicas."""

    def note(self, key: str, at: datetime) -> None:
        """Note one attempt under a key."""

    def count(self, key: str, since: datetime) -> int:
        """Return how many there were under a key."""

    def forget(self, key: str) -> None:
        """Forget those of a key."""

    def forget_before(self, before: datetime) -> int:
        """Forget those of every key before an instant; return how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change: who did what to what, when, and what stood before and after.

    Parameters
    ----------
    action
        The operation, such as ``priority.set``.
    subject
        Path of what was changed.
    before, after
        ``None`` where nothing stood, or stands; never a secret.
    origin
        Address it came from; empty for the service itself.
    number
        Its place in the log, from 1; given by the store.
    """

    at: datetime
    actor: str
    action: str
    cluster_id: str
    subject: str
    before: Document | None = None
    after: Document | None = None
    origin: str = ""
    number: int = 0


class Audit(Protocol):
    """The log of changes. Nothing in it is ever changed or removed by the service."""

    def append(self, *entries: AuditEntry) -> None:
        """Add entries."""

    def page(
        self,
        *,
        cluster_ids: Iterable[str] | None = None,
        subject_prefix: str = "",
        actor: str = "",
        action_prefix: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
        limit: int,
    ) -> list[AuditEntry]:
        """Return up to ``limit`` entries, the newest first, from before the number ``before``.

        Of an instant from ``since`` on, and before ``until``.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request with an idempotency key was answered.

    Parameters
    ----------
    digest
        Of the request: the same key with another request is an error.
    status
        0 while the first request is still being worked on.
    """

    actor: str
    key: str
    digest: str
    at: datetime
    status: int = 0
    headers: Mapping[str, str] | None = None
    body: str = ""


class Answers(Protocol):
    """Answers to requests that must not act twice."""

    def take(self, answer: Answer) -> Answer | None:
        """Reserve a key for a request; return what stands there already, ``None`` if nothing."""

    def put(self, answer: Answer) -> None:
        """Write the answer to a reserved key."""

    def drop(self, actor: str, key: str) -> None:
        """Give a reserved key back: nothing was done."""

    def forget(self, before: datetime) -> int:
        """Remove answers older than an instant; return how many."""


class Blobs(Protocol):
    """Larger results that are replaced as a whole: forecasts, models."""

    def get(self, cluster_id: str, name: str) -> tuple[datetime, bytes] | None:
        """Return when it was made and its bytes; ``None`` if there is none."""

    def made_at(self, cluster_id: str, name: str) -> datetime | None:
        """Return when it was made, without reading it; ``None`` if there is none."""

    def put(self, cluster_id: str, name: str, made_at: datetime, data: bytes) -> None:
        """Write it, over one of the same name."""

    def delete(self, cluster_id: str, name: str) -> None:
        """Remove it, if it is there."""

    def delete_of(self, cluster_id: str) -> None:
        """Remove all of a cluster."""

    def forget(self, prefix: str, made_before: datetime) -> int:
        """Remove those of every cluster whose name begins so, made before an instant."""


class Remains(Protocol):
    """What is left of a cluster when its settings are gone."""

    def delete_of(self, cluster_id: str) -> None:
        """Remove snapshot, plans, journal, blobs and telemetry of a cluster.

        The audit log stays. A later cluster of the same id sees nothing of an earlier one.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """All tables, as of one transaction."""

    items: Items
    snapshots: Snapshots
    plans: Plans
    jobs: Jobs
    credentials: Credentials
    attempts: Attempts
    audit: Audit
    answers: Answers
    blobs: Blobs
    remains: Remains


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of a batch of telemetry.

    Parameters
    ----------
    accepted_through
        Highest sequence number of the stream that is kept.
    refused_seq
        First record that will never be taken; ``None`` if there is none.
    """

    accepted_through: int
    refused_seq: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long telemetry and plans are kept.

    Parameters
    ----------
    minutes
        Records of a minute, as they were delivered.
    bins
        Five minutes' means, p95 and maxima.
    hours
        Hourly ones, made from the bins.
    plans
        Plans that are over, with the journal of their moves.
    """

    minutes: timedelta = timedelta(days=2)
    bins: timedelta = timedelta(days=42)
    hours: timedelta = timedelta(days=400)
    plans: timedelta = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Peaks:
    """A history, and how far single samples were above its means.

    Parameters
    ----------
    p95, largest
        In the shape of the history's readings; NaN where not known, as of imported bins.
    """

    history: History
    p95: Floats
    largest: Floats


class Telemetry(Protocol):
    """Readings of hosts and VMs: in by minutes of a host, out by bins of a VM or a host.

    A record is durable once ``receive`` returns. Bins hold mean, p95 and maximum of the four
    resources and of memory granted; a bin of a VM that moved holds what all its hosts saw of it.
    A bin is there soon after it ended, once ``tidy`` has rolled it up.

    Reads take steps of 300 seconds, or of 3600: hours are made of the bins where these are still
    kept, and reach back further.
    """

    def receive(
        self,
        cluster_id: str,
        host_id: HostId,
        *,
        stream: str,
        records: Sequence[tuple[int, MinuteRecord]],
    ) -> Received:
        """Keep records of one host, in rising order of their sequence numbers, each once.

        Those before a record that is refused are kept. Refused are records of another host, of
        the future or of long ago, and those with figures that no host can have.

        :raises InvalidInputError: if the numbers do not rise from 1 on; nothing is kept
        """

    def records(
        self, cluster_id: str, start_at: datetime, end_at: datetime
    ) -> Iterator[MinuteRecord]:
        """Return the records of a window as they were delivered, in the order of minutes."""

    def history(
        self,
        cluster_id: str,
        start_at: datetime,
        end_at: datetime,
        *,
        vm_ids: Iterable[VmId] | None = None,
        step_seconds: int = STEP_SECONDS,
    ) -> History:
        """Return the VMs' bins of a window, both ends on the grid; those without any are left out.

        :raises NotEnoughHistoryError: if no VM has a reading in it
        :raises InvalidInputError: if an end is not on the grid
        """

    def peaks(
        self,
        cluster_id: str,
        start_at: datetime,
        end_at: datetime,
        *,
        vm_ids: Iterable[VmId] | None = None,
        step_seconds: int = STEP_SECONDS,
    ) -> Peaks:
        """Return the VMs' bins of a window with their p95 and maxima; errors as of ``history``."""

    def put_history(self, cluster_id: str, history: History) -> None:
        """Keep bins from elsewhere: an import, a simulated cluster. Later ones win.

        Each day is kept as a whole. User activity is not kept.

        :raises InvalidInputError: if the history is not on the grid of 300 seconds
        """

    def host_history(
        self,
        cluster_id: str,
        start_at: datetime,
        end_at: datetime,
        *,
        step_seconds: int = STEP_SECONDS,
    ) -> Mapping[HostId, History]:
        """Return what the monitors saw of the hosts themselves, a "VM" each, by host."""

    def last_seen(self, cluster_id: str) -> Mapping[HostId, datetime]:
        """Return the start of the latest minute of each host that ever delivered."""

    def tidy(self, now: datetime, retention: Retention) -> None:
        """Roll up what is due and remove what is too old; to be called every minute or so."""

    def forget(self, cluster_id: str) -> None:
        """Remove all of a cluster; records that come afterwards begin anew."""

    def size_bytes(self) -> int:
        """Return about how much of the store telemetry takes."""


class Store(Protocol):
    """One database."""

    @property
    def telemetry(self) -> Telemetry:
        """Readings of hosts and VMs."""

    def begin(self, *, read_only: bool = False) -> AbstractContextManager[Transaction]:
        """Return a transaction.

        Those that may write come one after the other, over all threads and processes: whatever
        was read stays true until the block ends, so keep the block short, begin no second one
        within it, and enter no lease's ``guard`` there. Those that only read see one instant, wait
        for nobody, and cannot write.

        :raises StoreError: if the database cannot be used, or its turn did not come in time
        """

    def asking(self) -> AbstractContextManager[Transaction]:
        """Return what answers questions, perhaps each at an instant of its own, and cannot write.

        It costs less than a transaction, for whoever asks what does not have to fit together.

        :raises StoreError: if the database cannot be used
        """

    def journal(self, cluster_id: str, lease: Lease | None = None) -> Journal:
        """Return the executor's journal of a cluster.

        Under a lease nothing is written once it is lost: that is seen in the same transaction.
        """

    def lease(self, name: str, *, ttl_s: float) -> Lease:
        """Return a lease among all replicas, by the database's clock.

        On PostgreSQL a session's advisory lock backs ``guard``: nobody takes over while a holder
        is inside, and a holder whose session has ended is not inside.
        """

    def check(self) -> None:
        """Return if the database answers and its schema is this version's.

        :raises StoreError: saying what is wrong
        """

    def size_bytes(self) -> int:
        """Return how much the database takes."""

    def back_up(self, path: Path) -> None:
        """Write a whole, consistent copy to a new file while the service goes on.

        :raises StoreError: if the file exists or cannot be written
        """

    def close(self) -> None:
        """Close every connection."""
