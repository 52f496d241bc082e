"""History from Prometheus: as a tidy file, like every other import, or at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from forecast.history import STEP_SECONDS, History
from forecast.import_grid import ImportReport, Tally, tidy_writer
from forecast.prometheus.assembly import SourceReport, VmReadings
from forecast.prometheus.client import Access, PrometheusClient
from forecast.prometheus.settings import Settings
from forecast.prometheus.vms import Progress, read_vms
from forecast.series_history import history_of
from solver.domain.errors import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrometheusHistory:
    """A history, and what was found while reading it."""

    history: History
    report: SourceReport


def import_prometheus(
    settings: Settings,
    target: Path | str,
    *,
    from_at: datetime,
    until_at: datetime,
    progress: Progress | None = None,
) -> tuple[ImportReport, SourceReport]:
    """Write what Prometheus knows of VMs as tidy Parquet.

    Parameters
    ----------
    progress
        Called with the bins read and the bins in all.

    Raises
    ------
    TelemetrySourceError
        If Prometheus does not answer, or knows nothing of that time.
    InvalidInputError
        If the settings name no address or do not fit what Prometheus has.
    """
    with PrometheusClient(_access(settings)) as client:
        found = read_vms(client, settings, from_at=from_at, until_at=until_at, progress=progress)
    with tidy_writer(Path(target), _metrics(found)) as write:
        tally = Tally()
        for one in found.series:
            tally.add(write, one)
        return tally.report(), found.report


def read_prometheus(
    settings: Settings,
    *,
    from_at: datetime,
    until_at: datetime,
    step_seconds: int = STEP_SECONDS,
    progress: Progress | None = None,
) -> PrometheusHistory:
    """Return what Prometheus knows of VMs as a history.

    Parameters
    ----------
    step_seconds
        Length of a bin; the models of this program know ``STEP_SECONDS`` only.

    Raises
    ------
    TelemetrySourceError
        If Prometheus does not answer, or knows nothing of that time.
    InvalidInputError
        If the settings name no address or do not fit what Prometheus has.
    """
    access = _access(settings)
    with PrometheusClient(access) as client:
        found = read_vms(
            client,
            settings,
            from_at=from_at,
            until_at=until_at,
            step_seconds=step_seconds,
            progress=progress,
        )
    history = history_of(found.series, source="Prometheus", step_seconds=step_seconds)
    return PrometheusHistory(history=history, report=found.report)


def _access(settings: Settings) -> Access:
    if settings.access is None:
        raise InvalidInputError("expected the address of a Prometheus, got none", path="access.url")
    return settings.access


def _metrics(found: VmReadings) -> tuple[str, ...]:
    return tuple(found.series[0].values)
