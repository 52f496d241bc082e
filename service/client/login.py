"""Where the service is and who asks it: by the environment, else by the last ``foreswap login``.

A secret is never an option of a command, where everybody on the machine could read it: it comes
from a file, from the environment, or from a question.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from solver.domain.errors import InvalidInputError

DEFAULT_URL: Final = "http://127.0.0.1:8470"
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

URL: Final = "FORESWAP_URL"
TOKEN: Final = "FORESWAP_TOKEN"
TOKEN_FILE: Final = "FORESWAP_TOKEN_FILE"
CA_FILE: Final = "FORESWAP_CA_FILE"
ALLOW_HTTP: Final = "FORESWAP_ALLOW_HTTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the service is, and what it is shown.

    Parameters
    ----------
    token
        Of a program; comes before a session.
    cookie, csrf_token
        Of the session of a person.
    ca_file
        Certificate authorities to trust instead of the system's; empty for those.

    Raises
    ------
    InvalidInputError
        If the address is none.
    """

    url: str = DEFAULT_URL
    user: str = ""
    token: str = ""
    cookie: str = ""
    csrf_token: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInputError(
                f"expected the service's address such as {DEFAULT_URL}, got {self.url!r}"
            )

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read what is sent."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in LOOPBACK


def login_file(environment: Mapping[str, str]) -> Path:
    """Return the file of the last login."""
    state = environment.get("XDG_STATE_HOME", "")
    folder = Path(state) if state else Path.home() / ".local" / "state"
    return folder / "foreswap" / "login.json"


def load_access(environment: Mapping[str, str] | None = None) -> Access:
    """Return what to ask, and as whom.

    Parameters
    ----------
    environment
        The process's own if ``None``.

    Raises
    ------
    InvalidInputError
        If a file that is named cannot be read, or a credential would be sent in the clear.
    """
    environment = os.environ if environment is None else environment
    access = _remembered(login_file(environment))
    url = environment.get(URL, "").rstrip("/")
    if url and url != access.url:
        # What one service gave is not shown to another.
        access = Access(url=url)
    if ca_file := environment.get(CA_FILE):
        access = replace(access, ca_file=ca_file)
    if token := _token(environment):
        access = replace(access, token=token, cookie="", csrf_token="", user="")
    require_private(access, environment)
    return access


def require_private(access: Access, environment: Mapping[str, str]) -> None:
    """Refuse to send a secret in the clear over a network.

    :raises InvalidInputError: saying what to do
    """
    if not access.is_private and environment.get(ALLOW_HTTP) != "1":
        raise InvalidInputError(
            f"{access.url}: expected https, as passwords and tokens would be sent in the clear "
            f"(where nobody else is on that network: {ALLOW_HTTP}=1)"
        )


def save_access(access: Access, environment: Mapping[str, str] | None = None) -> Path:
    """Remember a login, for its user's eyes only; return the file."""
    file = login_file(os.environ if environment is None else environment)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    known = {name: value for name, value in asdict(access).items() if value}
    temporary.write_text(json.dumps(known), encoding="utf-8")
    temporary.replace(file)
    return file


def forget_access(environment: Mapping[str, str] | None = None) -> None:
    """Forget the last login, if there is one."""
    login_file(os.environ if environment is None else environment).unlink(missing_ok=True)


def _remembered(file: Path) -> Access:
    try:
        document: Any = json.loads(file.read_text(encoding="utf-8"))
        return Access(**document)
    except FileNotFoundError:
        return Access()
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInputError(
            f"file {str(file)!r}: expected what `foreswap login` wrote, got: {error}; delete it "
            "and log in again"
        ) from error


def _token(environment: Mapping[str, str]) -> str:
    if token := environment.get(TOKEN, "").strip():
        return token
    if not (name := environment.get(TOKEN_FILE)):
        return ""
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"{TOKEN_FILE}: expected a readable file, got {name!r}: {error}"
        ) from error
