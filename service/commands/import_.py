"""``foreswap import``: foreign telemetry becomes the tidy Parquet that everything here reads."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.options import require_writable


class Layout(enum.Enum):
    """Layouts that can be converted."""

    BITBRAINS = "bitbrains"
    LONG = "long"


def import_telemetry(
    source: Annotated[Path, typer.Argument(help="Folder, zip or file to convert.")],
    target: Annotated[Path, typer.Argument(help="Parquet file to write.", metavar="OUT.parquet")],
    layout: Annotated[
        Layout | None, typer.Option(help="Layout of the source; told from it unless given.")
    ] = None,
) -> None:
    """Convert the Bitbrains archive, or a long CSV of vm,ts,metric,value, to tidy Parquet."""
    from forecast import importers

    require_writable(target, "OUT.parquet")
    convert = {
        None: importers.import_telemetry,
        Layout.BITBRAINS: importers.import_bitbrains,
        Layout.LONG: importers.import_long_csv,
    }[layout]
    with console.counted("converting", "VMs") as progress:
        report = convert(source, target, progress=progress)
    console.out().print(
        f"{target}: {report.vms:,} VMs from {report.readings:,} readings; per VM and 5 minutes: "
        f"{report.merged:,} merged, {report.interpolated:,} interpolated, {report.off:,} off, "
        f"{report.missing:,} missing",
        soft_wrap=True,
    )
