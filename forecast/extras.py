"""Libraries that only some uses need, and that are asked for before the work, not after it."""

from __future__ import annotations

import importlib.util

from solver.domain.errors import InvalidInputError


def require_extra(module: str, *, extra: str, path: str) -> None:
    """Raise ``InvalidInputError`` unless a library is installed.

    Parameters
    ----------
    module
        Name it is imported by.
    extra
        Extra of foreswap that brings it.
    path
        The option that needs it.
    """
    if importlib.util.find_spec(module) is None:
        raise InvalidInputError(
            f"{module} is not installed; expected 'pip install foreswap[{extra}]'", path=path
        )
