"""The settings of a cluster as fields of a form, and what is to be done after connecting one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from service.api.clusters import ClusterBody, settings_of
from service.inventory.policies import DRIVER_FIELDS, ClusterSettings
from service.web.fields import nested, validated, without_empty

DRIVERS: Final = {
    "libvirt": "Real hosts, by libvirt",
    "simulated": "Simulated, from a snapshot on",
    "none": "None: told by documents",
}
"""Kinds of drivers in words."""

DRIVER_KIND: Final = "driver.kind"


def settings_typed(by_path: Mapping[str, Any]) -> ClusterSettings:
    """Return the settings that were typed; what is of another driver does not count.

    Raises
    ------
    InvalidInputError
        With everything that is wrong.
    """
    kind = str(by_path.get(DRIVER_KIND) or "none")
    allowed = {DRIVER_KIND, *(f"driver.{name}" for name in DRIVER_FIELDS.get(kind, ()))}
    meant = {
        path: value
        for path, value in without_empty(by_path).items()
        if path != "id" and (not path.startswith("driver.") or path in allowed)
    }
    return settings_of(validated(ClusterBody, nested(meant)))


def next_steps(cluster_id: str, kind: str) -> list[tuple[str, str]]:
    """Return what is to be done so that something is seen of a cluster: why, and the command."""
    return [
        (why, command.replace("CLUSTER", cluster_id))
        for why, command in _STEPS.get(kind, _STEPS["none"])
    ]


_AGENT: Final = (
    "For history and forecasts, let a monitor run on each host, with a token of its own:",
    "foreswap token create HOST --role agent --cluster CLUSTER --host HOST",
)
_UPLOAD: Final = "foreswap cluster upload CLUSTER cluster.json"

_STEPS: Final = {
    "libvirt": [
        (
            "The service looks at the hosts of the file by itself, and shows them here within a "
            "minute. Whether it can be read is told by:",
            "foreswap snapshot FILE",
        ),
        _AGENT,
    ],
    "simulated": [("Upload a snapshot; the cluster lives in the service from then on.", _UPLOAD)],
    "none": [
        (
            "Upload a snapshot whenever the cluster changes. Plans are made, and carried out by "
            "nobody.",
            _UPLOAD,
        ),
        _AGENT,
    ],
}
