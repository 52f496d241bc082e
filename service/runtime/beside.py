"""Has the runtime run in a process beside the one that answers requests.

Forecasting and solving hold a processor for seconds; requests must not wait for them. Both meet in
the store alone. Nothing of what the runtime works with is loaded here.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from service.settings import LogSettings

log = logging.getLogger(__name__)

END_S: Final = 9.0
"""Time that the process has to end: longer than a keeper has for what it is in the middle of."""
RESTART_S: Final = 5.0
"""A process that ended by itself is started anew after so long."""
NICENESS: Final = 5
"""Added to the process's, as to the workers'."""


@contextmanager
def runtime_beside(
    url: str, *, lease_s: float, training: bool, log_settings: LogSettings
) -> Iterator[None]:
    """Have the runtime run in a process of its own as long as the block.

    A process that ends by itself is started anew. The URL may hold a password, so it is told by a
    pipe and not on the command line, which others see.
    """
    logs = log_settings.model_dump()
    words = {"url": url, "lease_s": lease_s, "training": training, "log": logs}
    told = json.dumps(words) + "\n"
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(told, stop), name="runtime", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join(timeout=END_S + RESTART_S)


def _watch(told: str, stop: threading.Event) -> None:
    while not stop.is_set():
        process = subprocess.Popen(
            [sys.executable, "-m", "service.runtime"],
            stdin=subprocess.PIPE,
            text=True,
            # Ctrl-C is for whoever answers requests: it ends this process in order.
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")},
        )
        # What is asked is answered first; looking, forecasting and solving can wait a moment.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.nice(0) + NICENESS)
        assert process.stdin is not None
        process.stdin.write(told)
        process.stdin.flush()
        while process.poll() is None and not stop.wait(0.5):
            pass
        if stop.is_set():
            process.stdin.close()
            _end(process)
            return
        log.error("runtime ended by itself with %s; it is started anew", process.returncode)
        stop.wait(RESTART_S)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(timeout=END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
