"""The service as one process: opens what it stands on, puts the parts together, ends them in order.

The only room that picks concretes: the store's database, the workers, the clock.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from executor.monitor.supervisor import Supervisor
from service.alone import alone_in
from service.api.services import Services
from service.app import create_app
from service.housekeeping import kept_tidy
from service.interpreter import spare_what_is_loaded, take_short_turns
from service.inventory.clusters import keep_snapshot, put_cluster
from service.inventory.policies import ClusterSettings, DriverSettings
from service.logs import written_beside
from service.metrics import Metrics
from service.plans.schedule import Automation
from service.plans.wishes import put_schedule
from service.runtime.beside import runtime_beside
from service.runtime.simulated import made_up
from service.security.first_start import make_first_admin
from service.security.policy import SecurityPolicy
from service.security.principal import Principal, Role
from service.settings import Settings
from service.solving.desk import Desk, DeskSettings
from service.solving.pool import PoolSettings, SolverPool
from service.solving.request import SolveLimits
from service.store.base import Kind, Retention, Store
from service.store.sql import open_store
from service.web.app import beside, create_pages
from service.web_server import WebServer, listen, stopped_by_signals

PASSWORD_FILE: Final = "admin-password"

DEMO: Final = "demo"
DEMO_SEED: Final = 1
DEMO_SPEED: Final = 10.0
"""Times real time: a plan of some minutes is over in some tens of seconds."""

Tell = Callable[[str], None]

_log = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


def serve(settings: Settings, tell: Tell, *, show_password: bool, demo: bool = False) -> None:
    """Run the service until a signal ends it.

    Parameters
    ----------
    tell
        Shows a line to whoever started it.
    show_password
        Show them the first admin's password, too; otherwise it is left in a file.
    demo
        Make a simulated cluster if there is no cluster yet.

    Raises
    ------
    InvalidInputError
        If settings cannot be used on this machine.
    ForeswapError
        If the address or the store is in use, or the store cannot be used.
    """
    with ExitStack() as stack:
        stack.enter_context(written_beside())
        if folder := sqlite_folder(settings.store.effective_url):
            stack.enter_context(alone_in(folder))
        sock = stack.enter_context(listen(settings.server))
        store = open_store(settings.store.effective_url, now=utc_now)
        stack.callback(store.close)
        stack.enter_context(kept_tidy(store, _retention(settings), utc_now))
        metrics = Metrics(store, utc_now)
        desk = stack.enter_context(_solving(settings, store, metrics))
        services = _services(settings, store, desk, metrics)
        application = beside(create_app(services), create_pages(services))
        server = WebServer(application, sock, settings.server)
        _let_admin_in(services, settings, tell, show_password=show_password)
        if demo:
            _make_demo(store, tell)
        stack.enter_context(_runtime(settings))
        _run(server, desk, settings, tell)


def _runtime(settings: Settings) -> AbstractContextManager[None]:
    """Return what goes on by itself, in a process beside this one; nothing if it may not lead."""
    if not settings.runtime.enabled:
        return nullcontext()
    return runtime_beside(
        settings.store.effective_url,
        lease_s=settings.runtime.lease_s,
        training=settings.runtime.training,
        log_settings=settings.log,
    )


def _make_demo(store: Store, tell: Tell) -> None:
    """Make a simulated cluster whose plans may be approved, unless there is a cluster."""
    driver = DriverSettings(kind="simulated", seed=DEMO_SEED, speed=DEMO_SPEED)
    wanted = ClusterSettings(name="Demonstration", driver=driver)
    maker = Principal(name="foreswap", role=Role.ADMIN)
    now = utc_now()
    # Hosts and VMs are there to be seen before the runtime has looked for the first time.
    seen = made_up(now, seed=DEMO_SEED)
    with store.begin() as tx:
        if tx.items.page(Kind.CLUSTER, "", limit=1):
            return
        put_cluster(tx, maker, DEMO, wanted, expected_revision=0, now=now)
        keep_snapshot(tx, DEMO, seen, now=now)
        schedule = {"automation": Automation.APPROVE.value}
        put_schedule(tx, maker, DEMO, schedule, expected_revision=0, now=now)
    tell(f"cluster {DEMO} is simulated, {DEMO_SPEED:g} times as fast as life")


def solve_limits(settings: Settings) -> SolveLimits:
    """Return what requests may ask for.

    Raises
    ------
    ForecastError
        If the model that is set cannot be used: told at the start, and not by the first request.
    """
    model_path = settings.solving.model
    if model_path is not None:
        # Loads scikit-learn, which answering requests does not need.
        from forecast.persist import load_model

        load_model(model_path)
    return SolveLimits(max_limit_s=settings.solving.max_limit_s, model_path=model_path)


@contextmanager
def _solving(settings: Settings, store: Store, metrics: Metrics) -> Iterator[Desk]:
    """Yield where work for the solver is taken on, with its workers being made ready."""
    pool = SolverPool(_pool_settings(settings), on_ended=metrics.solved)
    limits = solve_limits(settings)
    desk = Desk(
        pool,
        store,
        name=f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}",
        now=utc_now,
        settings=DeskSettings(limits=limits, store_url=settings.store.effective_url),
    )
    pool.start()
    desk.open()
    try:
        yield desk
    finally:
        desk.end_streams()
        pool.close()
        desk.close()


def _run(server: WebServer, desk: Desk, settings: Settings, tell: Tell) -> None:
    supervisor = Supervisor()

    def stop() -> None:
        desk.end_streams()
        server.stop()

    with stopped_by_signals(stop):
        tell(f"listening on {address(settings, server.port)}")
        spare_what_is_loaded()
        take_short_turns()
        supervisor.ready()
        server.run(on_tick=lambda: supervisor.alive(f"port {server.port}"))
        supervisor.stopping()
    _log.info("stopped")


def address(settings: Settings, port: int) -> str:
    """Return where the service is found, as a browser on this machine is told."""
    scheme = "https" if settings.server.has_tls else "http"
    host = settings.server.host
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}"


def sqlite_folder(url: str) -> Path | None:
    """Return the folder of a SQLite file; ``None`` for another database.

    >>> sqlite_folder("sqlite:////var/lib/foreswap/foreswap.db")
    PosixPath('/var/lib/foreswap')
    >>> sqlite_folder("postgresql+psycopg://db/foreswap")
    """
    scheme = "sqlite:///"
    return Path(url.removeprefix(scheme)).parent if url.startswith(scheme) else None


def _services(settings: Settings, store: Store, desk: Desk, metrics: Metrics) -> Services:
    return Services(
        store=store,
        now=utc_now,
        security=_security(settings),
        metrics=metrics,
        metrics_access=settings.metrics.access,
        checks={"solver": lambda: "" if desk.pool.ready else "workers are being made ready"},
        desk=desk,
    )


def _security(settings: Settings) -> SecurityPolicy:
    return SecurityPolicy(
        session_lifetime=timedelta(hours=settings.security.session_hours),
        session_idle=timedelta(minutes=settings.security.idle_minutes),
        allowed_hosts=tuple(settings.server.names),
        is_behind_tls=settings.server.plain_http or bool(settings.server.trusted_proxy),
    )


def _pool_settings(settings: Settings) -> PoolSettings:
    return PoolSettings(
        num_workers=settings.solving.workers,
        max_waiting=settings.solving.max_waiting,
        modules=("service.solving.forecasting", "service.whatif.answer", "service.whatif.futures"),
    )


def _retention(settings: Settings) -> Retention:
    return Retention(
        minutes=timedelta(days=settings.store.minutes_days),
        bins=timedelta(days=settings.store.bins_days),
        hours=timedelta(days=settings.store.hours_days),
        plans=timedelta(days=settings.store.plans_days),
    )


def _let_admin_in(
    services: Services, settings: Settings, tell: Tell, *, show_password: bool
) -> None:
    """Make the first admin, if there is nobody, and hand over the password once."""
    password = make_first_admin(services.store, services.passwords, utc_now())
    if password is None:
        return
    if show_password:
        tell(f"first start: log in as admin with the one-time password {password}")
        return
    file = settings.store.effective_folder / PASSWORD_FILE
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(password + "\n")
    tell(f"first start: the one-time password of the user admin is in {file}; delete it once used")
