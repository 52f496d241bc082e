"""``foreswap config``: the settings of the service, checked and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands import console

FILE_HELP = "Settings, TOML; else $FORESWAP_CONFIG, else /etc/foreswap/foreswap.toml."

app = typer.Typer(help="The settings of the service.", no_args_is_help=True)

FileOption = Annotated[Path | None, typer.Option(help=FILE_HELP, metavar="FILE")]


@app.command()
def check(config: FileOption = None) -> None:
    """Read the settings of file and environment and say whether they are right."""
    import os

    from service.settings import load_settings, settings_file

    load_settings(config)
    file = settings_file(config, os.environ)
    origin = "defaults and environment" if file is None else str(file)
    console.out().print(f"settings are right: {origin}", markup=False, soft_wrap=True)


@app.command()
def show(config: FileOption = None) -> None:
    """Print the settings in force as TOML; passwords are masked."""
    import json

    from service.settings import load_settings, masked

    for section, values in masked(load_settings(config)).items():
        typer.echo(f"[{section}]")
        for name, value in values.items():
            # A JSON text, number or truth value is a TOML one.
            typer.echo(f"{name} = {json.dumps(value, ensure_ascii=False)}")
        typer.echo()
