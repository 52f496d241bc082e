"""One record a minute from the samples of ten seconds.

A sample belongs to the minute that its middle lies in. A record is closed by the sample that
reaches the minute's end, or by the first of another minute.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from executor.monitor.rates import Sample, VmSample, percentile
from executor.monitor.sample import CLOCK_SKEWED, Figure, HostMinute, MinuteRecord, VmMinute
from solver.domain.units import HostId

MINUTE: Final = timedelta(minutes=1)
SKEW_LIMIT_S: Final = 5.0
"""Within it, a record still lands in the right five minutes nearly always."""


class Series:
    """Values of one figure, each with the time it stands for."""

    __slots__ = ("_spans_s", "_values")

    def __init__(self) -> None:
        self._values: list[float] = []
        self._spans_s: list[float] = []

    def add(self, value: float, span_s: float) -> None:
        """Take one value."""
        self._values.append(value)
        self._spans_s.append(span_s)

    def figure(self) -> Figure:
        """Return mean, 95th percentile and maximum of what was taken."""
        pairs = zip(self._values, self._spans_s, strict=True)
        mean = sum(value * span_s for value, span_s in pairs) / sum(self._spans_s)
        return Figure(mean=mean, p95=percentile(self._values, 0.95), max=max(self._values))


class _Figures:
    """Series by name."""

    __slots__ = ("_series", "num_samples")

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self.num_samples = 0

    def add(self, figures: Mapping[str, float], span_s: float) -> None:
        self.num_samples += 1
        for name, value in figures.items():
            self._series.setdefault(name, Series()).add(value, span_s)

    def figures(self) -> dict[str, Figure]:
        return {name: series.figure() for name, series in self._series.items()}


class Rollup:
    """Gathers samples into minutes.

    Parameters
    ----------
    host_id
        Whose samples they are.
    """

    def __init__(self, host_id: HostId) -> None:
        self._host_id = host_id
        self._minute_at: datetime | None = None
        self._samples: list[Sample] = []

    def add(self, sample: Sample, *, clock_skew_s: float | None = None) -> list[MinuteRecord]:
        """Take a sample and return the records that it closed, oldest first.

        Parameters
        ----------
        clock_skew_s
            The service's clock minus the host's as far as known.
        """
        closed = []
        minute_at = sample.middle_at.replace(second=0, microsecond=0)
        if minute_at != self._minute_at:
            closed += self.close(clock_skew_s=clock_skew_s)
            self._minute_at = minute_at
        self._samples.append(sample)
        if sample.end_at >= minute_at + MINUTE:
            closed += self.close(clock_skew_s=clock_skew_s)
        return closed

    def close(self, *, clock_skew_s: float | None = None) -> list[MinuteRecord]:
        """Return the record of what was taken since the last; none if there was nothing."""
        samples, self._samples = self._samples, []
        minute_at, self._minute_at = self._minute_at, None
        if minute_at is None or not samples:
            return []
        flags = frozenset[str]().union(*(sample.flags for sample in samples))
        if clock_skew_s is not None and abs(clock_skew_s) > SKEW_LIMIT_S:
            flags |= {CLOCK_SKEWED}
        record = MinuteRecord(
            host_id=self._host_id,
            minute_at=minute_at,
            span_s=sum(sample.span_s for sample in samples),
            num_samples=len(samples),
            host=_host_minute(samples),
            vms=_vm_minutes(samples),
            flags=flags,
            clock_skew_s=clock_skew_s,
        )
        return [record]


def _host_minute(samples: list[Sample]) -> HostMinute:
    figures = _Figures()
    for sample in samples:
        figures.add(sample.figures, sample.span_s)
    last = samples[-1]
    return HostMinute(
        num_cpus=len(last.host.cpus),
        memory_total_mib=last.host.memory_total_mib,
        figures=figures.figures(),
        cpu_fractions=_cpu_figures(samples),
    )


def _cpu_figures(samples: list[Sample]) -> tuple[Figure, ...]:
    num_cpus = len(samples[-1].cpu_fractions)
    if any(len(sample.cpu_fractions) != num_cpus for sample in samples):
        return ()
    series = [Series() for _ in range(num_cpus)]
    for sample in samples:
        for each, fraction in zip(series, sample.cpu_fractions, strict=True):
            each.add(fraction, sample.span_s)
    return tuple(each.figure() for each in series)


def _vm_minutes(samples: list[Sample]) -> tuple[VmMinute, ...]:
    gathered: dict[str, tuple[VmSample, _Figures]] = {}
    for sample in samples:
        for each in sample.vms:
            _, figures = gathered.get(each.vm.uuid, (each, _Figures()))
            figures.add(each.figures, each.span_s)
            gathered[each.vm.uuid] = (each, figures)
    return tuple(
        VmMinute(
            vm_id=latest.vm.vm_id,
            name=latest.vm.name,
            uuid=latest.vm.uuid,
            state=latest.vm.state,
            num_vcpus=latest.vm.num_vcpus,
            num_samples=figures.num_samples,
            figures=figures.figures(),
        )
        for latest, figures in gathered.values()
    )
