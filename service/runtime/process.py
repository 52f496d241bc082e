"""The runtime as a process beside the one that answers requests.

Forecasting and solving hold a processor for seconds; requests must not wait for them. Both meet in
the store alone. The process ends when it is told to, and when whoever started it has ended: its
standard input is then closed, however that came about.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from service.logs import configure
from service.runtime.drivers import Opener, open_cluster
from service.runtime.keeper import KeeperParams
from service.runtime.leader import LEASE_S, Leader, LeaderParams
from service.runtime.training import NoTrainer, ProcessTrainer
from service.settings import LogSettings
from service.store.sql import open_store
from solver.solve import SolveParams

log = logging.getLogger(__name__)

LIMIT_S: Final = 10.0
"""Time that a plan may be searched for."""
END_S: Final = 9.0
"""Time that the process has to end: longer than a keeper has for what it is in the middle of."""
RESTART_S: Final = 5.0
"""A process that ended by itself is started anew after so long."""


def run(
    url: str,
    stop: threading.Event,
    *,
    lease_s: float = LEASE_S,
    opener: Opener = open_cluster,
    training: bool = True,
    params: KeeperParams | None = None,
) -> bool:
    """Lead, or wait to, until it is time to stop; return whether all has come to an end by then.

    What has not is in the middle of a forecast, and would act no more: the process may be ended.

    Parameters
    ----------
    url
        Of the store.
    training
        Whether forecast models are trained.
    """
    store = open_store(url)
    keeper = params or KeeperParams(solve=SolveParams(limit_s=LIMIT_S))
    leader = Leader(
        store,
        params=LeaderParams(lease_s=lease_s, keeper=keeper),
        opener=opener,
        make_trainer=(lambda: ProcessTrainer(store, url)) if training else NoTrainer,
    )
    try:
        leader.run(stop)
    finally:
        ended = leader.close()
        if ended:
            store.close()
    return ended


def main(source: TextIO | None = None, *, opener: Opener = open_cluster) -> None:
    """Run as told in the first line of standard input, until it is closed."""
    source = source or sys.stdin
    told = json.loads(source.readline())
    configure(LogSettings(**told["log"]))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_await_end, args=(source, stop), daemon=True).start()
    if not run(told["url"], stop, lease_s=told["lease_s"], opener=opener):
        # A thread that computes cannot be ended, and whatever is under way survives kill -9.
        log.info("ended in the middle of a forecast")
        logging.shutdown()
        os._exit(0)


def _await_end(source: TextIO, stop: threading.Event) -> None:
    while source.readline():
        pass
    stop.set()


@contextmanager
def runtime_beside(
    url: str, *, lease_s: float = LEASE_S, log_settings: LogSettings | None = None
) -> Iterator[None]:
    """Have the runtime run in a process of its own as long as the block.

    A process that ends by itself is started anew. The URL may hold a password, so it is told by a
    pipe and not on the command line, which others see.
    """
    logs = (log_settings or LogSettings()).model_dump()
    told = json.dumps({"url": url, "lease_s": lease_s, "log": logs}) + "\n"
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
