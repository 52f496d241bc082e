"""What is installed with the service can be read by those who are to read it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

METRIC = re.compile(r"\bforeswap_[a-z_]+")


def without(reason: str) -> None:
    """Skip a check for want of a tool; fail where CI is to have it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def deploy(repository: Path) -> Path:
    """Folder of what is installed."""
    return repository / "deploy"


def families(repository: Path) -> set[str]:
    """Return the names that figures are declared by."""
    source = (repository / "service" / "metrics.py").read_text(encoding="utf-8")
    return set(re.findall(r'"(foreswap_[a-z_]+)"', source))


def series(repository: Path) -> set[str]:
    """Return the names under which Prometheus may find them."""
    forms = ("", "_total", "_bucket", "_count", "_sum")
    return {name + form for name in families(repository) for form in forms}


def test_alerts_name_series_there_are(repository: Path, deploy: Path) -> None:
    """An alert on a misspelt name would never fire."""
    text = (deploy / "prometheus" / "foreswap.rules.yml").read_text(encoding="utf-8")
    unknown = set(METRIC.findall(text)) - series(repository)
    assert not unknown


def test_prometheus_accepts_the_alerts(deploy: Path) -> None:
    """By Prometheus' own judgement."""
    if shutil.which("promtool") is None:
        without("alerts cannot be checked: promtool is not installed")
    subprocess.run(
        ["promtool", "check", "rules", str(deploy / "prometheus" / "foreswap.rules.yml")],
        check=True,
        capture_output=True,
    )


def test_the_dashboard_shows_every_series(repository: Path, deploy: Path) -> None:
    """Its panels have names of their own, and together they show all there is."""
    document = json.loads((deploy / "grafana" / "foreswap.json").read_text(encoding="utf-8"))
    panels = document["panels"]
    shown = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in METRIC.findall(target["expr"])
    }
    assert shown <= series(repository)
    missing = [n for n in families(repository) if not any(one.startswith(n) for one in shown)]
    assert not missing
    assert len({panel["title"] for panel in panels}) == len(panels)
