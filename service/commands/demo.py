"""``foreswap demo``: a simulated cluster living at speed, kept well before anyone's eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.commands.interrupt import noted_interrupts
from service.options import require_writable


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="One plan, carried out, and the hour after it.")
    ] = False,
    hosts: Annotated[int, typer.Option(help="Number of hosts.")] = 24,
    vms: Annotated[int, typer.Option(help="Number of VMs.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    hours: Annotated[float, typer.Option(help="Simulated hours to show.")] = 3.0,
    speed: Annotated[
        float, typer.Option(help="How many times faster than life; slower while VMs move.")
    ] = 400.0,
    save_svg: Annotated[
        Path | None, typer.Option(help="Write a picture of the run here.", hidden=True)
    ] = None,
) -> None:
    """Watch a simulated cluster being balanced; nothing real is touched."""
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
