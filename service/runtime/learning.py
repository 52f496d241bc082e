"""Which model a cluster is forecast with: takes over what was trained, and has it trained anew."""

from __future__ import annotations

import logging
from datetime import datetime

from forecast.history import History
from service.runtime.charge import Charge
from service.runtime.forecasting import Seer
from service.runtime.kept import MODEL
from service.runtime.training import Trainer
from solver.domain.errors import ForeswapError

log = logging.getLogger(__name__)


class Learner:
    """Sees to the model of one cluster.

    Parameters
    ----------
    seer
        Who forecasts with it.
    """

    def __init__(self, charge: Charge, seer: Seer, trainer: Trainer) -> None:
        self._charge = charge
        self._seer = seer
        self._trainer = trainer
        self._taken_at: datetime | None = None

    def take_over(self) -> None:
        """Forecast with the model in the store, if there is another one than in use."""
        cluster_id = self._charge.cluster_id
        made_at = self._trainer.made_at(cluster_id)
        if made_at is None or made_at == self._taken_at:
            return
        with self._charge.store.begin(read_only=True) as tx:
            kept = tx.blobs.get(cluster_id, MODEL)
        if kept is None:
            return
        self._taken_at = made_at
        try:
            self._seer.take_over(kept[1])
        except ForeswapError as error:
            log.warning("cluster %s: model left aside: %s", cluster_id, error)

    def train_if_due(self, history: History | None, end_at: datetime) -> None:
        """Have a model trained on what came up to an instant, if it is time to."""
        reason = self._trainer.reason(self._seer, history, now=end_at)
        if reason:
            log.info("cluster %s: training: %s", self._charge.cluster_id, reason)
            self._trainer.start(self._charge.cluster_id, end_at)

    def close(self) -> None:
        """Give up what is being trained."""
        self._trainer.close()
