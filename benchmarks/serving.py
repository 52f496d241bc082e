"""A service of its own for benchmarks: a process on a free port, a store in a folder, a token."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import urllib3

from service.security import tokens
from service.security.principal import Principal, Role
from service.store.sql import open_store

CLUSTER: Final = "bench"
READY_S: Final = 300.0
"""Kernels are compiled once a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A service that runs.

    Parameters
    ----------
    headers, agent_headers
        With which requests of an admin, and of the monitors of cluster ``bench``, are sent.
    """

    url: str
    store_url: str
    process_id: int
    headers: dict[str, str]
    agent_headers: dict[str, str]


@contextmanager
def serving(folder: Path, *, settings: str = "") -> Iterator[Serving]:
    """Run a service with its store in a folder, ready to solve, until the end of the block."""
    (folder / "foreswap.toml").write_text(
        f'[store]\nfolder = "{folder}"\n{settings}', encoding="utf-8"
    )
    headers = _credential(folder, Role.ADMIN)
    agent_headers = _credential(folder, Role.AGENT, CLUSTER)
    command = [sys.executable, "-c", "from service.cli import main; main()", "serve"]
    with (folder / "service.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [*command, "--config", str(folder / "foreswap.toml"), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            url = _listening(process, folder)
            _wait_until_ready(url)
            yield Serving(
                url=url,
                store_url=_store_url(folder),
                process_id=process.pid,
                headers=headers,
                agent_headers=agent_headers,
            )
        finally:
            process.terminate()
            process.wait(60)


def _credential(folder: Path, role: Role, cluster_id: str = "") -> dict[str, str]:
    store = open_store(_store_url(folder))
    try:
        wanted = tokens.NewToken(name=f"bench-{role.value}", role=role, cluster_id=cluster_id)
        with store.begin() as tx:
            maker = Principal(name="benchmark", role=Role.ADMIN)
            secret = tokens.create(tx, maker, wanted, datetime.now(UTC))[1]
    finally:
        store.close()
    return {"Authorization": f"Bearer {secret}"}


def _store_url(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / 'foreswap.db'}"


def _listening(process: subprocess.Popen[str], folder: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"listening on (\S+)", line):
            return found[1]
    raise RuntimeError((folder / "service.log").read_text(encoding="utf-8"))


def _wait_until_ready(url: str) -> None:
    ends_s = time.monotonic() + READY_S
    while urllib3.request("GET", f"{url}/readyz", retries=False, timeout=READY_S).status != 200:
        if time.monotonic() > ends_s:
            raise RuntimeError("the service did not become ready")
        time.sleep(0.1)
