"""Settings of the service: one TOML file, the environment over it, defaults that need neither.

``[server]`` with ``port = 8470`` in the file is ``FORESWAP_SERVER__PORT=8470`` in the environment,
which comes first. Settings are read and checked once, before anything is started. What each is for
stands below it and, the same words, in ``docs/settings.md``.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from solver.domain.errors import InvalidInputError
from solver.schema import Strict, checked

PREFIX: Final = "FORESWAP_"
DEFAULT_FILE: Final = Path("/etc/foreswap/foreswap.toml")
FILE_VARIABLE: Final = "FORESWAP_CONFIG"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

Words = Annotated[str, Field(min_length=1)]
File = Annotated[Path, Field(strict=False)]


class Section(Strict):
    """Base of the sections: what is said below a setting is its description."""

    model_config = ConfigDict(use_attribute_docstrings=True, validate_default=True)


class ServerSettings(Section):
    """Where and how requests are taken."""

    host: Words = "127.0.0.1"
    """Address to listen on; anything but the loopback is reached from other machines."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8470
    """Port to listen on; 0 for any that is free."""

    names: list[Words] = Field(default=[])
    """Names under which the service answers, as they stand in addresses; empty for any."""

    threads: Annotated[int, Field(ge=4, le=256)] = 16
    """Requests worked on at once; each stream of events holds one of them."""

    tls_certificate: File | None = None
    """PEM file with the certificate and those above it; needs `tls_key`."""

    tls_key: File | None = None
    """PEM file with the certificate's private key, without a passphrase."""

    plain_http: bool = False
    """Answer other machines without TLS, because a proxy before the service has it."""

    trusted_proxy: str = ""
    """Address of the proxy whose `X-Forwarded-*` headers are believed; empty for none."""

    max_body_mib: Annotated[int, Field(ge=1, le=1024)] = 64
    """Largest request taken, compressed or not."""

    shutdown_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Time that requests under way have to end when the service is stopped."""

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the service."""
        return self.host in LOOPBACK

    @property
    def has_tls(self) -> bool:
        """Whether the service itself speaks TLS."""
        return self.tls_certificate is not None


class StoreSettings(Section):
    """Where everything is kept, and for how long."""

    folder: File | None = None
    """Folder of the database and of what else the service keeps. By default `/var/lib/foreswap` \
for root, `$XDG_STATE_HOME/foreswap` or `~/.local/state/foreswap` for others."""

    url: str = ""
    """Database, such as `postgresql+psycopg://foreswap@db/foreswap`; empty for a SQLite file in \
the folder."""

    minutes_days: Annotated[int, Field(ge=1, le=90)] = 2
    """Days that records of a minute are kept."""

    bins_days: Annotated[int, Field(ge=14, le=400)] = 42
    """Days that readings of five minutes are kept; forecasts learn from them."""

    hours_days: Annotated[int, Field(ge=14, le=4000)] = 400
    """Days that hourly readings are kept."""

    plans_days: Annotated[int, Field(ge=7, le=4000)] = 400
    """Days that plans that are over are kept, with the journal of their moves."""

    @property
    def effective_folder(self) -> Path:
        """The folder, after the defaults."""
        if self.folder is not None:
            return self.folder
        return default_folder(os.environ, is_root=os.geteuid() == 0)

    @property
    def effective_url(self) -> str:
        """The database, after the defaults."""
        return self.url or f"sqlite:///{self.effective_folder.resolve() / 'foreswap.db'}"


class SecuritySettings(Section):
    """Who may come in, and for how long."""

    session_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 12.0
    """Hours after which somebody has to log in again."""

    idle_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 60.0
    """Minutes without a request after which a session ends."""


class SolvingSettings(Section):
    """The processes that solve."""

    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Solves at the same time, each in a process of about 300 MB."""

    max_waiting: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Solves that may wait for a worker; beyond that, requests are told to come again later."""

    max_limit_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Longest time that a request may ask a solve to take."""

    model: File | None = None
    """File of a trained model (`foreswap train`) that readings sent with a request are forecast \
with; without it, by the newest readings and the errors that go with them."""


class RuntimeSettings(Section):
    """What goes on by itself: looking, forecasting, planning, executing."""

    enabled: bool = True
    """Whether this process may lead; one that may not only answers requests."""

    lease_s: Annotated[float, Field(ge=2, le=120)] = 10.0
    """Seconds after which another replica takes over from a leader that is silent."""

    training: bool = True
    """Whether models are trained; without one, forecasts go by the newest readings."""


class LogSettings(Section):
    """What is written on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important messages that are written."""

    format: Literal["text", "json"] = "text"
    """Lines for people, or one JSON object per line."""


class MetricsSettings(Section):
    """The service's own figures at `/metrics`."""

    access: Literal["local", "token", "everyone"] = "local"
    """Who may read them: this machine alone, whoever shows a token, or everyone."""


class Settings(Section):
    """All settings."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    security: SecuritySettings = SecuritySettings()
    solving: SolvingSettings = SolvingSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()


def default_folder(environment: Mapping[str, str], *, is_root: bool) -> Path:
    """Return where the service keeps what it has to remember, unless a setting says otherwise."""
    state = environment.get("XDG_STATE_HOME", "")
    if state:
        return Path(state) / "foreswap"
    if is_root:
        return Path("/var/lib/foreswap")
    return Path.home() / ".local" / "state" / "foreswap"


def settings_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: the one given, the environment's, the usual one if it exists."""
    if given is not None:
        return given
    if named := environment.get(FILE_VARIABLE):
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def load_settings(
    given: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings of a file and of the environment.

    Parameters
    ----------
    given
        File that was asked for; ``None`` to look for one as :func:`settings_file` does.
    environment
        The process's own if ``None``.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or anything in it or in the environment is wrong.
    """
    environment = os.environ if environment is None else environment
    file = settings_file(given, environment)
    document = {} if file is None else read_toml(file)
    origins = _overlay(document, environment)
    try:
        settings = checked(Settings, document)
        _require_sound(settings)
        return settings
    except InvalidInputError as error:
        raise _with_origin(error, file, origins) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Return what a TOML file holds.

    :raises InvalidInputError: if it cannot be read or is no TOML
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(
            f"file {str(path)!r}: expected readable settings, got: {error.strerror}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"file {str(path)!r}: expected TOML, got: {error}") from error


def paths() -> dict[str, tuple[object, str]]:
    """Return every setting as ``section.name`` with its default and what it is for."""
    return {
        f"{section}.{name}": (field.default, field.description or "")
        for section, kind in _sections().items()
        for name, field in kind.model_fields.items()
    }


def masked(settings: Settings) -> dict[str, Any]:
    """Return the settings as they are in a file, without the password of the database."""
    values = settings.model_dump(mode="json", exclude_none=True)
    url = re.sub(r"(://[^:@/]*):.*@", r"\1:***@", settings.store.url)
    values["store"]["url"] = re.sub(r"(password=)[^&]*", r"\1***", url)
    return values


def _overlay(document: dict[str, Any], environment: Mapping[str, str]) -> dict[str, str]:
    """Put the environment's settings over the document; return the variable of each."""
    origins = {}
    for variable in sorted(environment):
        if not variable.startswith(PREFIX) or "__" not in variable:
            continue
        path = variable.removeprefix(PREFIX).lower().replace("__", ".", 1)
        section, _, name = path.partition(".")
        kind = _sections().get(section)
        if kind is None or name not in kind.model_fields:
            raise InvalidInputError(_no_such(variable))
        table = document.setdefault(section, {})
        if isinstance(table, dict):
            field = kind.model_fields[name]
            table[name] = _value(environment[variable], field.annotation)
            origins[path] = variable
    return origins


def _no_such(variable: str) -> str:
    names = [PREFIX + path.replace(".", "__").upper() for path in paths()]
    near = difflib.get_close_matches(variable, names, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"environment variable {variable}: expected the name of a setting{hint}"


def _value(text: str, annotation: object) -> object:
    """Return a variable's text as the kind of value its setting has, as it is if it is none."""
    choices = typing.get_args(annotation) or (annotation,)
    if bool in choices:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if typing.get_origin(annotation) is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    for kind in (int, float):
        if kind in choices:
            try:
                return kind(text)
            except ValueError:
                return text
    return text


def _with_origin(
    error: InvalidInputError, file: Path | None, origins: Mapping[str, str]
) -> InvalidInputError:
    message = str(error).removeprefix(f"{error.path}: ")
    if error.path in origins:
        message += f" (in environment variable {origins[error.path]})"
    elif file is not None:
        message += f" (in file {str(file)!r})"
    return InvalidInputError(message, path=error.path)


def _require_sound(settings: Settings) -> None:
    """Refuse settings that are right one by one but not together."""
    server = settings.server
    if (server.tls_certificate is None) != (server.tls_key is None):
        missing = "tls_key" if server.tls_key is None else "tls_certificate"
        raise InvalidInputError(
            "expected a file, as the other one of TLS is given", path=f"server.{missing}"
        )
    if not (server.is_local or server.has_tls or server.plain_http):
        raise InvalidInputError(
            f"expected tls_certificate and tls_key beside it, as {server.host!r} can be reached "
            "from other machines, or plain_http = true where a proxy before the service has TLS",
            path="server.host",
        )


def _sections() -> dict[str, type[Section]]:
    return {
        name: typing.cast("type[Section]", field.annotation)
        for name, field in Settings.model_fields.items()
    }
