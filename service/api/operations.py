"""The name of each operation, and what else is said about it where its view stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

View = TypeVar("View", bound=Callable[..., Any])

_MARK: Final = "foreswap_operation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What is true of an operation.

    Parameters
    ----------
    name
        Noun and verb, such as ``rules.put``; its row is in ``service.security.roles``.
    revisioned
        It changes something that has a revision: a request carries ``If-Match``, or it makes
        what is not there yet.
    keyed
        It acts: a request may carry ``Idempotency-Key``.
    max_body_mib
        Largest body, unpacked.
    """

    name: str
    revisioned: bool = False
    keyed: bool = False
    max_body_mib: int = 1


def operation(
    name: str, *, revisioned: bool = False, keyed: bool = False, max_body_mib: int = 1
) -> Callable[[View], View]:
    """Return the decorator that names a view's operation; it stands below the route's."""
    told = Operation(name=name, revisioned=revisioned, keyed=keyed, max_body_mib=max_body_mib)

    def mark(view: View) -> View:
        vars(view)[_MARK] = told
        return view

    return mark


def operation_of(view: Callable[..., Any]) -> Operation | None:
    """Return the operation of a view; ``None`` if it was given none."""
    found = vars(view).get(_MARK)
    return found if isinstance(found, Operation) else None
