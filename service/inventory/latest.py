"""What was made of each cluster last, kept in memory under a mark until that changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

MAX_KEPT: Final = 32
"""Clusters of which something is kept; one of ten thousand VMs takes some 50 MiB."""

Kept = TypeVar("Kept")


@dataclass(slots=True)
class Latest(Generic[Kept]):
    """What was asked for last of each cluster, under the mark it was made at.

    Of a cluster the newest alone is kept, so that memory does not grow with its changes. What
    several threads ask for at once is made once.
    """

    kept: OrderedDict[str, tuple[Hashable, Kept]] = field(default_factory=OrderedDict)
    making: dict[Hashable, threading.Lock] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(
        self,
        cluster_id: str,
        mark: Hashable,
        make: Callable[[Kept | None], Kept],
        *,
        earlier_will_do: Callable[[Kept], bool] = lambda kept: False,
    ) -> Kept:
        """Return what is kept of a cluster under a mark, made if need be.

        Parameters
        ----------
        make
            Makes it; told what is kept under another mark, from which it may take over.
        earlier_will_do
            Whether what is kept under another mark is answered, too, while somebody else makes
            this one; else it is waited for.
        """
        found = self._find(cluster_id, mark)
        if found is not None:
            return found
        key = (cluster_id, mark)
        with self.lock:
            turn = self.making.setdefault(key, threading.Lock())
        if not turn.acquire(blocking=False):
            earlier = self._earlier(cluster_id)
            if earlier is not None and earlier_will_do(earlier):
                return earlier
            turn.acquire()
        try:
            found = self._find(cluster_id, mark)
            if found is not None:
                return found
            try:
                return self._keep(cluster_id, mark, make(self._earlier(cluster_id)))
            finally:
                with self.lock:
                    self.making.pop(key, None)
        finally:
            turn.release()

    def _find(self, cluster_id: str, mark: Hashable) -> Kept | None:
        with self.lock:
            kept_mark, found = self.kept.get(cluster_id, (None, None))
            if kept_mark != mark:
                return None
            self.kept.move_to_end(cluster_id)
            return found

    def _earlier(self, cluster_id: str) -> Kept | None:
        with self.lock:
            return self.kept.get(cluster_id, (None, None))[1]

    def _keep(self, cluster_id: str, mark: Hashable, made: Kept) -> Kept:
        with self.lock:
            self.kept[cluster_id] = (mark, made)
            self.kept.move_to_end(cluster_id)
            while len(self.kept) > MAX_KEPT:
                self.kept.popitem(last=False)
        return made
