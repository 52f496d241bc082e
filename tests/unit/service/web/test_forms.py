"""Forms of clusters and tokens: what was typed becomes what is meant, or names its field."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from service.inventory.policies import DriverSettings
from service.web.cluster_form import DRIVERS, next_steps, settings_typed
from service.web.fields import placed
from service.web.token_form import reach, token_typed
from solver.domain.errors import InvalidInputError
from tests.builders import NOW


def test_fields_of_another_driver_do_not_count() -> None:
    """They are hidden, and keep what was typed in case it is chosen again."""
    typed = {"name": "One", "time_zone": "UTC", "driver.kind": "simulated", "driver.speed": 2}
    settings = settings_typed({**typed, "driver.hosts_file": "/etc/hosts.toml", "id": "c1"})
    assert settings.driver == DriverSettings(kind="simulated", speed=2.0)
    assert settings_typed({"name": "One"}).driver == DriverSettings()


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ({"name": "One", "driver.kind": "libvirt"}, "driver.hosts_file"),
        ({"name": "One", "time_zone": "Mars/Olympus"}, "time_zone"),
        ({"name": "One", "driver.kind": "simulated", "driver.speed": -1}, "driver.speed"),
        ({"driver.kind": "none"}, "name"),
        ({"name": "One", "driver.kind": "odd"}, "driver.kind"),
    ],
)
def test_wrong_settings_name_the_field(typed: dict[str, Any], path: str) -> None:
    """So that it is told where it is wrong."""
    with pytest.raises(InvalidInputError) as caught:
        settings_typed(typed)
    [beside], apart = placed(caught.value, [path])
    assert beside.startswith("expected") or "missing" in beside
    assert apart == ""


def test_every_driver_has_a_next_step() -> None:
    """It names the cluster, so that commands can be copied."""
    for kind in DRIVERS:
        assert any("prod-1" in command for _, command in next_steps("prod-1", kind))


def test_a_token_is_made_of_what_was_typed() -> None:
    """It ends so many days from now, or never."""
    typed = {"name": "t1", "role": "agent", "cluster_id": "c1", "host_id": "h1"}
    token = token_typed({**typed, "lifetime_days": "30", "owner": None}, NOW)
    assert token.expires_at == NOW + timedelta(days=30)
    assert token_typed({**typed, "lifetime_days": ""}, NOW).expires_at is None
    assert reach({"cluster_id": "", "host_id": "", "owner": ""}) == "everything"


@pytest.mark.parametrize(
    ("typed", "path"),
    [
        ({"name": "a b", "role": "viewer"}, "name"),
        ({"name": "t1", "role": "king"}, "role"),
        ({"name": "t1", "role": "agent"}, "cluster_id"),
        ({"name": "t1", "role": "viewer", "lifetime_days": "7"}, "lifetime_days"),
        ({"name": "t1", "role": "owner"}, "owner"),
        ({"name": "t1", "role": "viewer", "host_id": "h1"}, "host_id"),
    ],
)
def test_wrong_tokens_name_the_field(typed: dict[str, str], path: str) -> None:
    """So that it is told where it is wrong."""
    with pytest.raises(InvalidInputError) as caught:
        token_typed(typed, NOW)
    assert caught.value.path == path
