"""What tests want of the machine they run on: programs, and systemd's opinion of a unit."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest


def without(reason: str) -> NoReturn:
    """Skip a test for want of something of the machine; fail where CI is to have it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def assert_systemd_accepts(unit: str, copy: Path) -> None:
    """Check that no setting of a unit is misspelt, and that systemd judges its exposure low.

    :param copy: where the unit is written; its programs need not be installed
    """
    if shutil.which("systemd-analyze") is None:
        without("a unit cannot be verified: systemd-analyze is not installed")
    copy.write_text(re.sub(r"^(ExecStart\w*)=\S+", r"\1=/bin/true", unit, flags=re.MULTILINE))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(copy)],
        capture_output=True,
        text=True,
        check=True,
    )
    level = re.search(r"exposure level .*: ([\d.]+)", judged.stdout)
    assert level is not None
    assert float(level[1]) < 2.0
