"""Makes up a workload with the statistics of a real fleet of managed VMs.

The classes and figures are those of the Bitbrains fastStorage trace [1]_: most VMs idle, a third
carries nearly all the load, few have a clear day, some are saturated, levels shift for good, and
VMs move together, so that the fleet's variance is many times that of independent VMs. It serves
where the trace cannot: in a demonstration, in tests. It is no substitute for it in measurements.

References
----------
.. [1] Shen, van Beek and Iosup (2015). Statistical Characterization of Business-Critical Workloads
   Hosted in Cloud Datacenters. CCGrid 2015. doi:10.1109/CCGrid.2015.60.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from executor.simulation.workload import BIN_SECONDS, TraceWorkload
from solver.domain.cluster import VM
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, Amounts, Resource, VmId

FloatArray = npt.NDArray[np.float64]
DAY_SECONDS: Final = 86_400
_STARTS_LOW: Final = 0.3


class LoadClass(enum.Enum):
    """How a VM uses its CPU."""

    IDLE = "idle"
    """99 % of its readings are below 5 % of its vCPUs."""
    LOW = "low"
    BURSTY = "bursty"
    DIURNAL = "diurnal"
    SATURATED = "saturated"
    """Wants at least all it has for hours at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorParameters:
    """Settings of :func:`generate`; defaults give the figures of the real fleet.

    Raises
    ------
    InvalidInputError
        If shares do not add up to 1 or a value is out of its range.
    """

    num_vms: int = 400
    num_bins: int = 28 * DAY_SECONDS // BIN_SECONDS
    share_idle: float = 0.59
    share_low: float = 0.10
    share_bursty: float = 0.14
    share_diurnal: float = 0.09
    share_saturated: float = 0.08
    shifts_per_week: float = 0.24
    """Lasting changes of level of a busy VM; with it 43 % of them change their weekly mean by
    more than 2x within four weeks."""
    vms_per_group: float = 8.0
    """Mean size of an application group, whose VMs move together."""
    day_starts_hour: float = 6.0
    """When the working day begins, in hours UTC."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInputError(f"expected 0 or more, got {value}", path=item.name)
        for name in ("num_vms", "num_bins", "vms_per_group"):
            if getattr(self, name) < 1:
                raise InvalidInputError("expected at least 1, got 0", path=name)
        if abs(sum(self.shares) - 1) > 1e-9:
            raise InvalidInputError(
                f"expected shares that add up to 1, got {sum(self.shares)}", path="shares"
            )

    @property
    def shares(self) -> tuple[float, float, float, float, float]:
        """Share of each class, in the order of :class:`LoadClass`."""
        return (
            self.share_idle,
            self.share_low,
            self.share_bursty,
            self.share_diurnal,
            self.share_saturated,
        )


class GeneratedWorkload(TraceWorkload):
    """A made-up workload, and what it was made from.

    Parameters
    ----------
    readings
        Demand, shape ``(num_resources, num_vms, num_bins)``, ``float32``, as telemetry would tell
        it: a forecaster may learn from its past.
    vms
        The VMs without a host: size, group, application type, dirty rate, default priority.
    classes
        Of each VM.
    """

    def __init__(
        self,
        *,
        start_at: datetime,
        readings: npt.NDArray[np.float32],
        vms: tuple[VM, ...],
        classes: tuple[LoadClass, ...],
    ) -> None:
        super().__init__(
            vm_ids=tuple(vm.id for vm in vms),
            start_at=start_at,
            readings=readings,
            state=np.zeros(readings.shape[1:], dtype=np.uint8),
        )
        self.readings = readings
        self.vms = vms
        self.classes = classes


def generate(
    rng: np.random.Generator,
    start_at: datetime,
    parameters: GeneratorParameters | None = None,
) -> GeneratedWorkload:
    """Return a workload drawn from the generator; the same for the same seed.

    Parameters
    ----------
    start_at
        Start of the first bin, aware UTC; decides the time of day.
    """
    p = parameters or GeneratorParameters()
    kinds = _draw_classes(rng, p)
    groups = rng.integers(0, max(1, round(p.num_vms / p.vms_per_group)), p.num_vms)
    vcpus = rng.choice([1, 2, 4, 8, 16], size=p.num_vms, p=[0.25, 0.3, 0.3, 0.1, 0.05])
    memory_mib = 1024 * vcpus * rng.choice([2, 4, 8], size=p.num_vms, p=[0.4, 0.4, 0.2])
    share = _cpu_shares(rng, start_at, p, kinds, groups)
    vms = tuple(
        VM(
            id=VmId(f"vm{v + 1:04d}"),
            allocation=Amounts(cpu_millicores=int(vcpus[v]) * 1000, memory_mib=int(memory_mib[v])),
            group=f"app{int(groups[v]) + 1:03d}",
            app_type=kinds[v].value,
            dirty_mib_per_s=_dirty_rate(share[v], int(vcpus[v])),
        )
        for v in range(p.num_vms)
    )
    return GeneratedWorkload(
        start_at=start_at,
        readings=_readings(rng, share, vcpus, memory_mib),
        vms=vms,
        classes=kinds,
    )


def _draw_classes(rng: np.random.Generator, p: GeneratorParameters) -> tuple[LoadClass, ...]:
    """Return classes in exactly the shares asked for, to within one VM, in random order."""
    edges = np.rint(np.cumsum(p.shares) * p.num_vms).astype(int)
    drawn = np.searchsorted(edges, np.arange(p.num_vms), side="right")
    kinds = list(LoadClass)
    return tuple(kinds[min(int(k), len(kinds) - 1)] for k in rng.permutation(drawn))


def _cpu_shares(
    rng: np.random.Generator,
    start_at: datetime,
    p: GeneratorParameters,
    kinds: tuple[LoadClass, ...],
    groups: npt.NDArray[np.int64],
) -> FloatArray:
    """Return CPU demand as a share of the VM's vCPUs, shape ``(num_vms, num_bins)``."""
    num_groups = int(groups.max()) + 1
    fleet = _slow_noise(rng, 1, p.num_bins, hours=6.0)[0]
    by_group = _slow_noise(rng, num_groups, p.num_bins, hours=2.0)
    bursts = _bursts(rng, num_groups, p.num_bins)
    own_of = _slow_noise(rng, p.num_vms, p.num_bins, hours=1.0)
    day = _working_day(start_at, p)
    share = np.empty((p.num_vms, p.num_bins))
    for v, kind in enumerate(kinds):
        group = int(groups[v])
        own = own_of[v]
        together = 0.45 * fleet + 0.25 * by_group[group]
        if kind is LoadClass.IDLE:
            share[v] = rng.uniform(0.002, 0.02) * np.exp(0.25 * own)
            continue
        level = _levels(rng, p)
        if kind is LoadClass.LOW:
            shape = rng.uniform(0.05, 0.12) * np.exp(0.3 * own + together)
        elif kind is LoadClass.BURSTY:
            floor = rng.uniform(0.05, 0.15)
            height = rng.uniform(0.4, 1.0) * bursts[group]
            shape = (floor + height) * np.exp(0.35 * own + together)
        elif kind is LoadClass.DIURNAL:
            low, high = rng.uniform(0.05, 0.15), rng.uniform(0.4, 0.8)
            shape = (low + (high - low) * day) * np.exp(0.15 * own + together)
        else:
            shape = rng.uniform(0.55, 0.95) * np.exp(0.2 * own + together)
        share[v] = np.minimum(shape * level, 1.0)
    return share


def _slow_noise(rng: np.random.Generator, rows: int, num_bins: int, *, hours: float) -> FloatArray:
    """Return standard normal noise with an exponential memory of ``hours``."""
    keep = math.exp(-BIN_SECONDS / (hours * 3600))
    fresh = rng.standard_normal((rows, num_bins)) * math.sqrt(1 - keep * keep)
    fresh[:, 0] = rng.standard_normal(rows)
    noise = np.empty_like(fresh)
    state = np.zeros(rows)
    for t in range(num_bins):
        state = keep * state + fresh[:, t]
        noise[:, t] = state
    return noise


def _bursts(rng: np.random.Generator, num_groups: int, num_bins: int) -> FloatArray:
    """Return 0/1 jobs of each group: some a day, ten minutes to two hours long."""
    active = np.zeros((num_groups, num_bins))
    per_bin = 4.0 * BIN_SECONDS / DAY_SECONDS
    for group in range(num_groups):
        for start in np.flatnonzero(rng.random(num_bins) < per_bin):
            active[group, start : start + int(rng.integers(2, 25))] = 1.0
    return active


def _levels(rng: np.random.Generator, p: GeneratorParameters) -> FloatArray:
    """Return a factor that shifts for good now and then: full, or 2.5 to 6 times less."""
    per_bin = p.shifts_per_week * BIN_SECONDS / (7 * DAY_SECONDS)
    shifts = np.cumsum(rng.random(p.num_bins) < per_bin)
    starts_low = int(rng.random() < _STARTS_LOW)
    lows = np.exp(-rng.uniform(math.log(2.5), math.log(6.0), int(shifts[-1]) + 2))
    level: FloatArray = np.where((shifts + starts_low) % 2 == 0, 1.0, lows[shifts])
    return level


def _working_day(start_at: datetime, p: GeneratorParameters) -> FloatArray:
    """Return a smooth hump of the working hours, 0 to 1, smaller on weekends."""
    seconds = np.arange(p.num_bins) * BIN_SECONDS
    midnight = start_at.replace(hour=0, minute=0, second=0, microsecond=0)
    since = seconds + (start_at - midnight).total_seconds()
    hour = since / 3600 % 24
    weekday = (midnight.weekday() + since // DAY_SECONDS) % 7
    hump = np.clip(np.sin(np.pi * (hour - p.day_starts_hour) / 12.0), 0.0, None)
    return np.where((hour >= p.day_starts_hour) & (hour < p.day_starts_hour + 12), hump, 0.0) * (
        np.where(weekday < 5, 1.0, 0.4)
    )


def _readings(
    rng: np.random.Generator,
    share: FloatArray,
    vcpus: npt.NDArray[np.int64],
    memory_mib: npt.NDArray[np.int64],
) -> npt.NDArray[np.float32]:
    """Return demand of the four resources from the share of CPU wanted."""
    num_vms, num_bins = share.shape
    readings = np.empty((NUM_RESOURCES, num_vms, num_bins), dtype=np.float32)
    readings[Resource.CPU] = share * vcpus[:, None] * 1000
    # Memory follows load slowly and by little: most of it is caches and heaps that stay.
    base = rng.uniform(0.2, 0.7, (num_vms, 1))
    readings[Resource.MEMORY] = np.minimum(base + 0.2 * share, 1.0) * memory_mib[:, None]
    for resource, most in ((Resource.DISK_IO, 20_000.0), (Resource.NET_IO, 8_000.0)):
        per_core = most * np.exp(rng.normal(-1.5, 1.0, (num_vms, 1)))
        readings[resource] = share * vcpus[:, None] * per_core
    return readings


def _dirty_rate(share: FloatArray, vcpus: int) -> int:
    """Return MiB/s rewritten: about 60 a busy core, which is what such guests show."""
    return round(60 * vcpus * float(share.mean()))
