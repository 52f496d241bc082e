"""The executor's branch of the error tree of ``solver.domain.errors``::

ExecutionError
├── BusyError                  another plan is being carried out; nothing was begun
├── IllegalTransitionError     an event that a state does not know; nothing was changed
├── JournalError               the journal cannot be written, or is damaged
├── LeaseError                 the lease cannot be read or written
├── LeaseHeldError             another process holds the lease, or its lock
└── LeaseLostError             the lease is not held any more; nothing was done
"""

from __future__ import annotations

from solver.domain.errors import ExecutionError


class BusyError(ExecutionError):
    """Another plan is still being carried out; nothing was begun."""


class IllegalTransitionError(ExecutionError):
    """An event came that the present state does not know; nothing was changed."""


class JournalError(ExecutionError):
    """The journal cannot be written or read, or a record other than the last is damaged."""


class LeaseError(ExecutionError):
    """The lease cannot be read, written or locked; nothing was done."""


class LeaseHeldError(ExecutionError):
    """Another process holds the lease, or its lock for the moment; nothing was done."""


class LeaseLostError(ExecutionError):
    """The lease is not held by this process, or not any more; nothing was done."""
