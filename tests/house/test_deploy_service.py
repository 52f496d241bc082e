"""What is installed with the service can be read by those who are to read it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.settings import load_settings
from tests.machine import assert_systemd_accepts, without

UNIT = "foreswap.service"
METRIC = re.compile(r"\bforeswap_[a-z_]+")


@pytest.fixture(scope="module")
def deploy(repository: Path) -> Path:
    """Folder of what is installed."""
    return repository / "deploy"


@pytest.fixture(scope="module")
def unit(deploy: Path) -> str:
    """Text of the service's unit."""
    return (deploy / "service" / UNIT).read_text(encoding="utf-8")


def families(repository: Path) -> set[str]:
    """Return the names that figures are declared by."""
    source = (repository / "service" / "metrics.py").read_text(encoding="utf-8")
    return set(re.findall(r'"(foreswap_[a-z_]+)"', source))


def series(repository: Path) -> set[str]:
    """Return the names under which Prometheus may find them."""
    forms = ("", "_total", "_bucket", "_count", "_sum")
    return {name + form for name in families(repository) for form in forms}


def test_systemd_accepts_the_unit(unit: str, tmp_path: Path) -> None:
    """No setting is misspelt, and its exposure is low by systemd's own judgement."""
    assert_systemd_accepts(unit, tmp_path / UNIT)


def test_the_unit_needs_no_rights(unit: str) -> None:
    """It is not root, has no capabilities, and writes to its own folders only."""
    for line in ("User=foreswap", "CapabilityBoundingSet=", "ProtectSystem=strict"):
        assert re.search(rf"^{re.escape(line)}$", unit, flags=re.MULTILINE)


def test_the_sample_settings_are_right(deploy: Path, tmp_path: Path) -> None:
    """As they are, and with everything that is commented out."""
    sample = deploy / "service" / "foreswap.toml"
    assert load_settings(sample, {}).server.is_local
    text = re.sub(r"^# (?=\w+ = )", "", sample.read_text(encoding="utf-8"), flags=re.MULTILINE)
    enabled = tmp_path / "foreswap.toml"
    enabled.write_text(text, encoding="utf-8")
    assert load_settings(enabled, {}).server.has_tls


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


def test_the_container_is_not_root(deploy: Path) -> None:
    """It has a user and a health check, and everything it copies is there."""
    text = (deploy / "container" / "Containerfile").read_text(encoding="utf-8")
    assert re.search(r"^USER foreswap$", text, flags=re.MULTILINE)
    assert "HEALTHCHECK" in text
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE):
        assert all((deploy.parent / name).exists() for name in line.split())
