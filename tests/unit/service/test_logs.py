"""Log lines: both forms, what stands beside a message, and that no secret leaves."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from typing import Literal

import pytest

from service.logs import configure, redacted, written_beside
from service.settings import LogSettings

SECRETS = ("fst_abcdefghijklmnop", "fss_ABC-def_123456", "hunter2hunter2")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Give the root logger back as it was."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(form: Literal["text", "json"]) -> tuple[logging.Logger, io.StringIO]:
    """Return a logger and where its lines go."""
    stream = io.StringIO()
    configure(LogSettings(format=form), stream)
    return logging.getLogger("service.test"), stream


def test_lines_for_people() -> None:
    """Time, level, logger, message, and what is known beside it."""
    logger, stream = lines("text")
    logger.info("asked for %s", "hosts", extra={"user": "ada", "duration_ms": 3})
    assert stream.getvalue().endswith(
        "INFO service.test: asked for hosts [user=ada duration_ms=3]\n"
    )


def test_one_json_object_per_line() -> None:
    """A message of several lines and its traceback are still one line."""
    logger, stream = lines("json")
    logger.info("two\nlines", extra={"request_id": "r1"})
    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("it failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["level"], first["message"], first["request_id"]) == ("INFO", "two\nlines", "r1")
    assert first["at"].endswith("+00:00")
    assert "ValueError: broken" in second["exc_info"]


class Stuck(io.StringIO):
    """A stream that lets whoever writes wait until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        """Write as soon as it may."""
        assert self.let_go.wait(60)
        return super().write(text)


def test_nobody_waits_for_the_disk() -> None:
    """Lines come in their order, as they were when they were logged, and all by the end."""
    stream = Stuck()
    configure(LogSettings(format="json"), stream)
    logger = logging.getLogger("service.test")
    with written_beside():
        changing = ["first"]
        logger.info("it was %s", changing)
        changing.append("later")
        try:
            raise ValueError("broken")
        except ValueError:
            logger.exception("it failed", extra={"user": "ada"})
        logger.debug("nothing")
        assert stream.getvalue() == ""
        stream.let_go.set()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "it was ['first']"
    assert second["user"] == "ada"
    assert "ValueError: broken" in second["exc_info"]
    logger.info("after it")
    assert "after it" in stream.getvalue()


def test_less_important_messages_are_left_out() -> None:
    """The level of the settings holds for every logger."""
    logger, stream = lines("text")
    logger.debug("nothing")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "text",
    [
        "token fst_abcdefghijklmnop is unknown",
        "headers: {'Authorization': 'Bearer hunter2hunter2', 'Accept': '*/*'}",
        "Cookie: foreswap_session=fss_ABC-def_123456; x=1",
        '{"password": "hunter2hunter2", "name": "ada"}',
        "postgresql+psycopg://app:hunter2hunter2@db/foreswap is out of reach",
        "password=hunter2hunter2&name=ada",
    ],
)
def test_no_secret_is_written(form: Literal["text", "json"], text: str) -> None:
    """Neither in a message, nor beside it, nor in a traceback."""
    logger, stream = lines(form)
    logger.info(text)
    logger.info("see %s", text, extra={"user": text})
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("it failed")
    written = stream.getvalue()
    assert "***" in written
    assert not any(secret in written for secret in SECRETS)
    assert len(written.splitlines()) >= 3


def test_other_words_stay() -> None:
    """Nothing is hidden that is no secret."""
    text = "plan p1 of cluster c1: 3 moves, https://host.example:8470/api/v1/plans?limit=3"
    assert redacted(text) == text
