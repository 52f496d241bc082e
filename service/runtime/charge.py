"""One cluster in the charge of this process: where it is kept, whose it is, what time it is there.

The one door through which what goes on by itself is written: under the lease of the cluster, the
audit entry and the memory in the same transaction. What is written and why is for the rooms that
use it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from executor.clock import Clock
from executor.lease import Lease
from service.plans.document import decision, with_entry
from service.runtime.memory import Memory, write_memory
from service.store.base import AuditEntry, KeptPlan, Kind, PlanStage, Store, Transaction
from service.store.errors import ConflictError

ACTOR: Final = "foreswap"
"""Name of the service itself in the audit log."""


@dataclass(slots=True, kw_only=True)
class Charge:
    """One cluster in the charge of this process.

    Attributes
    ----------
    lease
        Of the cluster, held already; whoever made it renews it too.
    clock
        The cluster's own time.
    real_clock
        Real time, in which the audit log is written.
    memory
        What is carried from one plan to the next.
    """

    store: Store
    cluster_id: str
    lease: Lease
    clock: Clock
    real_clock: Clock
    memory: Memory

    @property
    def now(self) -> datetime:
        """The cluster's own present."""
        return self.clock.now()

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Return a transaction under the lease.

        Raises
        ------
        LeaseLostError
            If the cluster is another process's now: nothing is written.
        NotFoundError
            If the cluster was removed: a later one of the same id must not see what is of this one.
        """
        with self.lease.guard(), self.store.begin() as tx:
            tx.items.get(Kind.CLUSTER, "", self.cluster_id)
            yield tx

    def remember(self, tx: Transaction) -> None:
        """Keep the memory."""
        write_memory(tx, self.cluster_id, self.now, self.memory)

    def log(
        self, tx: Transaction, kept: KeptPlan, action: str, *, before: KeptPlan | None = None
    ) -> None:
        """Write into the audit log what became of a plan by itself."""
        tx.audit.append(
            AuditEntry(
                at=self.real_clock.now(),
                actor=ACTOR,
                action=action,
                cluster_id=kept.cluster_id,
                subject=f"plans/{kept.id}",
                before=None if before is None else {"stage": before.stage.value},
                after={"stage": kept.stage.value},
            )
        )

    def change(
        self, kept: KeptPlan, *, stage: PlanStage | None = None, **entries: Any
    ) -> KeptPlan | None:
        """Write a plan with entries changed, and the memory with it.

        ``None`` if somebody was faster: what an operator wrote stays, and the next tick sees it.
        """
        changed = with_entry(kept, stage, **entries)
        with self.writing() as tx:
            try:
                written = tx.plans.put(changed, expected_revision=kept.revision)
            except ConflictError:
                return None
            if stage is not None:
                self.log(tx, written, f"plans.{stage.value}", before=kept)
            self.remember(tx)
        return written

    def supersede(self, plans: Iterable[KeptPlan], reason: str) -> None:
        """Let plans be carried out no more, and say why."""
        for kept in plans:
            entry = decision("superseded", by=ACTOR, at=self.now, reason=reason)
            self.change(kept, stage=PlanStage.SUPERSEDED, decision=entry)
