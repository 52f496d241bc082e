"""What labs keep from run to run, in the user's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """Return the lab's folder in the user's cache, made if missing."""
    named = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(named) if named else Path.home() / ".cache") / "foreswap" / "lab"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def copy_changed(source: Path, destination: Path) -> None:
    """Copy the files of a folder that the other lacks or has otherwise, each at once."""
    if not source.is_dir():
        return
    destination.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        target = destination / path.name
        if not target.exists() or target.read_bytes() != path.read_bytes():
            handle, made = tempfile.mkstemp(dir=destination)
            os.close(handle)
            shutil.copyfile(path, made)
            Path(made).rename(target)
