"""The executor's branch of the error tree of ``solver.domain.errors``::

ExecutionError
├── IllegalTransitionError     an event that a state does not know; nothing was changed
└── JournalError               the journal cannot be written, or is damaged
"""

from __future__ import annotations

from solver.domain.errors import ExecutionError


class BusyError(ExecutionError):
    """Another plan is still being carried out; nothing was begun."""


class IllegalTransitionError(ExecutionError):
    """An event came that the present state does not know; nothing was changed."""


class JournalError(ExecutionError):
    """The journal cannot be written or read, or a record other than the last is damaged."""
