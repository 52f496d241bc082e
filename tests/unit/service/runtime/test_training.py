"""When a model is trained and taken over, and that the process that trains ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import select
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecast.accuracy import RetrainingRules
from forecast.completed import CompletedModel
from forecast.history import History
from forecast.quantile import TrainingSettings
from service.runtime.forecasting import Seer
from service.runtime.kept import MODEL
from service.runtime.training import (
    AGAIN,
    LEAST,
    LEAST_READ,
    ProcessTrainer,
    end_with_parent,
    read_to,
    train,
)
from service.store.base import Store
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource
from tests.builders import make_cluster, make_host, make_vm
from tests.histories import DAY, make_history
from tests.keeping import CLUSTER, START, Kept

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 30.0
FOUR_DAYS_AGO = START.replace(hour=0, minute=0) - timedelta(days=4)
SMALL = TrainingSettings(rows_per_resource=3000, rows_per_instant=8, iterations=3, num_jobs=1)


def _train(into: int) -> None:
    end_with_parent()
    os.write(into, b"begun")
    threading.Event().wait()


def _lead(into: int) -> None:
    process = FORK.Process(target=_train, args=(into,), daemon=True)
    process.start()
    process.join()


def test_it_ends_when_its_parent_is_killed() -> None:
    """Nobody is left who could tell it to: it notices by itself."""
    out, into = os.pipe()
    parent = FORK.Process(target=_lead, args=(into,))
    parent.start()
    os.close(into)
    with os.fdopen(out, "rb", buffering=0) as told:
        assert told.read(5) == b"begun"
        parent.kill()
        parent.join()
        # The pipe is at its end once nobody is left who could write to it.
        ended, _, _ = select.select([told], [], [], PATIENCE_S)
        assert ended, "it goes on without its parent"
        assert told.read(1) == b""


def test_a_first_model_waits_for_three_days() -> None:
    """Fewer teach nothing of a day; without telemetry there is nothing to train on."""
    store: Any = None  # it is not asked
    trainer = ProcessTrainer(store, "nowhere")
    long_enough = make_history(num_vms=2, num_bins=3 * DAY)
    short = make_history(num_vms=2, num_bins=3 * DAY - 1)
    assert long_enough.end_at - long_enough.start_at == LEAST
    assert trainer.reason(Seer(), None, now=short.end_at) == ""
    assert trainer.reason(Seer(), short, now=short.end_at) == ""
    assert trainer.reason(Seer(), long_enough, now=short.end_at) == "there is no model yet"


def test_after_a_training_nothing_is_trained_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was not taken over is not better an hour later."""
    store: Any = None
    trainer = ProcessTrainer(store, "nowhere")
    history = make_history(num_vms=2, num_bins=3 * DAY)
    monkeypatch.setattr(trainer, "_begun_at", history.end_at)
    soon, late = history.end_at + AGAIN - timedelta(minutes=1), history.end_at + AGAIN
    assert trainer.reason(Seer(), history, now=soon) == ""
    assert trainer.reason(Seer(), history, now=late) != ""


@pytest.fixture
def only_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learn nothing but the CPU: a quarter of the models."""
    monkeypatch.setattr("service.runtime.training.read_to", lambda *_: (Resource.CPU,))


class Here(ProcessTrainer):
    """Trains at once, in this process; an hour after one model another is wanted."""

    def __init__(self, store: Store) -> None:
        rules = RetrainingRules(most_age=timedelta(hours=1))
        super().__init__(store, "here", rules=rules, settings=SMALL)
        self.verdicts: list[tuple[datetime, Any]] = []

    def start(self, cluster_id: str, until_at: datetime) -> None:
        """Train, and note what came of it."""
        verdict = train(self._store, cluster_id, until_at, SMALL)
        self.verdicts.append((until_at, verdict))


@pytest.mark.usefixtures("only_cpu")
def test_a_model_is_trained_and_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the fourth day on the cluster is forecast by a model; a day later by another one.

    What was learned of the first one's errors stays: it was made anew from days that the second had
    been trained on. And none is judged on a day that the one in use has seen, though another was
    wanted an hour after the first. Days are hours here, or all the forecasts would take minutes.
    """
    monkeypatch.setattr("service.runtime.training.JUDGED", timedelta(hours=7))
    monkeypatch.setattr("service.runtime.forecasting.WARM_UP_DAYS", 0.25)
    trainers: list[Here] = []

    def trainer(store: Store) -> Here:
        trainers.append(Here(store))
        return trainers[-1]

    kept = Kept(
        tmp_path,
        schedule={"paused": True},
        trainer=trainer,
        past=timedelta(days=4),
        time_zone="Europe/Berlin",
    )
    seer = kept.keeper.seer
    kept.pass_time(hours=0.2)
    assert seer.latest is not None
    assert seer.latest.forecaster == "quantile-boosting"
    first, online = seer.model, seer.online
    assert first is not None
    assert online is not None
    assert first.features.time_zone == "Europe/Berlin"
    (verdicts,) = [trainer.verdicts for trainer in trainers]
    assert [verdict["accepted"] for _, verdict in verdicts] == [True]
    kept.pass_time(hours=6.5, step_s=1800)
    assert len(verdicts) == 1
    online.class_of.clear()
    kept.pass_time(until=lambda: seer.model is not first, hours=3, step_s=1800)
    second = seer.model
    assert second is not None
    assert second is not first
    assert len(verdicts) == 2
    assert verdicts[1][0] - verdicts[0][0] >= timedelta(hours=7)
    assert seer.online is online
    assert online.class_of, "who is busy is looked at anew"
    assert online.forecaster == CompletedModel(second)


def _kept(folder: Path, history: History, **more: Any) -> Kept:
    """Return a cluster with the telemetry of some VMs, all on one host."""
    vms = [make_vm(vm_id, "h1", **more) for vm_id in history.vm_ids]
    kept = Kept(folder, cluster=make_cluster([make_host("h1")], vms))
    kept.store.telemetry.put_history(CLUSTER, history)
    return kept


def _model(kept: Kept) -> Any:
    with kept.store.begin(read_only=True) as tx:
        found = tx.blobs.get(CLUSTER, MODEL)
    assert found is not None
    seer = Seer()
    seer.take_over(found[1])
    return seer.model


@pytest.mark.usefixtures("only_cpu")
def test_types_of_the_inventory_are_learned(tmp_path: Path) -> None:
    """Telemetry knows no application types; those of the snapshot were never looked at."""
    history = replace(make_history(num_vms=6, num_bins=4 * DAY), start_at=FOUR_DAYS_AGO)
    kept = _kept(tmp_path, history, app_type="web")
    train(kept.store, CLUSTER, history.end_at, SMALL)
    assert _model(kept).features.app_types == {"web": 1}


def test_what_is_hardly_read_is_not_learned(tmp_path: Path) -> None:
    """The CPU has a model all the same; the network, of which one host of six tells and another
    told for an hour, waits until there is something to learn.
    """
    whole = make_history(num_vms=6, num_bins=4 * DAY)
    readings = whole.readings.copy()
    readings[Resource.NET_IO, 1:] = np.nan
    readings[Resource.NET_IO, 1, :12] = 1.0
    history = replace(whole, readings=readings, start_at=FOUR_DAYS_AGO)
    others = (Resource.CPU, Resource.MEMORY, Resource.DISK_IO)
    assert history.resources == tuple(Resource)
    assert read_to(LEAST_READ, history) == others
    assert read_to(1 / 6, history) == tuple(Resource)
    kept = _kept(tmp_path, history)
    train(kept.store, CLUSTER, history.end_at, SMALL)
    assert tuple(_model(kept).models_) == others


def test_a_day_is_too_little_to_train_on(tmp_path: Path) -> None:
    """All of it is needed to judge the model."""
    history = replace(make_history(num_vms=6, num_bins=DAY), start_at=FOUR_DAYS_AGO)
    kept = _kept(tmp_path, history)
    with pytest.raises(NotEnoughHistoryError, match="expected more than a day of telemetry"):
        train(kept.store, CLUSTER, history.end_at, SMALL)
