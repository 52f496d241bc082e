"""The lab that tests on real hosts share, started once a process and fresh for each test.

Where the lab cannot run, its modules are not even imported, and one line says why; with CI=true
that is an error.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.lab.requirements import LabUnavailableError, require

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab

NUM_HOSTS = 4


def _unavailable() -> str | None:
    try:
        require()
    except LabUnavailableError as error:
        return f"no lab of real hosts here: {error}"
    return None


REASON = _unavailable()
MUST_RUN = os.environ.get("CI") == "true"


class ModuleWithoutLab(pytest.Module):
    """A test module that is skipped before it imports what is missing."""

    def collect(self) -> Iterator[pytest.Item]:
        """Skip."""
        pytest.skip(str(REASON), allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> object:
    """Skip test modules where there is no lab."""
    if REASON is None or MUST_RUN:
        return None
    return ModuleWithoutLab.from_parent(parent, path=module_path)


class LabShelf:
    """Keeps a lab between tests, and remembers why there can be none."""

    def __init__(self) -> None:
        self._lab: Lab | None = None
        self._reason = REASON

    def take(self) -> Lab:
        """Return a lab without faults and guests; skip the test if there can be none."""
        if self._reason is None and self._lab is None:
            try:
                self._lab = self._start()
            except LabUnavailableError as error:
                self._reason = f"no lab of real hosts here: {error}"
        if self._lab is not None:
            return self._lab
        if MUST_RUN:
            pytest.fail(f"CI must test on real hosts: {self._reason}")
        pytest.skip(str(self._reason))

    @staticmethod
    def _start() -> Lab:
        from tests.integration.lab.hosts import Lab

        lab = Lab(num_hosts=NUM_HOSTS)
        lab.start()
        return lab

    def give_back(self) -> None:
        """Make the lab fresh again, or throw it away if it cannot be mended."""
        import libvirt

        assert self._lab is not None
        beyond_repair = (
            libvirt.libvirtError,
            TimeoutError,
            RuntimeError,
            subprocess.SubprocessError,
        )
        try:
            self._lab.reset()
        except beyond_repair:
            self.close()
            raise

    def close(self) -> None:
        """Remove the lab, if there is one."""
        if self._lab is not None:
            self._lab.close()
            self._lab = None


@pytest.fixture(scope="session")
def lab_shelf() -> Iterator[LabShelf]:
    """Where the lab of this process is kept."""
    shelf = LabShelf()
    yield shelf
    shelf.close()


@pytest.fixture
def lab(lab_shelf: LabShelf) -> Iterator[Lab]:
    """Four real hosts, linked, without guests."""
    yield lab_shelf.take()
    lab_shelf.give_back()
