"""Policies are checked when they are made, and come back from the store as they went in."""

from __future__ import annotations

from typing import Any

import pytest

from service.inventory.policies import ClusterSettings, DriverSettings, Maintenance, VmPolicy
from solver.domain.errors import InvalidInputError


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"priority": 0}, "priority"),
        ({"priority": 11}, "priority"),
        ({"priority": True}, "priority"),
        ({"priority_min": 0}, "priority_min"),
        ({"priority_max": 12}, "priority_max"),
        ({"priority_min": 6, "priority_max": 5}, "priority_max"),
        ({"owner": "a\nb"}, "owner"),
        ({"group": "g" * 256}, "group"),
    ],
)
def test_a_wrong_policy_is_refused(fields: dict[str, Any], path: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInputError) as caught:
        VmPolicy(**fields)
    assert caught.value.path == path


def test_what_was_not_set_is_not_kept() -> None:
    """So that the snapshot decides; an empty text was set, and means none."""
    policy = VmPolicy(priority=7, group="")
    assert policy.to_document() == {"priority": 7, "group": ""}
    assert VmPolicy.from_document(policy.to_document()) == policy


def test_a_field_of_a_later_version_is_ignored() -> None:
    """A replica of the version before can still read what a newer one wrote."""
    assert VmPolicy.from_document({"priority": 7, "colour": "red"}) == VmPolicy(priority=7)


def test_bounds_that_were_not_set_are_those_of_priorities() -> None:
    """An owner may choose any priority unless told otherwise."""
    assert VmPolicy().bounds == (1, 10)
    assert VmPolicy(priority_max=6).bounds == (1, 6)


def test_maintenance_survives_its_document() -> None:
    """The reason comes back."""
    wanted = Maintenance(reason="new disks")
    assert Maintenance.from_document(wanted.to_document()) == wanted


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"name": " "}, "name"),
        ({"time_zone": "Europe/Atlantis"}, "time_zone"),
        ({"time_zone": "../etc/passwd"}, "time_zone"),
        ({"time_zone": ""}, "time_zone"),
    ],
)
def test_wrong_settings_of_a_cluster_are_refused(fields: dict[str, Any], path: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInputError) as caught:
        ClusterSettings(**{"name": "main", **fields})
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"kind": "vmware"}, "driver.kind"),
        ({"kind": "libvirt"}, "driver.hosts_file"),
        ({"kind": "none", "speed": 2.0}, "driver.speed"),
        ({"kind": "simulated", "hosts_file": "hosts.toml"}, "driver.hosts_file"),
        ({"kind": "simulated", "speed": 0.0}, "driver.speed"),
    ],
)
def test_wrong_settings_of_a_driver_are_refused(fields: dict[str, Any], path: str) -> None:
    """A field of another kind of driver is refused as well."""
    with pytest.raises(InvalidInputError) as caught:
        DriverSettings(**fields)
    assert caught.value.path == path


def test_settings_of_a_cluster_survive_their_document() -> None:
    """Name, zone and driver come back."""
    settings = ClusterSettings(
        name="main",
        time_zone="Europe/Rome",
        driver=DriverSettings(kind="simulated", seed=3, speed=60.0),
    )
    assert ClusterSettings.from_document(settings.to_document()) == settings
