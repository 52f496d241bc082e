"""The backtest: what it reports, that it repeats, and that it can tell good from bad."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from forecast.backtest import BacktestReport, run_backtest, unseen_vms
from forecast.baseline import standard_baselines
from forecast.comparison import LightGbm, compared_models
from forecast.exponential_smoothing import ExponentialSmoothing
from forecast.forecaster import Forecaster
from forecast.history import History
from forecast.linear import LinearQuantiles, RidgeAutoregression
from forecast.plots import draw_plots
from forecast.quantile import TrainingSettings
from solver.domain.errors import InvalidInputError, NotEnoughHistoryError
from solver.domain.units import Resource
from tests.histories import DAY, START, make_history

SMALL = TrainingSettings(rows_per_resource=4000, rows_per_instant=30, iterations=30, num_jobs=1)


class TooFewRows(LinearQuantiles):
    """Asks for hardly any rows."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        return "too-few-rows"


OPPONENTS = (
    TooFewRows(resources=(Resource.CPU,), rows_per_horizon=10, rows_per_instant=5),
    *standard_baselines(),
    LinearQuantiles(
        resources=(Resource.CPU,), rows_per_horizon=480, rows_per_instant=30, num_jobs=1
    ),
    RidgeAutoregression(),
)


@pytest.fixture(scope="module")
def history() -> History:
    """Six days of forty VMs."""
    return make_history(num_vms=40, num_bins=6 * DAY)


def run(history: History, baselines: Sequence[Forecaster] = OPPONENTS) -> BacktestReport:
    """Train on four days, test on half a day."""
    return run_backtest(
        history,
        train_until=START + timedelta(days=4),
        test_from=START + timedelta(days=5),
        test_until=START + timedelta(days=5, hours=12),
        resources=[Resource.CPU],
        training=SMALL,
        baselines=baselines,
        compared=[
            LightGbm(resources=(Resource.CPU,), training=SMALL),
            ExponentialSmoothing(resources=(Resource.CPU,)),
        ],
        seed=3,
        warm_up_days=1.0,
    )


@pytest.fixture(scope="module")
def report(history: History) -> BacktestReport:
    """One run."""
    return run(history)


def test_layout(report: BacktestReport) -> None:
    """The JSON has every figure at its place, and survives a round trip."""
    document = json.loads(report.to_text())
    cell = document["results"]["cpu"]["30"]["busy"]
    assert {"pinball", "best_baseline", "best_baseline_pinball", "coverage", "n"} <= set(cell)
    assert set(cell["coverage"]) == {"0.05", "0.1", "0.25", "0.5", "0.75", "0.9", "0.95", "0.99"}
    assert set(document["results"]["cpu"]) == {"5", "15", "30", "45", "60"}
    assert document["unseen"]["cpu"]["30"]["all"]["n"] > 0
    assert 0 <= document["host_sums"]["60"]["coverage_90"] <= 1
    assert document["train_seconds"] > 0
    assert document["forecast_seconds"] > 0


def test_a_baseline_that_cannot_be_fitted_is_left_out(report: BacktestReport) -> None:
    """The report says which and why; the others are judged all the same."""
    assert "seasonal-day" in report.settings["baselines"]
    assert "too-few-rows" not in report.settings["baselines"]
    reason = report.settings["baselines_left_out"]["too-few-rows"]
    assert "clean training rows" in reason


def test_without_any_baseline_it_says_so(history: History) -> None:
    """Nothing to compare with is an error before the run, not after it."""
    for baselines, reason in (((), "none was given"), ([TooFewRows(rows_per_horizon=10)], "clean")):
        with pytest.raises(NotEnoughHistoryError, match=reason):
            run(history, baselines)


def test_best_baseline_is_the_best(report: BacktestReport) -> None:
    """The baseline compared with is the one with the least loss."""
    cell = report.results["cpu"]["15"]["all"]
    assert cell["best_baseline_pinball"] == min(cell["baselines"].values())
    assert cell["baselines"][cell["best_baseline"]] == cell["best_baseline_pinball"]


def test_other_libraries_are_told_of_and_are_no_baselines(report: BacktestReport) -> None:
    """Trees grown on the same rows come close; none of them becomes the best baseline."""
    others = ["lightgbm", "statsforecast"]
    assert report.settings["compared"] == others
    assert not set(others) & set(report.settings["baselines"])
    cell = report.results["cpu"]["30"]["busy"]
    assert sorted(cell["compared"]) == others
    assert cell["compared"]["lightgbm"] == pytest.approx(cell["pinball"], rel=0.2)
    assert cell["pinball"] < 1.1 * cell["compared"]["statsforecast"]
    assert cell["best_baseline"] not in others


def test_what_cannot_be_compared_with_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown names, one given twice, and a library that is not installed, with how to get it."""
    with pytest.raises(
        InvalidInputError, match="expected one of lightgbm, statsforecast, got 'prophet'"
    ):
        compared_models(["prophet"], (Resource.CPU,), seed=0)
    with pytest.raises(InvalidInputError, match="expected each once, got 'lightgbm' again"):
        compared_models(["lightgbm", "lightgbm"], (Resource.CPU,), seed=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match=r"lightgbm .* 'pip install foreswap\[compare\]'"):
        compared_models(["lightgbm"], (Resource.CPU,), seed=0)


def test_figures_are_plausible(report: BacktestReport) -> None:
    """On well-behaved series coverage is near its name and the loss near the best baseline's."""
    cell = report.results["cpu"]["30"]["busy"]
    assert abs(cell["coverage"]["0.5"] - 0.5) < 0.12
    assert cell["pinball"] < 1.1 * cell["best_baseline_pinball"]


def test_sums_need_the_dependence(report: BacktestReport) -> None:
    """VMs with a common shock: added up as if independent, their band is far too narrow."""
    sums = report.host_sums["30"]["cpu"]
    assert abs(sums["coverage_90"] - 0.9) < 0.1
    assert sums["independent"]["coverage_90"] < 0.7
    assert sums["interval_score"] < sums["independent"]["interval_score"]


@pytest.mark.slow
def test_same_seed_same_figures(report: BacktestReport, history: History) -> None:
    """Everything but the clock repeats."""
    again = run(history)
    assert again.results == report.results
    assert again.unseen == report.unseen
    assert again.host_sums == report.host_sums


def test_unseen_vms_are_a_share(history: History) -> None:
    """The hash sets about the wanted share aside, by id alone."""
    many = make_history(np.zeros((4, 400, 2), np.float32))
    chosen = unseen_vms(many, 0.3, 0)
    assert 0.2 < chosen.mean() < 0.4
    shuffled = many.select(np.arange(400)[::-1].copy())
    assert (unseen_vms(shuffled, 0.3, 0)[::-1] == chosen).all()


def test_times_out_of_order(history: History) -> None:
    """A test that begins before training ends is refused."""
    with pytest.raises(InvalidInputError, match="train_until <= test_from"):
        run_backtest(
            history,
            train_until=START + timedelta(days=4),
            test_from=START + timedelta(days=3),
            test_until=START + timedelta(days=5),
        )


def test_fans_are_the_forecasts(report: BacktestReport) -> None:
    """One VM of each class, a value of every quantile and a reading for each origin."""
    assert report.fans
    for fan in report.fans:
        num_origins = report.settings["num_origins"]
        assert len(fan["at"]) == len(fan["actual"]) == num_origins
        bands = np.array([fan["quantiles"][q] for q in ("0.05", "0.5", "0.95")])
        assert bands.shape == (3, num_origins)
        assert (np.diff(bands, axis=0) >= 0).all()
        inside = (bands[0] <= fan["actual"]) & (fan["actual"] <= bands[2])
        assert inside.mean() > 0.6


def test_pictures_are_drawn(report: BacktestReport, tmp_path: Path) -> None:
    """Three pictures that a viewer can open, also where a class has no readings."""
    paths = draw_plots(report.to_json(), tmp_path / "plots")
    assert [path.name for path in paths] == ["coverage.png", "reliability.png", "fans.png"]
    for path in paths:
        pixels = imread(path)
        assert pixels.shape[0] > 200
        assert pixels.shape[1] > 800
        assert pixels[..., :3].std() > 0.02, "more than blank paper"


def test_a_place_for_pictures_that_is_a_file_is_refused(
    report: BacktestReport, tmp_path: Path
) -> None:
    """The error names the option and the place."""
    (tmp_path / "plots").write_text("occupied")
    with pytest.raises(InvalidInputError, match=r"--plots.*plots"):
        draw_plots(report.to_json(), tmp_path / "plots")
