"""What goes on by itself ends within ten seconds, whatever it is in the middle of."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings
from service.security.principal import Principal, Role
from service.store.sql import open_store
from tests.conftest import REPOSITORY
from tests.plans import crowded_host

ADMIN = Principal(name="ada", role=Role.ADMIN)
STOPPED_S = 10.0

STUCK = """
import threading
from service.runtime.drivers import Opened
from service.runtime.process import main

def telemetry(start_at, end_at):
    print("busy", flush=True)
    threading.Event().wait()

def opener(settings, store, cluster_id, clock):
    return Opened(driver=None, clock=clock, telemetry=telemetry)

main(opener=opener)
"""


@pytest.mark.timeout(240)
def test_it_ends_in_the_middle_of_what_does_not_end(tmp_path: Path) -> None:
    """A forecast that takes for ever is given up; once it was waited for, up to 40 seconds."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = open_store(url)
    now = datetime.now(UTC)
    with store.begin() as tx:
        put_cluster(tx, ADMIN, "c1", ClusterSettings(name="one"), expected_revision=0, now=now)
        keep_snapshot(tx, "c1", crowded_host(), now=now)
    store.close()
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        log = {"level": "info", "format": "text"}
        process.stdin.write(
            json.dumps({"url": url, "lease_s": 5.0, "training": False, "log": log}) + "\n"
        )
        process.stdin.flush()
        assert process.stdout.readline() == "busy\n"
        began_s = time.monotonic()
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert time.monotonic() - began_s < STOPPED_S
    finally:
        process.kill()
        process.wait()
