"""One process of all leads: it looks after every cluster, each in a thread of its own.

The lease ``leader`` says who; each cluster has a lease beside it, under which everything on it is
done. Whoever loses the first stops all; whoever lost it without noticing is kept out by the second,
which nobody holds twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from executor.clock import Clock, SystemClock
from executor.errors import LeaseError, LeaseHeldError, LeaseLostError
from executor.lease import Lease
from service.inventory.policies import ClusterSettings
from service.runtime.drivers import Opener, lease_ttl_s, open_cluster
from service.runtime.keeper import Keeper, KeeperParams
from service.runtime.training import NoTrainer, Trainer
from service.store.base import Item, Kind, Store
from solver.domain.errors import ForeswapError

log = logging.getLogger(__name__)

LEADER: Final = "leader"
LEASE_S: Final = 9.0
"""How long a leader may be silent: its successor begins within a second or two after that."""
LOOK_S: Final = 1.0
"""Between two looks at what is wanted, and at whether the lease has become free."""
AGAIN_S: Final = 5.0
"""After an error, so long until the next try."""
JOIN_S: Final = 6.0
"""All threads that are called to end have so long: a call to a host, or a solve that is cancelled,
is over by then. A forecast of a large cluster may not be: it writes nothing any more."""

MakeTrainer = Callable[[], Trainer]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderParams:
    """Settings of a leader.

    Parameters
    ----------
    lease_s
        How long a leader may be silent before another one takes over.
    """

    lease_s: float = LEASE_S
    keeper: KeeperParams = field(default_factory=KeeperParams)


class Leader:
    """Leads, or waits to.

    Parameters
    ----------
    make_trainer
        Makes the trainer of a cluster.
    """

    def __init__(
        self,
        store: Store,
        *,
        params: LeaderParams | None = None,
        clock: Clock | None = None,
        opener: Opener = open_cluster,
        make_trainer: MakeTrainer = NoTrainer,
    ) -> None:
        self._store = store
        self._params = params or LeaderParams()
        self._clock = clock or SystemClock()
        self._opener = opener
        self._make_trainer = make_trainer
        self._lease = store.lease(LEADER, ttl_s=self._params.lease_s)
        self._tended: dict[str, Tended] = {}

    @property
    def leads(self) -> bool:
        """Whether this process leads, as far as it knows."""
        return self._lease.token is not None

    def run(self, stop: threading.Event) -> None:
        """Lead or wait to, until it is time to stop; :meth:`close` it then."""
        while not stop.is_set():
            self.look()
            stop.wait(LOOK_S)

    def look(self) -> None:
        """Become the leader or stay it, and see to it that every cluster is looked after."""
        try:
            if not self._led():
                return
            self._see_to_clusters()
        except ForeswapError as error:
            log.warning("leader: %s", error)

    def close(self) -> bool:
        """Stop looking after anything, between two steps, and let others lead.

        Return whether all has come to an end: what has not keeps its cluster's lease until that
        runs out.
        """
        ended = self._stop_all()
        with suppress(LeaseError, LeaseHeldError):
            self._lease.release()
        return ended

    def _led(self) -> bool:
        """Acquire or renew the lease; return whether it is held."""
        try:
            if self._lease.token is None:
                self._lease.acquire()
                log.info("leader: this process leads now")
            else:
                self._lease.renew()
        except LeaseLostError as error:
            log.warning("leader: %s", error)
            self._stop_all()
            return False
        except LeaseHeldError:
            return self._lease.token is not None
        return True

    def _see_to_clusters(self) -> None:
        with self._store.begin(read_only=True) as tx:
            clusters = {item.id: item for item in tx.items.page(Kind.CLUSTER, "", limit=1000)}
        for name, tended in list(self._tended.items()):
            gone = name not in clusters or not tended.is_of(clusters[name])
            if gone or not tended.is_alive():
                self._tended.pop(name).stop()
        for name, item in clusters.items():
            if name not in self._tended:
                self._tended[name] = self._tend(item)
        for tended in self._tended.values():
            tended.renew()

    def _tend(self, item: Item) -> Tended:
        settings = ClusterSettings.from_document(item.document)
        ttl_s = lease_ttl_s(settings.driver, self._params.lease_s)
        lease = self._store.lease(f"cluster-{item.id}", ttl_s=ttl_s)
        tended = Tended(item, lease, lambda stop: self._make_keeper(item.id, lease, stop))
        tended.start()
        return tended

    def _make_keeper(self, cluster_id: str, lease: Lease, stop: threading.Event) -> Keeper:
        return Keeper(
            self._store,
            cluster_id,
            lease=lease,
            clock=self._clock,
            params=self._params.keeper,
            opener=self._opener,
            trainer=self._make_trainer(),
            stop=stop,
        )

    def _stop_all(self) -> bool:
        for tended in self._tended.values():
            tended.call_off()
        end_s = time.monotonic() + JOIN_S
        ended = [tended.stop(end_s - time.monotonic()) for tended in self._tended.values()]
        self._tended.clear()
        return all(ended)


class Tended:
    """One cluster that is looked after in a thread, as long as its lease is held.

    Parameters
    ----------
    make_keeper
        Called under the lease, with what is set when it is to end.
    """

    def __init__(
        self, item: Item, lease: Lease, make_keeper: Callable[[threading.Event], Keeper]
    ) -> None:
        self._item = item
        self._lease = lease
        self._make_keeper = make_keeper
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeper {item.id}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def is_of(self, item: Item) -> bool:
        """Tell whether a cluster is still looked after in the right way."""
        return self._item.document.get("driver") == item.document.get("driver")

    def is_alive(self) -> bool:
        """Tell whether it is still looked after."""
        return self._thread.is_alive()

    def renew(self) -> None:
        """Stay the holder of the lease while the thread is in the middle of a solve."""
        if self._lease.token is None or self._stop.is_set():
            return
        try:
            self._lease.renew()
        except (LeaseLostError, LeaseHeldError, LeaseError) as error:
            # Whatever is lost is noticed by the thread itself before it acts.
            log.warning("cluster %s: %s", self._item.id, error)

    def call_off(self) -> None:
        """Ask it to end between two steps."""
        self._stop.set()

    def stop(self, patience_s: float = JOIN_S) -> bool:
        """End between two steps, let others have the cluster, and return whether it has ended."""
        self._stop.set()
        self._thread.join(timeout=max(0.0, patience_s))
        if self._thread.is_alive():
            return False
        with suppress(LeaseError, LeaseHeldError, LeaseLostError):
            self._lease.release()
        return True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._lease.acquire()
                self._keep()
            except LeaseHeldError:
                self._stop.wait(LOOK_S)
            except LeaseLostError as error:
                log.warning("cluster %s: nothing more is done here: %s", self._item.id, error)
            except ForeswapError as error:
                log.error("cluster %s: %s", self._item.id, error)
                self._stop.wait(AGAIN_S)
            except Exception:  # one cluster's defect must not end the others
                log.exception("cluster %s: looking after it failed", self._item.id)
                self._stop.wait(AGAIN_S)

    def _keep(self) -> None:
        keeper = self._make_keeper(self._stop)
        try:
            while not self._stop.is_set():
                with suppress(LeaseHeldError):
                    keeper.tick()
                self._stop.wait(LOOK_S)
        finally:
            keeper.close()
