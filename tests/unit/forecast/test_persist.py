"""Model files: what is written is read, and nothing else is."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import joblib
import numpy as np
import pytest

from forecast.history import History
from forecast.persist import MAGIC, load_model, save_model
from forecast.quantile import QuantileModel, TrainingSettings
from solver.domain.errors import ModelMismatchError, NotEnoughHistoryError
from solver.domain.units import Resource
from tests.histories import DAY, START, make_history


@pytest.fixture(scope="module")
def history() -> History:
    """Three days of ten VMs."""
    return make_history(num_vms=10, num_bins=3 * DAY)


@pytest.fixture(scope="module")
def model(history: History) -> QuantileModel:
    """A small fitted model of CPU."""
    training = TrainingSettings(
        rows_per_resource=3000, rows_per_instant=10, iterations=5, num_jobs=1
    )
    fitted = QuantileModel(resources=(Resource.CPU,), training=training)
    fitted.fit(history, until_bin=2 * DAY)
    return fitted


def rewrite(path: Path, **changes: object) -> None:
    """Change entries of a model file."""
    with path.open("rb") as file:
        file.read(len(MAGIC))
        content = joblib.load(file)
    with path.open("wb") as file:
        file.write(MAGIC)
        joblib.dump(content | changes, file)


def test_round_trip(model: QuantileModel, history: History, tmp_path: Path) -> None:
    """A model read from its file forecasts the same, and its figures come with it."""
    path = tmp_path / "cpu.model"
    save_model(model, path, backtest={"pinball": 0.1})
    read = load_model(path)
    assert (read.trained_from, read.trained_until) == (START, START + timedelta(days=2))
    assert read.backtest == {"pinball": 0.1}
    first, second = (
        one.forecast(history, at_bin=2 * DAY, resources=[Resource.CPU]).values
        for one in (read.model, model)
    )
    np.testing.assert_array_equal(first, second)
    assert [entry.name for entry in tmp_path.iterdir()] == ["cpu.model"]


@pytest.mark.parametrize("name", ["signature", "format", "kind", "sklearn"])
def test_what_does_not_fit_is_refused(model: QuantileModel, tmp_path: Path, name: str) -> None:
    """A file made with other features or versions names both."""
    path = tmp_path / "cpu.model"
    save_model(model, path)
    rewrite(path, **{name: "strange"})
    with pytest.raises(ModelMismatchError, match=f"{name} is 'strange', expected"):
        load_model(path)


def test_foreign_and_damaged_files(model: QuantileModel, tmp_path: Path) -> None:
    """Files of another kind, cut ones and absent ones are told apart."""
    path = tmp_path / "cpu.model"
    save_model(model, path)
    (tmp_path / "cut").write_bytes(path.read_bytes()[:3000])
    (tmp_path / "text").write_text("hello")
    for name, expected in (("cut", "damaged"), ("text", "not a foreswap"), ("none", "no such")):
        with pytest.raises(ModelMismatchError, match=expected):
            load_model(tmp_path / name)


def test_unfitted_model(tmp_path: Path) -> None:
    """A model that was never fitted is not written, and does not forecast."""
    with pytest.raises(ModelMismatchError, match="not fitted"):
        save_model(QuantileModel(), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotEnoughHistoryError, match="not fitted for cpu_millicores"):
        QuantileModel().forecast(make_history(), at_bin=5, resources=[Resource.CPU])


def test_too_little_to_train_on(history: History) -> None:
    """An hour of readings is too little, and says how much there is."""
    with pytest.raises(NotEnoughHistoryError, match="clean training rows"):
        QuantileModel().fit(history, until_bin=14)
