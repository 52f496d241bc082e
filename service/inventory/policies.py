"""What is wanted of VMs, hosts and clusters, as the store keeps it: frozen, and checked when made.

A policy says only what was set: what is ``None`` is left to the snapshot.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

from service.store.base import Document
from solver.domain.cluster import MAX_PRIORITY, MIN_PRIORITY
from solver.domain.errors import InvalidInputError
from solver.domain.zones import time_zone

MAX_TEXT: Final = 255
"""Characters of a name; of a reason four times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPolicy:
    """What is wanted of one VM.

    Parameters
    ----------
    priority
        1-10; instead of the snapshot's.
    priority_min, priority_max
        Bounds within which its owner may choose the priority. They bind nobody else.
    owner
        Name of the user, or of the tenant, that sees the VM and may set its priority.
    group, app_type
        Instead of the snapshot's; empty for none.
    """

    priority: int | None = None
    priority_min: int | None = None
    priority_max: int | None = None
    owner: str | None = None
    group: str | None = None
    app_type: str | None = None

    def __post_init__(self) -> None:
        for name in ("priority", "priority_min", "priority_max"):
            _require_priority(getattr(self, name), name)
        for name in ("owner", "group", "app_type"):
            _require_text(getattr(self, name), name, most=MAX_TEXT)
        least, most = self.bounds
        if least > most:
            raise InvalidInputError(
                f"expected no less than priority_min ({least}), got {most}", path="priority_max"
            )

    @property
    def bounds(self) -> tuple[int, int]:
        """Lowest and highest priority that the owner may choose."""
        return (
            MIN_PRIORITY if self.priority_min is None else self.priority_min,
            MAX_PRIORITY if self.priority_max is None else self.priority_max,
        )

    def to_document(self) -> dict[str, Any]:
        """Return what was set."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_document(cls, document: Document) -> VmPolicy:
        """Return the policy of a kept document; fields of later versions are ignored."""
        return cls(**{name: document[name] for name in _VM_FIELDS if name in document})


_VM_FIELDS: Final = tuple(field.name for field in fields(VmPolicy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """A host is to be emptied and to stay empty.

    Parameters
    ----------
    reason
        For people; may be empty.
    """

    reason: str = ""

    def __post_init__(self) -> None:
        _require_text(self.reason, "reason", most=4 * MAX_TEXT)

    def to_document(self) -> dict[str, Any]:
        """Return it as the store keeps it."""
        return {"maintenance": True, "reason": self.reason}

    @classmethod
    def from_document(cls, document: Document) -> Maintenance:
        """Return the maintenance of a kept document."""
        return cls(reason=document.get("reason", ""))


DriverKind = Literal["none", "simulated", "libvirt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverSettings:
    """How a cluster is seen and acted on.

    Parameters
    ----------
    kind
        ``none``: snapshots are put by others, and plans are recommendations. ``simulated``: it
        lives in the service, from the last snapshot on. ``libvirt``: real hosts.
    hosts_file
        Of ``libvirt``: the file that says how they are connected, on the service's machine.
    seed, speed
        Of ``simulated``: what its chances are drawn from, and how many times faster than real
        time it lives.
    """

    kind: DriverKind = "none"
    hosts_file: str | None = None
    seed: int | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        allowed = DRIVER_FIELDS.get(self.kind)
        if allowed is None:
            raise InvalidInputError(
                f"expected one of {', '.join(DRIVER_FIELDS)}, got {self.kind!r}", path="driver.kind"
            )
        for name in ("hosts_file", "seed", "speed"):
            if getattr(self, name) is not None and name not in allowed:
                raise InvalidInputError(
                    f"expected no such field with a driver of kind {self.kind!r}, "
                    f"got {getattr(self, name)!r}",
                    path=f"driver.{name}",
                )
        if self.kind == "libvirt" and not self.hosts_file:
            raise InvalidInputError(
                f"expected the name of a file, got {self.hosts_file!r}", path="driver.hosts_file"
            )
        if self.speed is not None and not 0 < self.speed <= MAX_SPEED:
            raise InvalidInputError(
                f"expected a factor above 0, at most {MAX_SPEED:g}, got {self.speed}",
                path="driver.speed",
            )

    def to_document(self) -> dict[str, Any]:
        """Return what was set."""
        return {name: value for name, value in asdict(self).items() if value is not None}


DRIVER_FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "none": (),
    "simulated": ("seed", "speed"),
    "libvirt": ("hosts_file",),
}
"""What each kind of driver may be told."""

MAX_SPEED: Final = 10_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """A cluster's name for people, its time zone, and its driver.

    Parameters
    ----------
    time_zone
        IANA name; its calendar is meant where a schedule or a chart names a time of day.
    """

    name: str
    time_zone: str = "UTC"
    driver: DriverSettings = DriverSettings()

    def __post_init__(self) -> None:
        _require_text(self.name, "name", most=MAX_TEXT)
        if not self.name.strip():
            raise InvalidInputError(f"expected a name, got {self.name!r}", path="name")
        time_zone(self.time_zone)

    def to_document(self) -> dict[str, Any]:
        """Return them as the store keeps them."""
        return {
            "name": self.name,
            "time_zone": self.time_zone,
            "driver": self.driver.to_document(),
        }

    @classmethod
    def from_document(cls, document: Document) -> ClusterSettings:
        """Return the settings of a kept document."""
        driver = document.get("driver", {})
        known = ("kind", "hosts_file", "seed", "speed")
        return cls(
            name=document["name"],
            time_zone=document.get("time_zone", "UTC"),
            driver=DriverSettings(**{name: driver[name] for name in known if name in driver}),
        )


def _require_priority(value: int | None, path: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"expected a whole number, got {value!r}", path=path)
    if not MIN_PRIORITY <= value <= MAX_PRIORITY:
        raise InvalidInputError(f"expected {MIN_PRIORITY}..{MAX_PRIORITY}, got {value}", path=path)


def _require_text(value: str | None, path: str, *, most: int) -> None:
    if value is not None and (len(value) > most or not value.isprintable()):
        raise InvalidInputError(
            f"expected at most {most} printable characters, got {value!r:.80}", path=path
        )
