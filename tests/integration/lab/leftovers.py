"""The folders of labs, and the removal of those whose owners ended without closing them.

What a lab runs ends with its owner, and its folder then goes too, unless the process that sees to
that was killed as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import psutil

FOLDER_PREFIX = "foreswap-lab-"
OWNER = "owner"

DYING_S = 10.0
"""Longest that killed processes are waited for."""


def make_folder() -> Path:
    """Make the folder of a new lab, whose owner is this process."""
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
    (folder / OWNER).write_text(_identity(os.getpid()), encoding="utf-8")
    return folder


def remove_leftovers() -> None:
    """Remove every lab of this machine that has no owner any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}[0-9]*-*"):
        if not _has_owner(folder):
            left = processes_naming(folder)
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            # On a busy machine they are seen for a while after they were killed.
            psutil.wait_procs(left, timeout=DYING_S)
            shutil.rmtree(folder, ignore_errors=True)


def processes_naming(folder: Path) -> list[psutil.Process]:
    """Return the processes with the folder on their command line, as all of a lab's have."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in argument for argument in process.info["cmdline"] or ())
    ]


def _has_owner(folder: Path) -> bool:
    pid = int(folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0])
    try:
        known = (folder / OWNER).read_text(encoding="utf-8")
    except FileNotFoundError:
        # It is just being made, or was left half made.
        return psutil.pid_exists(pid)
    return known == _identity(pid)


def _identity(pid: int) -> str:
    """Return what tells a process from a later one of the same number; empty if there is none."""
    try:
        return f"{pid} {psutil.Process(pid).create_time()}"
    except psutil.NoSuchProcess:
        return ""
