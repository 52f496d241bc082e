"""Finished parts of a replay, kept so that an interrupted one goes on where it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from service.replay.config import ReplayConfig


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
        """Return the figures of a policy that is done, ``None`` if it is not."""
        path = self._path(policy)
        if path is None or not path.exists():
            return None
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values

    def keep(self, policy: str, figures: dict[str, Any]) -> None:
        """Keep the figures of a policy, whole or not at all."""
        path = self._path(policy)
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(figures), encoding="utf-8")
        partial.replace(path)

    def remove(self) -> None:
        """Forget everything about this configuration."""
        if self._folder is not None and self._folder.exists():
            shutil.rmtree(self._folder)
            assert self._parent is not None
            if not any(self._parent.iterdir()):
                self._parent.rmdir()

    def _path(self, policy: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{policy}.json"
