"""Finished parts of a replay, kept so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from service.files import write_text
from service.replay.config import ReplayConfig
from solver.domain.errors import InvalidInputError


class ReplayState:
    """A folder with the figures of the policies that are done.

    Parts are kept under the fingerprint of the configuration: those of another one are neither
    used nor touched.

    Parameters
    ----------
    folder
        ``None`` keeps nothing.
    """

    def __init__(self, folder: Path | None, config: ReplayConfig) -> None:
        self._folder = None if folder is None else folder / config.fingerprint()
        self._parent = folder

    def figures(self, policy: str) -> dict[str, Any] | None:
        """Return the figures of a policy that is done, ``None`` if it is not.

        A part that cannot be read is not done.
        """
        path = self._path(policy)
        if path is None or not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            return None
        return values if isinstance(values, dict) else None

    def prepare(self) -> None:
        """Make the folder, so that a place that cannot be written shows before the work is done.

        Raises
        ------
        InvalidInputError
            If it cannot be made.
        """
        if self._folder is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidInputError(
                f"expected a folder that can be made and written, got {str(self._folder.parent)!r}:"
                f" {error.strerror}",
                path="--state",
            ) from error

    def keep(self, policy: str, figures: dict[str, Any]) -> None:
        """Keep the figures of a policy, whole or not at all."""
        path = self._path(policy)
        if path is not None:
            self.prepare()
            write_text(path, json.dumps(figures))

    def remove(self) -> None:
        """Forget everything about this configuration."""
        if self._folder is not None and self._folder.exists():
            shutil.rmtree(self._folder)
            assert self._parent is not None
            if not any(self._parent.iterdir()):
                self._parent.rmdir()

    def _path(self, policy: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{policy}.json"
