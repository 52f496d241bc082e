"""The first start: somebody has to be let in before anybody can be."""

from __future__ import annotations

from datetime import datetime

from service.security import users
from service.security.passwords import Passwords, one_time_password
from service.store.base import Store


def make_first_admin(store: Store, passwords: Passwords, now: datetime) -> str | None:
    """Make the user ``admin`` in a store without users; return the password, for one login.

    Whoever starts the service shows it once, and nowhere else: it is neither logged nor kept.
    ``None`` if there are users. Of several processes that start at once one makes the user.
    """
    with store.begin(read_only=True) as tx:
        if users.page(tx, after="", limit=1):
            return None
    password = one_time_password()
    password_hash = passwords.hash(password)
    with store.begin() as tx:
        return password if users.make_first(tx, password_hash, now) else None
