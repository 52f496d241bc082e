"""What the security of the service is set to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityPolicy:
    """How long sessions last, how often a password may be tried, who is believed.

    Parameters
    ----------
    session_lifetime
        After which a session ends whatever happens: a day's work and a little more.
    session_idle
        After which an unused session ends: a lunch break does not end one.
    attempt_window
        Over which failed logins are counted.
    max_attempts
        Failed logins of one user from one address within the window.
    max_attempts_per_user
        The same from all addresses. Larger, since whoever reaches it keeps the user out too.
    max_attempts_per_address
        The same for all users: one office behind one address.
    is_behind_tls
        A proxy before the service has TLS: cookies are for TLS alone however a request arrives.
        Whose ``X-Forwarded-*`` headers are believed is the HTTP server's matter.
    allowed_hosts
        Names under which the service answers; empty for any.
    """

    session_lifetime: timedelta = timedelta(hours=12)
    session_idle: timedelta = timedelta(hours=1)
    attempt_window: timedelta = timedelta(minutes=15)
    max_attempts: int = 5
    max_attempts_per_user: int = 50
    max_attempts_per_address: int = 50
    is_behind_tls: bool = False
    allowed_hosts: tuple[str, ...] = ()
