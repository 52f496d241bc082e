"""The process of the runtime, from what it is told to its end.

It ends when it is told to, and when whoever started it has ended: its standard input is then
closed, however that came about. ``service.runtime.beside`` starts it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from typing import Final, TextIO

from service.logs import configure
from service.runtime.drivers import Opener, open_cluster
from service.runtime.keeper import KeeperParams
from service.runtime.leader import LEASE_S, Leader, LeaderParams
from service.runtime.training import NoTrainer, ProcessTrainer
from service.settings import LogSettings
from service.store.sql import open_store
from solver.params import SolveParams

log = logging.getLogger(__name__)

LIMIT_S: Final = 10.0
"""Time that a plan may be searched for."""


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
    options = {"lease_s": told["lease_s"], "training": told["training"]}
    if not run(told["url"], stop, opener=opener, **options):
        # A thread that computes cannot be ended, and whatever is under way survives kill -9.
        log.info("ended in the middle of a forecast")
        logging.shutdown()
        os._exit(0)


def _await_end(source: TextIO, stop: threading.Event) -> None:
    while source.readline():
        pass
    stop.set()
