"""The demonstration's forecaster: trained on the made-up past once, then kept in the user's cache.

The file's name says what it was trained on and by which code, so that a stale one is never read.
Model files run code when they are read: one that others could have written is not trusted.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from forecast.classes import classify
from forecast.history import History
from forecast.online import OnlineForecaster
from forecast.persist import load_model, save_model
from forecast.quantile import QuantileModel, TrainingSettings
from service.demo.config import DemoConfig
from service.demo.fleet import RESOURCES
from solver.domain.errors import ModelMismatchError

TRAINING: Final = TrainingSettings(rows_per_resource=20_000, iterations=50)
"""Smaller than usual: the made-up past is short and regular, and somebody is waiting."""
WARM_UP_DAYS: Final = 2.0
"""The least with which calibration and joint errors have seen each hour of the day twice."""

Tell = Callable[[str], None]
_CODE: Final = (
    "forecast",
    "executor/simulation",
    "service/demo/fleet.py",
    "service/demo/config.py",
)


def make_forecaster(
    config: DemoConfig, history: History, until_bin: int, *, folder: Path | None, tell: Tell
) -> OnlineForecaster:
    """Return a forecaster that knows the bins before ``until_bin`` and nothing else.

    Parameters
    ----------
    folder
        Where models are kept; ``None`` keeps none.
    tell
        Called with a few words about what takes time next.
    """
    past = history.until(until_bin)
    path = None if folder is None else folder / f"demo-{_key(config)}.model"
    model = None if path is None else _kept(path)
    if model is None:
        tell(f"training the forecaster on {past.num_bins // 288} days of {past.num_vms} VMs")
        # A small fleet has fewer VMs at an instant than are usually drawn: it takes more instants.
        drawn = min(TRAINING.rows_per_instant, past.num_vms)
        settings = replace(TRAINING, rows_per_instant=drawn, seed=config.seed)
        model = QuantileModel(resources=RESOURCES, training=settings)
        model.fit(past, until_bin=until_bin)
        if path is not None:
            _keep(model, path)
    tell("warming up: forecasts of the last days, in hindsight")
    classes = classify(past, until_bin=until_bin)
    online = OnlineForecaster(
        forecaster=model,
        resources=RESOURCES,
        class_of=classes.by_vm(past.vm_ids),
        seed=config.seed,
    )
    online.warm_up(past, until_bin=until_bin, days=WARM_UP_DAYS)
    return online


def cache_folder() -> Path:
    """Return the user's cache folder of foreswap, whether it exists or not."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification has relative paths ignored.
    root = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return root / "foreswap"


def _key(config: DemoConfig) -> str:
    """Return a hash of all that decides the model: the load, and the code that makes and fits."""
    digest = hashlib.sha256(f"{config.num_vms}:{config.seed}".encode())
    root = Path(__file__).resolve().parents[2]
    for name in _CODE:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else (place,):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _kept(path: Path) -> QuantileModel | None:
    """Return the kept model, ``None`` if there is none that can be used and trusted."""
    try:
        found = path.stat()
    except OSError:
        return None
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    try:
        return load_model(path).model
    except ModelMismatchError:
        return None


def _keep(model: QuantileModel, path: Path) -> None:
    """Keep a model; a cache that cannot be written is no reason to stop."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        save_model(model, path)
    except OSError:
        return
    _forget_old(path)


def _forget_old(kept: Path) -> None:
    """Leave only the newest few models, so that the cache does not grow with every change."""
    models = sorted(kept.parent.glob("demo-*.model"), key=lambda path: path.stat().st_mtime)
    for path in models[:-4]:
        if path != kept:
            path.unlink(missing_ok=True)
