"""``foreswap import``: foreign telemetry becomes the tidy Parquet that everything here reads."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands import console
from service.options import instant, require_writable
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from forecast.import_grid import ImportReport
    from forecast.prometheus.assembly import SourceReport


class Layout(enum.Enum):
    """Layouts of files that can be converted."""

    BITBRAINS = "bitbrains"
    LONG = "long"


def import_telemetry(
    source: Annotated[
        Path, typer.Argument(help="Folder, zip or file to convert; none with --prometheus.")
    ],
    target: Annotated[
        Path | None, typer.Argument(help="Parquet file to write.", metavar="OUT.parquet")
    ] = None,
    layout: Annotated[
        Layout | None, typer.Option(help="Layout of the source; told from it unless given.")
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option(
            help="Read from this Prometheus instead, such as http://prometheus:9090.", metavar="URL"
        ),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", help="First instant (UTC) to read; of Prometheus only.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Instant (UTC) to read up to; of Prometheus only.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file that says which series mean what; of Prometheus only."),
    ] = None,
) -> None:
    """Convert the Bitbrains archive, a long CSV of vm,ts,metric,value, or series of Prometheus."""
    if prometheus is not None or config is not None:
        if target is not None:
            raise InvalidInputError(
                f"expected OUT.parquet alone, got {str(source)!r} and {str(target)!r}",
                path="--prometheus",
            )
        if layout is not None:
            raise InvalidInputError("expected none with --prometheus", path="--layout")
        _from_prometheus(source, prometheus, from_, until, config)
        return
    for option, value in (("--from", from_), ("--until", until)):
        if value is not None:
            raise InvalidInputError("expected --prometheus with it", path=option)
    if target is None:
        raise InvalidInputError("expected SOURCE and OUT.parquet, got one of them")
    _from_files(source, target, layout)


def _from_files(source: Path, target: Path, layout: Layout | None) -> None:
    from forecast import importers

    require_writable(target, "OUT.parquet")
    convert = {
        None: importers.import_telemetry,
        Layout.BITBRAINS: importers.import_bitbrains,
        Layout.LONG: importers.import_long_csv,
    }[layout]
    with console.counted("converting", "VMs") as progress:
        report = convert(source, target, progress=progress)
    _tell(target, report)


def _from_prometheus(
    target: Path, url: str | None, from_: str | None, until: str | None, config: Path | None
) -> None:
    from dataclasses import replace

    from forecast.import_prometheus import import_prometheus
    from forecast.prometheus.client import Access
    from forecast.prometheus.settings import preset, read_settings

    require_writable(target, "OUT.parquet")
    if from_ is None or until is None:
        raise InvalidInputError("expected --from and --until with it", path="--prometheus")
    from_at, until_at = instant(from_, "--from"), instant(until, "--until")
    if config is not None:
        settings = read_settings(config, url=url)
    else:
        settings = replace(preset(), access=Access(url=url or ""))
    with console.counted("reading", "bins") as progress:
        report, found = import_prometheus(
            settings, target, from_at=from_at, until_at=until_at, progress=progress
        )
    _tell(target, report)
    console.note(_remarks(found))


def _tell(target: Path, report: ImportReport) -> None:
    console.out().print(
        f"{target}: {report.vms:,} VMs from {report.readings:,} readings; per VM and 5 minutes: "
        f"{report.merged:,} merged, {report.interpolated:,} interpolated, {report.off:,} off, "
        f"{report.missing:,} missing",
        soft_wrap=True,
    )


def _remarks(found: SourceReport) -> str:
    """Return what an operator should know of the source; empty if there is nothing."""
    remarks = []
    if found.absent:
        remarks.append(f"Prometheus has nothing of {', '.join(found.absent)}")
    if found.moves:
        remarks.append(f"VMs moved {found.moves:,} times")
    if found.twin_bins:
        remarks.append(f"two hosts told of one VM in {found.twin_bins:,} bins")
    if found.implausible:
        remarks.append(f"{found.implausible:,} implausible values were left out")
    if found.brief:
        remarks.append(f"{found.brief:,} VMs were seen too briefly for any bin")
    return "; ".join(remarks)
