"""The lab of real hosts for the contract of drivers; it takes what it needs from the lab itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.integration.lab.conftest import MUST_RUN, REASON, LabShelf

if TYPE_CHECKING:
    from tests.contract.kvm_lab import KvmLab


@pytest.fixture(scope="session")
def kvm_cluster() -> Iterator[KvmLab]:
    """Two real hosts and their guests, started once."""
    if REASON is not None:
        if MUST_RUN:
            pytest.fail(REASON)
        pytest.skip(REASON)
    from tests.contract.kvm_lab import KvmLab

    shelf = LabShelf()
    try:
        cluster = KvmLab(shelf.take())
        yield cluster
        cluster.close()
    finally:
        shelf.close()


@pytest.fixture
def kvm_lab(kvm_cluster: KvmLab) -> KvmLab:
    """The two hosts and their guests as every test finds them."""
    kvm_cluster.restore()
    return kvm_cluster
