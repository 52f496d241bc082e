"""Gives memory back that starting up needed for a moment."""

from __future__ import annotations

import ctypes


def give_back() -> bool:
    """Return what the C library holds free to the system; whether it could.

    Loading libvirt's binding takes some 10 MiB for a moment, which the C library would keep for
    good: a sixth of what the monitor may take. Libraries other than glibc have no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    return bool(trim(0))
