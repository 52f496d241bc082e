"""From a clean checkout: installed as the README says, without anything kept from before."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import newcomer
from tests.conftest import REPOSITORY
from tests.machine import without
from tests.served import served_by, surroundings


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_a_clean_checkout_to_a_finished_plan(tmp_path: Path) -> None:
    """Cloned into an empty folder, with a home of its own: installed, served and walked through."""
    for tool in ("git", "make"):
        if shutil.which(tool) is None:
            without(f"nothing can be cloned and installed: {tool} is not installed")
    checkout, home = tmp_path / "foreswap", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, checkout], check=True)
    # Where packages come from is a matter of this machine; what came before is not used.
    reached = {name: os.environ[name] for name in os.environ if name.startswith("PIP_")}
    proxies = {name: os.environ[name] for name in os.environ if name.lower().endswith("_proxy")}
    environment = surroundings(home, **reached, **proxies, PIP_NO_CACHE_DIR="1")
    for name in ("NUMBA_CACHE_DIR", "VIRTUAL_ENV"):
        environment.pop(name, None)
    subprocess.run(["make", "setup"], cwd=checkout, env=environment, check=True)
    command = checkout / ".venv" / "bin" / "foreswap"
    with served_by(command, home, "--demo") as service:
        newcomer.walk(service)
        assert service.stop() == 0
