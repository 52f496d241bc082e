"""When a model is trained, and that the process that trains ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import select
import threading
from datetime import timedelta
from typing import Any

import pytest

from service.runtime.forecasting import Seer
from service.runtime.training import AGAIN, LEAST, ProcessTrainer, end_with_parent
from tests.histories import DAY, make_history

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 30.0


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
