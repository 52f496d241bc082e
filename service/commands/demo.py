"""``foreswap demo``: a simulated cluster living at speed, kept well before anyone's eyes.

First in the terminal, then in a browser: the service on a simulated cluster of its own, in a folder
that goes with it.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.commands.interrupt import noted_interrupts
from service.options import require_writable


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="One plan, carried out, and the hour after it; no pages.")
    ] = False,
    hosts: Annotated[int, typer.Option(help="Number of hosts.")] = 24,
    vms: Annotated[int, typer.Option(help="Number of VMs.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    hours: Annotated[float, typer.Option(help="Simulated hours to show.")] = 3.0,
    speed: Annotated[
        float, typer.Option(help="How many times faster than life; slower while VMs move.")
    ] = 400.0,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the web pages; without it the usual one, or any that is free.",
            min=0,
            max=65_535,
        ),
    ] = None,
    save_svg: Annotated[
        Path | None, typer.Option(help="Write a picture of the run here.", hidden=True)
    ] = None,
) -> None:
    """Watch a simulated cluster being balanced, then in a browser; nothing real is touched."""
    from service.demo.config import DemoConfig
    from service.demo.fleet import set_stage
    from service.demo.model import cache_folder, make_forecaster
    from service.demo.picture import Picture
    from service.demo.screen import make_screen
    from service.demo.show import Show
    from service.demo.view import summary_report

    require_writable(save_svg, "--save-svg")
    config = DemoConfig(
        num_hosts=hosts, num_vms=vms, seed=seed, hours=hours, speed=speed, once=once
    )
    # Before the show: nobody should have to watch it to learn that it cannot go on.
    chosen = None if once else _free_port(port)
    out = console.out()
    show: Show | None = None
    picture = Picture()
    interrupted = False
    with make_screen(out) as screen, noted_interrupts() as ask:
        try:
            screen.tell(f"making up {config.num_vms} VMs on {config.num_hosts} hosts")
            stage = set_stage(config)
            online = make_forecaster(
                config, stage.history, stage.first_bin, folder=cache_folder(), tell=screen.tell
            )
            ask()
            show = Show(config, stage, online, screen.tell)
            for frame in show.run():
                ask()
                picture.consider(frame)
                screen.show(frame)
        except KeyboardInterrupt:
            interrupted = True
    if show is not None:
        out.print(summary_report(show.summary(interrupted=interrupted)))
    if save_svg is not None:
        picture.save(save_svg)
    if interrupted:
        raise typer.Exit(130)
    if chosen is None:
        _tell(f"live in a browser, at {_address()}: foreswap demo without --once")
    else:
        _serve(chosen)


def _free_port(wanted: int | None) -> int:
    """Return the port for the pages; another than the usual one if somebody has that.

    Raises
    ------
    ForeswapError
        If a port was asked for that somebody has.
    """
    from service.settings import ServerSettings
    from service.web_server import listen
    from solver.domain.errors import ForeswapError

    usual = ServerSettings()
    settings = usual if wanted is None else usual.model_copy(update={"port": wanted})
    try:
        with contextlib.closing(listen(settings)):
            return settings.port
    except ForeswapError:
        if wanted is not None:
            raise
    _tell(f"port {settings.port} is in use: the web pages will be at another one")
    return 0


def _serve(port: int) -> None:
    """Show a simulated cluster in the browser until a signal ends it."""
    import tempfile

    from service.logs import configure
    from service.server import serve
    from service.settings import LogSettings, ServerSettings, Settings, StoreSettings

    with tempfile.TemporaryDirectory(prefix="foreswap-demo-") as folder:
        settings = Settings(
            server=ServerSettings(port=port),
            store=StoreSettings(folder=Path(folder)),
            log=LogSettings(level="warning"),
        )
        configure(settings.log)
        _tell("\nThe same in a browser, on a simulated cluster that lives on; Ctrl-C ends it:")
        serve(settings, _tell, show_password=True, demo=True)


def _address() -> str:
    from service.settings import ServerSettings

    usual = ServerSettings()
    return f"http://{usual.host}:{usual.port}"


def _tell(line: str) -> None:
    typer.echo(line)
    sys.stdout.flush()
