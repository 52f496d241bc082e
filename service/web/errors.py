"""What a visitor is told when something they asked for was not done."""

from __future__ import annotations

import logging
import secrets
from typing import Final

from dash import set_props

from service.errors import InvalidRequestError, UnauthenticatedError
from solver.domain.errors import ForeswapError

_LOG: Final = logging.getLogger(__name__)

NOTICES: Final = "notices"
SESSION: Final = "session"


def tell(error: Exception) -> None:
    """Show an error of a callback on the page; one that nobody foresaw goes to the log."""
    if isinstance(error, UnauthenticatedError):
        set_props(SESSION, {"data": secrets.token_hex(4)})
        return
    notice("Not done", sentence(error), color="red")


def sentence(error: Exception) -> str:
    """Return what went wrong, in the words of the API."""
    if isinstance(error, InvalidRequestError):
        return "; ".join(message for _, message in error.errors[:3])
    if isinstance(error, ForeswapError):
        return str(error)
    reference = secrets.token_hex(4)
    _LOG.error("a page failed (%s)", reference, exc_info=error)
    return f"The service failed at this; its log says more at {reference}."


def notice(title: str, message: str, *, color: str = "blue") -> None:
    """Show a notice at the edge of the page."""
    set_props(
        NOTICES,
        {
            "sendNotifications": [
                {
                    "action": "show",
                    "id": secrets.token_hex(4),
                    "title": title,
                    "message": message,
                    "color": color,
                    "autoClose": 10_000 if color == "red" else 4_000,
                }
            ]
        },
    )
