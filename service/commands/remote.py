"""What all commands that ask the service share: the client, the cluster, tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from service.commands import console

if TYPE_CHECKING:
    from service.client.http import Answered, Client

CLUSTER: Final = "FORESWAP_CLUSTER"
POLL_S: Final = 0.3
"""Between two looks at a job that is waited for."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        "--cluster", "-c", help="Cluster; the only one by default.", envvar=CLUSTER, metavar="ID"
    ),
]
MostOption = Annotated[int, typer.Option("--limit", min=1, help="Show no more than so many.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    show
        Its text for one row; the row's value of the same name if ``None``.
    right
        Whether it is a number.
    """

    name: str
    show: Callable[[Any], str] | None = None
    right: bool = False

    def text(self, row: Any) -> str:
        """Return the text for one row."""
        if self.show is not None:
            return self.show(row)
        return words(row.get(self.name))


def client() -> Client:
    """Return the client of the service that environment and login name."""
    from service.client.http import Client
    from service.client.login import load_access

    return Client(load_access())


def cluster_path(asked: Client, given: str | None, *parts: str) -> str:
    """Return a path below a cluster: the one given, else the only one there is.

    Raises
    ------
    InvalidInputError
        If none was given and there is not exactly one.
    """
    from service.client.http import path_of

    return path_of("clusters", cluster_id(asked, given), *parts)


def cluster_id(asked: Client, given: str | None) -> str:
    """Return the cluster that is meant; errors as of :func:`cluster_path`."""
    from solver.domain.errors import InvalidInputError

    if given is not None:
        return given
    found = [str(cluster["id"]) for cluster in asked.items("/clusters", most=2)]
    if len(found) == 1:
        return found[0]
    seen = "several" if found else "no cluster"
    raise InvalidInputError(f"--cluster: expected one of the clusters, as there are {seen}")


def show_rows(
    rows: Iterable[Any], columns: Sequence[Column], *, as_json: bool, nothing: str
) -> None:
    """Print rows as a table, or as a JSON list.

    Parameters
    ----------
    nothing
        Said on standard error instead of an empty table.
    """
    rows = list(rows)
    if as_json:
        show_json(rows)
        return
    if not rows:
        console.note(nothing)
        return
    console.out().print(table(rows, columns))


def table(rows: Iterable[Any], columns: Sequence[Column]) -> Any:
    """Return rows as a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(column.name.replace("_", " "), justify="right" if column.right else "left")
    for row in rows:
        # Names from elsewhere are no markup.
        made.add_row(*(Text(column.text(row)) for column in columns))
    return made


def show_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Print a sentence on what was done."""
    console.out().print(text, markup=False, soft_wrap=True)


def words(value: Any) -> str:
    """Return a value from JSON as it stands in a table.

    >>> words(None), words(True), words(1234), words([1, 2])
    ('', 'yes', '1,234', '1, 2')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, list):
        return ", ".join(words(part) for part in value)
    return str(value)


def instant(name: str) -> Callable[[Any], str]:
    """Return what shows an instant of a row to the second, in UTC."""

    def show(row: Any) -> str:
        value = row.get(name)
        return "" if value is None else str(value)[:19].replace("T", " ")

    return show


def awaited(asked: Client, answer: Answered) -> Any:
    """Return what was asked for, waiting for it if it became a job; Ctrl-C cancels the job.

    Raises
    ------
    ServiceError
        If the job failed or was cancelled.
    """
    import time

    from service.client.http import path_of

    if answer.status != 202:
        return answer.body
    job = answer.body
    path = path_of("jobs", job["id"])
    try:
        with console.err().status(f"job {job['id']}"):
            while job["stage"] in ("queued", "running", "cancelling"):
                time.sleep(POLL_S)
                job = asked.get(path).body
    except KeyboardInterrupt:
        asked.send("POST", f"{path}/cancel")
        raise
    return _result_of(job)


def _result_of(job: Any) -> Any:
    from service.client.errors import ExitCode, ServiceError

    if job["result"] is None:
        problem = job["problem"] or {}
        raise ServiceError(
            f"job {job['id']} {job['stage']}: {problem.get('detail', 'it has no answer')}",
            status=int(problem.get("status", 0)),
            exit_code=ExitCode.FAILED,
        )
    return job["result"]
