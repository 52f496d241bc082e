"""Settings of the monitor, from a TOML file and the command line."""

from __future__ import annotations

import json
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from solver.domain.errors import InvalidInputError

DEFAULT_URI: Final = "qemu:///system"
MAX_OUTBOX_MIB: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorConfig:
    """Settings of one monitor; each is a key of the TOML file by the same name.

    Raises
    ------
    InvalidInputError
        If a value is out of its range, or a delivery is asked for by halves.
    """

    url: str = ""
    """Where records are delivered; empty to deliver none."""

    token_file: Path | None = None
    """File whose one word shows the service that this is the host it says it is."""

    ca_file: Path | None = None
    """Certificate authorities to trust instead of the system's."""

    outbox: Path | None = None
    """Folder for records that wait; needed to deliver."""

    outbox_max_mib: int = 1024
    """Bound of that folder: with a hundred VMs about a week, with twenty about a month."""

    interval_s: int = 10
    """Between two samples: the finest that a five-minute forecast gains from."""

    host_id: str = ""
    """The host's name in the cluster; its host name if empty."""

    libvirt_uri: str = DEFAULT_URI
    """Where VMs are read; empty on a host without libvirt."""

    metrics_file: Path | None = None
    """Prometheus text, written anew with each sample; empty to write none."""

    def __post_init__(self) -> None:
        if not 1 <= self.interval_s <= 60 or 60 % self.interval_s:
            raise InvalidInputError(
                f"expected seconds that divide a minute, got {self.interval_s}", path="interval_s"
            )
        if not 1 <= self.outbox_max_mib <= MAX_OUTBOX_MIB:
            raise InvalidInputError(
                f"expected 1..{MAX_OUTBOX_MIB}, got {self.outbox_max_mib}", path="outbox_max_mib"
            )
        if self.url and (self.token_file is None or self.outbox is None):
            missing = "token_file" if self.token_file is None else "outbox"
            raise InvalidInputError("expected a path, as records go to a url", path=missing)

    @property
    def effective_host_id(self) -> str:
        """The host's name in the cluster."""
        return self.host_id or socket.gethostname()

    def require_destination(self) -> None:
        """Refuse settings by which nothing would come of what is sampled.

        :raises InvalidInputError: if there is neither an address nor a metrics file
        """
        if not self.url and self.metrics_file is None:
            raise InvalidInputError("expected a url to deliver to, or a metrics file", path="url")

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Return the settings of a file.

        Raises
        ------
        InvalidInputError
            If it is no TOML, or has a key or a kind of value that no setting has.
        """
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"{path}: expected TOML, got: {error}") from error
        return cls._from_document(document, str(path))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the settings that ``to_json`` wrote; errors as of :meth:`from_toml`."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise InvalidInputError(f"expected settings as JSON, got: {error}") from error
        if not isinstance(document, dict):
            raise InvalidInputError(f"expected settings as a JSON object, got {document!r:.80}")
        return cls._from_document(document, "settings")

    def to_json(self) -> str:
        """Return the settings on one line."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return json.dumps(
            {
                name: str(v) if isinstance(v, Path) else v
                for name, v in values.items()
                if v is not None
            }
        )

    def overridden(self, changes: Mapping[str, Any]) -> Self:
        """Return the settings with those of ``changes`` that are not ``None`` in their place."""
        return replace(self, **{name: v for name, v in changes.items() if v is not None})

    @classmethod
    def _from_document(cls, document: Mapping[str, Any], origin: str) -> Self:
        kinds = {item.name: str(item.type) for item in fields(cls)}
        for name, value in document.items():
            if name not in kinds:
                raise InvalidInputError(
                    f"expected one of {', '.join(kinds)}, got {name!r}", path=origin
                )
            if type(value) is not (int if kinds[name] == "int" else str):
                kind = "a whole number" if kinds[name] == "int" else "a text"
                raise InvalidInputError(f"{origin}: expected {kind}, got {value!r:.80}", path=name)
        return cls(**{name: _typed(kinds[name], value) for name, value in document.items()})


def _typed(kind: str, value: Any) -> Any:
    if "Path" in kind:
        return Path(value) if value else None
    return value
