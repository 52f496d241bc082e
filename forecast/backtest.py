"""Judge the forecaster as it would have been used: rolling origin, nothing of the future known.

Trained once on the time before, then asked at regular instants of the test time, with calibration
and memory of joint errors carried along. VMs that were set aside are never trained on and judged
apart. Everything is compared with the baselines on exactly the same readings.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from forecast.baseline import standard_baselines
from forecast.classes import VmClasses, classify
from forecast.error_memory import actual_readings
from forecast.fans import Fans, examples
from forecast.features import MODELLED_AT
from forecast.forecaster import HORIZON_BINS, HORIZON_MINUTES, QUANTILES, Forecaster
from forecast.history import History
from forecast.linear import linear_baselines
from forecast.online import OnlineForecaster
from forecast.opponents import Background, Contest, Tallies
from forecast.quantile import QuantileModel, TrainingSettings
from forecast.reduction import reduce_paths
from forecast.scenarios import NUM_PATHS, affordable_scenarios, sample_paths
from forecast.scoring import (
    GROUPS,
    RESOURCE_NAMES,
    HostSumTally,
    LossTally,
    loss_units,
    memberships,
)
from solver.domain.errors import InvalidInputError, NotEnoughHistoryError
from solver.domain.units import Resource

EVERY_BINS: Final = 7
"""35 minutes between origins: no factor in common with the hour, so that every minute of it is
judged; jobs that run by the clock make the full hour unlike any other time."""
WARM_UP_DAYS: Final = 3.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestReport:
    """Everything a backtest found.

    Parameters
    ----------
    results, unseen
        Figures by resource, horizon and group of VMs: all VMs that took part in training, and
        those set aside. Losses are on the scale of :mod:`forecast.scoring`.
    host_sums
        Coverage of the 90 % band of sums over random groups of 15 to 25 VMs, by horizon.
    fans
        Forecasts of one VM of each class with what became of them; see ``forecast.fans``.
    settings
        What was asked for, the number of origins and VMs, the baselines, and those left out
        with the reason.
    """

    results: Mapping[str, Any]
    unseen: Mapping[str, Any]
    host_sums: Mapping[str, Any]
    fans: Sequence[Mapping[str, Any]]
    train_seconds: float
    forecast_seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "settings": dict(self.settings),
            "results": dict(self.results),
            "unseen": dict(self.unseen),
            "host_sums": dict(self.host_sums),
            "fans": [dict(fan) for fan in self.fans],
            "train_seconds": round(self.train_seconds, 3),
            "forecast_seconds": round(self.forecast_seconds, 4),
        }

    def to_text(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_json(), indent=2) + "\n"


def run_backtest(
    history: History,
    *,
    train_until: datetime,
    test_from: datetime,
    test_until: datetime,
    unseen_fraction: float = 0.3,
    seed: int = 0,
    progress: Progress | None = None,
    resources: Sequence[Resource] | None = None,
    training: TrainingSettings | None = None,
    baselines: Sequence[Forecaster] | None = None,
    compared: Sequence[Forecaster] = (),
    every_bins: int = EVERY_BINS,
    warm_up_days: float = WARM_UP_DAYS,
) -> BacktestReport:
    """Train on the past, forecast the test time from rolling origins, and compare.

    Baselines are judged in a process of their own, which is spawned: a script that calls this needs
    the usual ``if __name__ == "__main__"``. The seconds of a forecast are measured beside it.

    Parameters
    ----------
    train_until
        End of the training window, which begins with the history.
    test_from, test_until
        Origins lie in this window; its last hour is only forecast.
    unseen_fraction
        Share of the VMs, chosen by a hash of their id, that are kept out of training.
    seed
        Of training, of draws within atoms, paths and groups.
    progress
        Called with the origins done and the origins in all.
    resources
        What to judge; all that the history has if ``None``.
    training
        Settings of the model; its ``seed`` is replaced by ``seed``.
    baselines
        The opponents; all that there are if ``None``. They are fitted on what the model is.
    compared
        Other models, fitted and judged like baselines, whose losses are told but never count as
        the best baseline's.
    every_bins
        Bins between origins.
    warm_up_days
        Time before the test over which forecasts are made in hindsight, to fill calibration and
        memory.

    Raises
    ------
    InvalidInputError
        If times are out of order or outside the history, or the fraction is not in 0..1.
    NotEnoughHistoryError
        If the training window is too short, for the model or for every baseline.
    """
    window = _window(history, train_until, test_from, test_until, every_bins)
    if not 0.0 <= unseen_fraction < 1.0:
        raise InvalidInputError(f"expected a fraction of 0..1, got {unseen_fraction}")
    wanted = tuple(resources or history.resources)
    unseen = unseen_vms(history, unseen_fraction, seed)
    began = time.perf_counter()
    seen = history.until(window.train_bin)
    if unseen.any():
        seen = seen.select(np.flatnonzero(~unseen))
    model = _train(seen, wanted, training, seed)
    train_seconds = time.perf_counter() - began
    if baselines is None:
        baselines = (*standard_baselines(), *linear_baselines(wanted))
    opponents, left_out = _fitted(baselines, seen)
    for other in compared:
        other.fit(seen, until_bin=seen.num_bins)
    classes = classify(history, until_bin=window.train_bin)
    contest = Contest(
        history=history,
        baselines=(*opponents, *compared),
        resources=wanted,
        members=(memberships(classes, ~unseen), memberships(classes, unseen)),
        units=loss_units(history, until_bin=window.train_bin),
    )
    with Background(contest, window.origins) as background:
        run = _Run.prepare(contest, classes, model, seed, train_bin=window.train_bin)
        run.warm_up(window.origins.start, warm_up_days)
        for done, at_bin in enumerate(window.origins):
            run.judge(at_bin)
            if progress is not None:
                progress(done + 1, len(window.origins))
        theirs = background.tallies()
    apart = frozenset(other.name for other in compared)
    report = run.report(theirs, apart, window, unseen, train_seconds, seed)
    return replace(report, settings={**report.settings, "baselines_left_out": left_out})


def unseen_vms(history: History, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Choose VMs to keep out of training, by a hash of seed and id; the same in every run."""
    shares = [
        int.from_bytes(hashlib.sha256(f"{seed}:{vm_id}".encode()).digest()[:8], "big") / 2.0**64
        for vm_id in history.vm_ids
    ]
    return np.array([share < fraction for share in shares], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    train_bin: int
    origins: range
    times: tuple[datetime, datetime, datetime]


def _window(
    history: History,
    train_until: datetime,
    test_from: datetime,
    test_until: datetime,
    every_bins: int,
) -> _Window:
    train_bin, first, end = (history.bin_at(t) for t in (train_until, test_from, test_until))
    if not 0 < train_bin <= first < end <= history.num_bins:
        raise InvalidInputError(
            f"expected {history.start_at} < train_until <= test_from < test_until <= "
            f"{history.end_at}, got {train_until}, {test_from}, {test_until}"
        )
    # The first origin is the bin that ends at test_from; the last has an hour to be judged by.
    origins = range(first - 1, end - max(HORIZON_BINS), every_bins)
    if not len(origins):
        raise InvalidInputError(
            f"expected more than an hour of test time, got {test_from} to {test_until}"
        )
    return _Window(train_bin=train_bin, origins=origins, times=(train_until, test_from, test_until))


def _train(
    seen: History,
    resources: tuple[Resource, ...],
    training: TrainingSettings | None,
    seed: int,
) -> QuantileModel:
    base = training or TrainingSettings()
    settings = TrainingSettings(
        **{name: getattr(base, name) for name in base.__slots__ if name != "seed"}, seed=seed
    )
    model = QuantileModel(resources=resources, training=settings)
    model.fit(seen, until_bin=seen.num_bins)
    return model


def _fitted(
    baselines: Sequence[Forecaster], seen: History
) -> tuple[tuple[Forecaster, ...], dict[str, str]]:
    """Return the baselines that could be fitted, and why the others could not."""
    fitted, left_out = [], {}
    for baseline in baselines:
        try:
            baseline.fit(seen, until_bin=seen.num_bins)
        except NotEnoughHistoryError as error:
            left_out[baseline.name] = str(error)
        else:
            fitted.append(baseline)
    if not fitted:
        raise NotEnoughHistoryError(
            f"no baseline to compare with: {'; '.join(left_out.values()) or 'none was given'}"
        )
    return tuple(fitted), left_out


@dataclass(slots=True, kw_only=True)
class _Run:
    """What is carried from origin to origin."""

    contest: Contest
    online: OnlineForecaster
    rng: np.random.Generator
    fans: Fans
    ours: tuple[LossTally, LossTally] = field(default_factory=lambda: (LossTally(), LossTally()))
    host_sums: HostSumTally = field(default_factory=HostSumTally)
    forecast_seconds: list[float] = field(default_factory=list)

    @classmethod
    def prepare(
        cls,
        contest: Contest,
        classes: VmClasses,
        model: QuantileModel,
        seed: int,
        *,
        train_bin: int,
    ) -> _Run:
        online = OnlineForecaster(
            forecaster=model,
            resources=contest.resources,
            class_of=classes.by_vm(contest.history.vm_ids),
            seed=seed,
        )
        # Only CPU has fans.
        judged = Resource.CPU in contest.resources
        chosen = examples(contest.history, classes, until_bin=train_bin) if judged else {}
        return cls(
            contest=contest,
            online=online,
            rng=np.random.default_rng([seed, 1]),
            fans=Fans(chosen=chosen),
        )

    def warm_up(self, until_bin: int, days: float) -> None:
        """Fill calibration and memory from forecasts made in hindsight."""
        self.online.warm_up(
            self.contest.history, until_bin=until_bin, days=days, every_bins=EVERY_BINS
        )

    def judge(self, at_bin: int) -> None:
        """Forecast at one origin and add up how it went."""
        history = self.contest.history
        actual = actual_readings(history, at_bin, HORIZON_MINUTES)
        began = time.perf_counter()
        forecast = self.online.forecast(history, at_bin=at_bin)
        paths = sample_paths(
            forecast,
            self.online.memory,
            num_paths=NUM_PATHS,
            rng=self.rng,
            common_share=self.online.sums.share,
        )
        reduced = reduce_paths(
            paths, num_scenarios=affordable_scenarios(history.num_vms), rng=self.rng
        )
        self.forecast_seconds.append(time.perf_counter() - began)
        for tally, members in zip(self.ours, self.contest.members, strict=True):
            tally.add(forecast, actual, members, self.contest.units)
        self.fans.add(forecast, actual)
        day = f"{forecast.at:%Y-%m-%d}"
        self.host_sums.add(
            paths,
            actual,
            resources=self.contest.resources,
            day=day,
            reduced=reduced,
            rng=self.rng,
        )

    def report(
        self,
        theirs: Tallies,
        apart: frozenset[str],
        window: _Window,
        unseen: npt.NDArray[np.bool_],
        train_seconds: float,
        seed: int,
    ) -> BacktestReport:
        train_until, test_from, test_until = window.times
        return BacktestReport(
            results=self._results(theirs, apart, 0),
            unseen=self._results(theirs, apart, 1),
            host_sums=self.host_sums.figures(seed=seed),
            fans=self.fans.document(self.contest.history, QUANTILES),
            train_seconds=train_seconds,
            forecast_seconds=float(np.median(self.forecast_seconds)),
            settings={
                "train_until": train_until.isoformat(),
                "test_from": test_from.isoformat(),
                "test_until": test_until.isoformat(),
                "seed": seed,
                "num_vms": self.contest.history.num_vms,
                "num_unseen": int(unseen.sum()),
                "num_origins": len(window.origins),
                "baselines": [name for name in theirs if name not in apart],
                "compared": sorted(apart),
            },
        )

    def _results(self, theirs: Tallies, apart: frozenset[str], part: int) -> dict[str, Any]:
        """Return figures by resource, horizon and group; cells without readings are left out.

        Models ``apart`` are told of, but are nobody's best baseline.
        """
        losses = {name: tallies[part].mean_pinball() for name, tallies in theirs.items()}
        document: dict[str, Any] = {}
        for resource in self.contest.resources:
            for h in MODELLED_AT:
                minutes = HORIZON_MINUTES[h]
                for g, group in enumerate(GROUPS):
                    if not self.ours[part].count[resource, g, h]:
                        continue
                    cell = self.ours[part].figures(resource, g, h)
                    told = {name: float(loss[resource, g, h]) for name, loss in losses.items()}
                    others = {name: loss for name, loss in told.items() if name not in apart}
                    best = min(others, key=others.__getitem__)
                    cell |= {"best_baseline": best, "best_baseline_pinball": others[best]}
                    cell["skill"] = _skill(cell["pinball"], others[best])
                    cell["baselines"] = others
                    cell["compared"] = {name: told[name] for name in sorted(apart)}
                    by_horizon = document.setdefault(RESOURCE_NAMES[resource], {})
                    by_horizon.setdefault(str(minutes), {})[group] = cell
        return document


def _skill(ours: float, best: float) -> float:
    """Return how far below the best baseline we are, as a fraction of it."""
    return 1.0 - ours / best if best > 0 else 0.0
