"""The example of the documentation works as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.serving import serving

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.timeout(300)
def test_the_complete_example_solves(tmp_path: Path) -> None:
    """What a reader copies into a shell is answered with a plan that relieves the hot host."""
    page = (REPOSITORY / "docs" / "solve-api.md").read_text(encoding="utf-8")
    example = re.search(r"```sh\n(.*?)```", page, flags=re.DOTALL)
    assert example is not None
    with serving(tmp_path) as service:
        token = service.headers["Authorization"].removeprefix("Bearer ")
        told = subprocess.run(
            ["sh", "-e", "-c", example[1]],
            cwd=tmp_path,
            env=os.environ | {"FORESWAP_URL": service.url, "FORESWAP_TOKEN": token},
            capture_output=True,
            text=True,
            check=True,
        )
    result = json.loads(told.stdout)
    assert result["status"] in ("optimal", "feasible")
    assert len(result["plan"]["steps"]) == 1
    assert result["after"]["host_s"]["contention"] == 0
