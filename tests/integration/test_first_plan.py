"""The newcomer's path: from a clean home to a plan that was carried out, simulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import newcomer
from tests.served import UNTRAINED, served


@pytest.mark.timeout(400)
def test_from_a_clean_home_to_a_finished_plan(tmp_path: Path) -> None:
    """Every step of the path is answered, and the service ends as it is told."""
    with served(tmp_path, "--demo", **UNTRAINED) as service:
        newcomer.walk(service)
        assert service.stop() == 0
