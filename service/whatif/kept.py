"""Futures that a cluster is planned on, kept as arrays so that any process may ask about them.

What the runtime forecasts it draws joint futures from, by a memory of how forecasts went that it
alone carries. So the futures themselves are kept, not only the bands they come from: whoever draws
anew from bands has to guess how VMs move together.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np

from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet, equal_probabilities
from solver.domain.units import VmId

FUTURES: Final = "futures"
"""Name of the blob."""

MOST_KEPT: Final = 2**17
"""Futures times VMs that are kept: some 10 MB before they are packed."""
LEAST_KEPT: Final = 16

_QUICKLY: Final = 1
"""Level: they are written every few minutes, and others would pack them hardly smaller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptForecast:
    """Joint futures from an instant on.

    Parameters
    ----------
    forecaster
        Whose they are.
    """

    at: datetime
    forecaster: str
    scenarios: ScenarioSet


def futures_to_bytes(forecast: KeptForecast) -> bytes:
    """Return the futures as they are kept."""
    scenarios = forecast.scenarios
    meta = {
        "at": forecast.at.isoformat(),
        "forecaster": forecast.forecaster,
        "start_at": scenarios.start_at.isoformat(),
        "step_seconds": scenarios.step_seconds,
        "vms": list(scenarios.vm_ids),
    }
    data = io.BytesIO()
    np.savez(
        data,
        meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        probability_ppm=np.array(scenarios.probability_ppm, dtype=np.int64),
        # From step to step little changes: differences take half the room. They fit, since no
        # amount is beyond 31 bits.
        demand=np.diff(scenarios.demand, axis=3, prepend=0).astype(np.int32),
    )
    return zlib.compress(data.getvalue(), _QUICKLY)


def futures_from_bytes(data: bytes) -> KeptForecast:
    """Return futures that were kept."""
    with np.load(io.BytesIO(zlib.decompress(data)), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        scenarios = ScenarioSet(
            vm_ids=tuple(VmId(vm_id) for vm_id in meta["vms"]),
            start_at=datetime.fromisoformat(meta["start_at"]),
            step_seconds=meta["step_seconds"],
            probability_ppm=tuple(arrays["probability_ppm"].tolist()),
            demand=np.cumsum(arrays["demand"], axis=3, dtype=np.int64),
        )
    return KeptForecast(
        at=datetime.fromisoformat(meta["at"]), forecaster=meta["forecaster"], scenarios=scenarios
    )


def worth_keeping(scenarios: ScenarioSet, *, seed: int) -> ScenarioSet:
    """Return the futures that are kept: of large clusters not all that plans are made on.

    They are written with every forecast, and all that reads and writes waits for it.
    """
    most = max(LEAST_KEPT, MOST_KEPT // max(1, len(scenarios.vm_ids)))
    return thinned(scenarios, most, seed=seed)


def thinned(scenarios: ScenarioSet, number: int, *, seed: int) -> ScenarioSet:
    """Return so many of the futures at most, none more likely to be left out than it is unlikely.

    Drawn at equal steps along the sum of probabilities, from a random beginning: each future is
    drawn in proportion to its probability, and a likely one may stand for several.
    """
    if number >= scenarios.num_scenarios:
        return scenarios
    ends = np.cumsum(scenarios.probability_ppm)
    first = np.random.default_rng(seed).random()
    at = (first + np.arange(number)) * PROBABILITY_PPM / number
    drawn, counts = np.unique(np.searchsorted(ends, at, side="right"), return_counts=True)
    shares = np.add.reduceat(
        np.array(equal_probabilities(number)), np.concatenate([[0], np.cumsum(counts)[:-1]])
    )
    return replace(
        scenarios, probability_ppm=tuple(shares.tolist()), demand=scenarios.demand[drawn]
    )
