"""A driver of real hosts from the files an operator gives; the only place that loads libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from service.hosts_file import read_hosts
from solver.domain.errors import PermanentError
from solver.instances import read_cluster

if TYPE_CHECKING:
    from executor.kvm.config import KvmConfig
    from executor.kvm.driver import KvmDriver


@contextmanager
def connect(hosts: Path, policy: Path | None = None) -> Iterator[KvmDriver]:
    """Yield the driver of the hosts in a file; connections are closed at the end.

    Raises
    ------
    InvalidInputError
        If a file is wrong.
    PermanentError
        If libvirt's Python binding is not installed.
    """
    config = read_hosts(hosts, None if policy is None else read_cluster(policy))
    driver = open_driver(config)
    try:
        yield driver
    finally:
        driver.close()


def open_driver(config: KvmConfig) -> KvmDriver:
    """Return the driver of hosts, to be closed.

    Raises
    ------
    PermanentError
        If libvirt's Python binding is not installed.
    """
    try:
        from executor.kvm.driver import KvmDriver
    except ImportError as error:
        raise PermanentError(
            "real hosts need libvirt's Python binding: install libvirt's header files (Debian: "
            "libvirt-dev, pkg-config, gcc), then foreswap with the extra 'libvirt'"
        ) from error
    return KvmDriver(config)
