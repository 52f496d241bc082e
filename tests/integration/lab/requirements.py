"""What the lab needs of a machine, and what it says where that is missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess

PROGRAM_PACKAGES = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "prlimit": "util-linux",
    "ip": "iproute2",
    "tc": "iproute2",
    "libvirtd": "libvirt-daemon",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "certtool": "gnutls-bin",
    "apt-get": "apt",
    "dpkg": "dpkg",
    "gcc": "gcc",
    "cpio": "cpio",
}
"""Debian's package for each program that the lab runs."""

UNSHARE = ("unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc")
"""Runs a command with namespaces of its own."""

SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Where the programs are looked for: ``PATH`` of root may lack its own folders."""


class LabUnavailableError(Exception):
    """This machine cannot run the lab; the message is one line for its owner."""


def require() -> None:
    """Check that a lab can be started here.

    :raises LabUnavailableError: naming what is missing
    """
    if os.geteuid() != 0:
        raise LabUnavailableError("only root may start it")
    missing = [name for name in PROGRAM_PACKAGES if find_program(name) is None]
    if missing:
        packages = sorted({PROGRAM_PACKAGES[name] for name in missing})
        raise LabUnavailableError(
            f"{', '.join(missing)} not found: run make lab, or install {' '.join(packages)}"
        )
    if importlib.util.find_spec("libvirt") is None:
        raise LabUnavailableError("libvirt's Python binding is not installed: run make lab")
    _require_namespaces()


def find_program(name: str) -> str | None:
    """Return the path of a program, ``None`` if it is not installed."""
    return shutil.which(name, path=SYSTEM_PATH)


def _require_namespaces() -> None:
    attempt = subprocess.run(
        [*UNSHARE, "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if attempt.returncode != 0:
        raise LabUnavailableError(f"namespaces are not allowed here: {attempt.stderr.strip()}")
