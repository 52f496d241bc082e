"""Resources, their units, and the limits within which numbers are sane.

Amounts are whole numbers in one unit per resource everywhere inside foreswap, so that a mebibyte
is never taken for a megabyte: conversion happens once, where data comes in.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, NewType

from solver.domain.errors import InvalidInputError

HostId = NewType("HostId", str)
VmId = NewType("VmId", str)

MAX_AMOUNT: Final = 2**31 - 1
"""Largest accepted amount of one resource: 2,147,483 cores, 2 PiB of memory, 2 TiB/s.

Beyond it a number is a unit error, and sums over 100,000 VMs would no longer fit 64 bits once
multiplied by a cost.
"""


class Resource(enum.IntEnum):
    """A resource of the product; its value is its position in every array."""

    CPU = 0
    MEMORY = 1
    DISK_IO = 2
    NET_IO = 3

    @property
    def field(self) -> str:
        """Name with unit, as documents spell it."""
        return FIELDS[self]


FIELDS: Final = ("cpu_millicores", "memory_mib", "disk_io_kib_per_s", "net_io_kib_per_s")
NUM_RESOURCES: Final = len(FIELDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """A whole, non-negative amount of each resource.

    Raises
    ------
    InvalidInputError
        If an amount is negative, not an integer, or above ``MAX_AMOUNT``.
    """

    cpu_millicores: int = 0
    memory_mib: int = 0
    disk_io_kib_per_s: int = 0
    net_io_kib_per_s: int = 0

    def __post_init__(self) -> None:
        for name, value in zip(FIELDS, self.as_tuple(), strict=True):
            require_amount(value, name)

    def as_tuple(self) -> tuple[int, int, int, int]:
        """Amounts in the order of :class:`Resource`."""
        return (
            self.cpu_millicores,
            self.memory_mib,
            self.disk_io_kib_per_s,
            self.net_io_kib_per_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A capacity per resource; ``None`` means unlimited or unknown, and is never exceeded.

    Raises
    ------
    InvalidInputError
        If a limit is negative, not an integer, or above ``MAX_AMOUNT``.
    """

    cpu_millicores: int | None = None
    memory_mib: int | None = None
    disk_io_kib_per_s: int | None = None
    net_io_kib_per_s: int | None = None

    def __post_init__(self) -> None:
        for name, value in zip(FIELDS, self.as_tuple(), strict=True):
            if value is not None:
                require_amount(value, name)

    def as_tuple(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Limits in the order of :class:`Resource`."""
        return (
            self.cpu_millicores,
            self.memory_mib,
            self.disk_io_kib_per_s,
            self.net_io_kib_per_s,
        )


def require_amount(value: int, path: str) -> None:
    """Raise ``InvalidInputError`` unless ``value`` is an integer in ``0..MAX_AMOUNT``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(
            f"expected a whole number, got {value!r} ({type(value).__name__})", path=path
        )
    if not 0 <= value <= MAX_AMOUNT:
        raise InvalidInputError(f"expected 0..{MAX_AMOUNT}, got {value}", path=path)
