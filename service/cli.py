"""The ``foreswap`` command: gathers the commands, turns errors into one line and an exit code.

Exit codes: 0 done, 2 the input was wrong (one line says what, where, and what was expected), 1 it
could not be done, 130 interrupted; commands that ask the service have those of
``service.client.errors`` besides. Nothing half-written is left behind in any case.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.text import Text
from typer.exceptions import TyperException

from service.client.errors import ServiceError
from service.commands import (
    access,
    backtest,
    capacity,
    check,
    cluster,
    config,
    console,
    demo,
    execute,
    import_,
    inventory,
    login,
    monitor,
    outlook,
    plan,
    policy,
    priority,
    replay,
    rule,
    serve,
    snapshot,
    solve,
    status,
    store,
    train,
    whatif,
)
from solver.domain.errors import ForeswapError, InvalidInputError, ModelMismatchError

CLIENT = "Commands that ask the service"

app = typer.Typer(
    name="foreswap",
    help="Predictive rebalancing of virtual machines for plain libvirt/KVM clusters.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(check.check)
app.command()(solve.solve)
app.command()(capacity.capacity)
app.command()(snapshot.snapshot)
app.command()(execute.execute)
app.command("import")(import_.import_telemetry)
app.command()(train.train)
app.command()(backtest.backtest)
app.command()(replay.replay)
app.command()(demo.demo)
app.command()(monitor.monitor)
app.command()(serve.serve)
app.command()(store.backup)
app.command()(store.restore)
app.command()(store.upgrade)
app.command()(store.rescue)
app.add_typer(config.app, name="config")
for command in (
    login.login,
    login.logout,
    login.whoami,
    status.status,
    inventory.clusters,
    inventory.hosts,
    inventory.vms,
    inventory.drain,
    inventory.undrain,
    plan.approve,
    outlook.contention,
    outlook.scorecard,
    whatif.whatif,
    access.audit,
):
    app.command(rich_help_panel=CLIENT)(command)
for name, group in (
    ("cluster", cluster.app),
    ("priority", priority.app),
    ("policy", policy.app),
    ("forecast", outlook.forecast),
    ("history", outlook.history),
    ("rule", rule.app),
    ("plan", plan.app),
    ("schedule", plan.schedule),
    ("jobs", whatif.jobs),
    ("token", access.token),
    ("user", access.user),
    ("sessions", access.sessions),
):
    app.add_typer(group, name=name, rich_help_panel=CLIENT)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"foreswap {version('foreswap')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Predictive rebalancing of virtual machines for plain libvirt/KVM clusters."""


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line with arguments and return the exit code."""
    try:
        code = app(arguments, prog_name="foreswap", standalone_mode=False)
        if code == 130:
            return _fail("interrupted", 130)
        return code if isinstance(code, int) else 0
    except (InvalidInputError, ModelMismatchError) as error:
        return _fail(str(error), 2)
    except ServiceError as error:
        return _fail(str(error), error.exit_code)
    except ForeswapError as error:
        return _fail(str(error), 1)
    except TyperException as error:
        # Without any words Typer has already shown the help.
        message = error.format_message()
        return _fail(message, error.exit_code) if message else error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        return _fail(f"{error.filename or 'input'}: {error.strerror or error}", 2)
    except OSError as error:
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)


def _fail(message: str, code: int) -> int:
    line = Text.assemble(("error:", "bold red"), " ", " ".join(message.split("\n")))
    console.err().print(line, soft_wrap=True)
    return code
