"""What the service writes on standard error: lines for people, or one JSON object per line.

Whatever a library or a traceback puts into a message, what looks like a credential does not leave:
tokens and sessions by their prefix, passwords of addresses and headers by where they stand.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

from service.settings import LogSettings

EXTRA: Final = ("request_id", "user", "operation", "status", "duration_ms", "cluster_id", "origin")
"""What may be said about a message beside it, in this order."""

HIDDEN: Final = "***"

_SECRETS: Final = (
    # Tokens and sessions; the prefix stays, so that it is seen what stood there.
    (re.compile(r"\b(fs[ts]_)[\w-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b((?:authorization|cookie|set-cookie)\W{1,4})(?:bearer |basic )?[^\s,}]+"),
     rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b(bearer )[\w.~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(://[^\s:@/]*):[^\s@/]*@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"""(?i)(["']?(?:password|secret|token)["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&}]+)"""),
     rf"\1{HIDDEN}"),
)  # fmt: skip


def redacted(text: str) -> str:
    """Return a text without what looks like a credential.

    >>> redacted("cannot reach postgresql://app:s3cret@db/foreswap")
    'cannot reach postgresql://app:***@db/foreswap'
    """
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class TextFormatter(logging.Formatter):
    """``2026-03-02 12:00:00 INFO service.server: listening``, and what else is known behind it."""

    default_msec_format = ""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        text = super().format(record)
        more = " ".join(f"{name}={value}" for name, value in _extra(record).items())
        if more:
            first, *rest = text.split("\n", 1)
            text = "\n".join([f"{first} [{more}]", *rest])
        return redacted(text)


class JsonLines(JsonFormatter):
    """One object per line: ``at``, ``level``, ``logger``, ``message``, and what else is known."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger", "timestamp": "at"},
            timestamp=True,
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be written, each text without secrets."""
        return {
            name: redacted(value) if isinstance(value, str) else value
            for name, value in super().process_log_record(log_data).items()
        }


def configure(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Let all loggers write as the settings say.

    Parameters
    ----------
    stream
        Standard error if ``None``.
    """
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines() if settings.format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=settings.level.upper(), force=True)
    # One line a migration of the schema, one a request that waits for a thread.
    logging.getLogger("alembic").setLevel(max(logging.WARNING, logging.root.level))
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


@contextmanager
def written_beside() -> Iterator[None]:
    """Have a thread of its own write what is logged within the block.

    A disk that is busy with a large transaction lets whoever writes to a log wait for a third of a
    second, and all others for the log. At the end everything is written; a process that is killed
    loses its last lines.
    """
    root, queue = logging.root, SimpleQueue[Any]()
    handlers = list(root.handlers)
    listener = QueueListener(queue, *handlers, respect_handler_level=True)
    listener.start()
    root.handlers[:] = [_Handed(queue)]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        listener.stop()


class _Handed(QueueHandler):
    """Hands records on with all that formatters know of them, tracebacks included."""

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return a record that does not change any more."""
        record.msg, record.args = record.getMessage(), None
        return record


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
