"""``foreswap serve``: the service, until a signal ends it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from service.commands.config import FileOption


def serve(
    config: FileOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; comes before the settings.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen on; comes before the settings.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make a simulated cluster if there is none.")
    ] = False,
) -> None:
    """Run the service: the HTTP API, planning and executing by itself, until it is stopped."""
    import os

    from service.logs import configure
    from service.server import serve as run
    from service.settings import PREFIX, load_settings

    given: dict[str, Any] = {"HOST": host, "PORT": port}
    variables = {f"{PREFIX}SERVER__{k}": str(v) for k, v in given.items() if v is not None}
    settings = load_settings(config, {**os.environ, **variables})
    configure(settings.log)
    run(settings, _tell, show_password=sys.stdout.isatty(), demo=demo)


def _tell(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
