"""``foreswap contention``, ``forecast``, ``history`` and ``scorecard``: how it is, was, will be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer

from service.commands import remote
from service.commands.remote import Column

forecast = typer.Typer(help="What a VM or a host will need in the next hour.", no_args_is_help=True)
history = typer.Typer(help="What a VM or a host needed lately.", no_args_is_help=True)

VmArgument = Annotated[str, typer.Argument(help="VM.", metavar="VM")]
HostArgument = Annotated[str, typer.Argument(help="Host.", metavar="HOST")]
HoursOption = Annotated[int, typer.Option(min=1, help="How far back.")]
SpanOption = Annotated[str, typer.Option(help="By what was observed within 5m, 1h or 24h.")]

CONTENTION: Final = (
    Column(name="host", show=lambda row: str(row["host_id"])),
    Column(name="score, host-s", show=lambda row: remote.words(row["score_host_s"]), right=True),
    Column(name="now, host-s", show=lambda row: remote.words(row["current_host_s"]), right=True),
    Column(
        name="next hour, host-s",
        show=lambda row: remote.words(row["predicted_host_s"]),
        right=True,
    ),
    Column(name="overload", show=lambda row: f"{row['overload_probability']:.0%}", right=True),
    Column(name="cores", show=lambda row: _used(row, "cpu_millicores", 1000), right=True),
    Column(name="memory MiB", show=lambda row: _used(row, "memory_mib", 1), right=True),
)
_OF_SCORES: Final = {
    "num_plans": "plans",
    "num_moves": "moves",
    "without_host_s": "without, host-s",
    "with_host_s": "with, host-s",
    "saved_host_s": "saved, host-s",
    "expected_saved_host_s": "expected, host-s",
}
SCORES: Final = (
    Column(name="of"),
    *(Column(name=label, right=True) for label in _OF_SCORES.values()),
)


def contention(cluster: remote.ClusterOption = None, as_json: remote.JsonOption = False) -> None:
    """Show how short hosts are now and in the next hour, the worst first."""
    asked = remote.client()
    told = asked.get(remote.cluster_path(asked, cluster, "contention")).body
    if as_json:
        remote.show_json(told)
        return
    remote.show_rows(told["hosts"], CONTENTION, as_json=False, nothing="no host")
    at = str(told["at"])[:16].replace("T", " ")
    remote.say(f"together {told['total_host_s']:,.2f} host-s, by {told['forecaster']} at {at} UTC")


def scorecard(
    span: SpanOption = "1h",
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """Show what plans have saved, and what those that nobody ran would have."""
    asked = remote.client()
    told = asked.get(remote.cluster_path(asked, cluster, "scorecard"), span=span).body
    rows = [_score(name, told[key]) for key, name in (("not_run", "not run"), ("run", "run"))]
    if as_json:
        remote.show_json(told)
    else:
        remote.show_rows(rows, SCORES, as_json=False, nothing="no plan")


@forecast.command("vm")
def forecast_vm(
    vm: VmArgument, cluster: remote.ClusterOption = None, as_json: remote.JsonOption = False
) -> None:
    """Show the fan of a VM."""
    _show_fan("vms", vm, cluster, as_json)


@forecast.command("host")
def forecast_host(
    host: HostArgument, cluster: remote.ClusterOption = None, as_json: remote.JsonOption = False
) -> None:
    """Show the fan of what the VMs of a host need together."""
    _show_fan("hosts", host, cluster, as_json)


@history.command("vm")
def history_vm(
    vm: VmArgument,
    hours: HoursOption = 2,
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """Show the readings of a VM."""
    _show_readings("vms", vm, hours, cluster, as_json)


@history.command("host")
def history_host(
    host: HostArgument,
    hours: HoursOption = 2,
    cluster: remote.ClusterOption = None,
    as_json: remote.JsonOption = False,
) -> None:
    """Show what a host's monitor measured of the host itself."""
    _show_readings("hosts", host, hours, cluster, as_json)


def fan_rows(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each resource and horizon of a fan, with its quantiles."""
    names = [_quantile(value) for value in told["quantiles"]]
    for resource, by_horizon in told["resources"].items():
        for minutes, values in zip(told["horizon_minutes"], by_horizon, strict=True):
            row = {"resource": resource.replace("_", " "), "in minutes": minutes}
            yield row | dict(zip(names, values, strict=True))


def reading_rows(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each bin in which anything was read."""
    start_at = datetime.fromisoformat(told["start_at"])
    step = timedelta(seconds=told["step_seconds"])
    for i, values in enumerate(zip(*told["resources"].values(), strict=True)):
        if any(value is not None for value in values):
            at = f"{start_at + i * step:%Y-%m-%d %H:%M}"
            yield {"at (UTC)": at} | dict(zip(told["resources"], values, strict=True))


def _show_fan(kind: str, name: str, cluster: str | None, as_json: bool) -> None:
    asked = remote.client()
    told = asked.get(remote.cluster_path(asked, cluster, "forecasts", kind, name)).body
    if as_json:
        remote.show_json(told)
        return
    quantiles = tuple(Column(name=_quantile(value), right=True) for value in told["quantiles"])
    columns = (Column(name="resource"), Column(name="in minutes", right=True), *quantiles)
    remote.show_rows(fan_rows(told), columns, as_json=False, nothing="no forecast")
    cold = "; too little is known of it: generic bands" if told["cold"] else ""
    remote.say(f"by {told['forecaster']} at {told['at'][:16].replace('T', ' ')} UTC{cold}")


def _show_readings(kind: str, name: str, hours: int, cluster: str | None, as_json: bool) -> None:
    asked = remote.client()
    path = remote.cluster_path(asked, cluster, "history", kind, name)
    told = asked.get(path, hours=hours).body
    if as_json:
        remote.show_json(told)
        return
    resources = tuple(Column(name=resource, right=True) for resource in told["resources"])
    columns = (Column(name="at (UTC)"), *resources)
    remote.show_rows(reading_rows(told), columns, as_json=False, nothing="nothing was read then")


def _score(name: str, score: Mapping[str, Any]) -> dict[str, Any]:
    return {"of": name} | {label: score.get(key) for key, label in _OF_SCORES.items()}


def _quantile(value: float) -> str:
    """Return a quantile as people call it.

    >>> _quantile(0.05), _quantile(0.5), _quantile(0.975)
    ('p5', 'p50', 'p97.5')
    """
    return f"p{100 * value:g}"


def _used(row: Any, name: str, per: int) -> str:
    value = row["used"].get(name)
    return "" if value is None else f"{value / per:,.1f}" if per > 1 else f"{value:,}"
