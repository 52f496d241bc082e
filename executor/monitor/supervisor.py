"""Tells systemd that the monitor is ready and alive; does nothing without systemd.

References
----------
.. [1] sd_notify(3), https://www.freedesktop.org/software/systemd/man/sd_notify.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Supervisor:
    """The socket that systemd listens on.

    Parameters
    ----------
    environment
        Where ``NOTIFY_SOCKET`` stands; the process's own if ``None``.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._told = ""

    def ready(self) -> None:
        """Say that the monitor runs."""
        self._send("READY=1")

    def alive(self, status: str) -> None:
        """Say that the monitor goes on, and how it is in a few words if that changed."""
        text = "WATCHDOG=1"
        if status != self._told:
            text += f"\nSTATUS={status}"
        self._told = status
        self._send(text)

    def stopping(self) -> None:
        """Say that the monitor ends."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # An @ stands for the zero byte of Linux's abstract addresses.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode("utf-8"), socket.MSG_DONTWAIT, address)
        except OSError:
            # Whoever supervises has gone; there is nobody to tell.
            return
