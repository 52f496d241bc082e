"""Settings of foreswap itself, compared in the closed loop on 2 and 3 September 2013 unless told.

    python -m benchmarks.planner_grid --trace FILE --vary transfer=1,4 --vary act=5,20 --json OUT

Every combination is run on the same futures, which do not depend on what was planned before: the
first run makes them and keeps them for all others, in a scratch folder or in ``--keep``. A line in
OUT for each combination; those that are there already are not run again.

Names that can be varied: weights of the planner (``transfer``, ``utilisation``, ``downtime``,
``disruption``, ``imbalance``), ``moves`` (these first four at once, times what they are), ``act``
and ``stop`` (thresholds, host-seconds), ``cooldown`` (first pause, minutes), ``forget`` (hours of
quiet that take back a doubling). What is counted stays counted with the default weights.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import joblib

from benchmarks.replay_options import replay_config, replay_parser
from forecast.forecaster import QuantileForecast
from forecast.history import History
from forecast.online import OnlineForecaster
from service.cooldown import CooldownParams
from service.pipeline import Foresight, PredictivePlanner
from service.replay.loop import LoopParams, run_policy
from service.replay.policies import PredictivePolicy
from service.replay.report import machine
from service.replay.run import PATIENCE_S, PHYSICS, WORK_LIMIT, trained_before_window
from service.replay.stage import Stage, set_stage
from solver.domain.cluster import Cluster
from solver.domain.scenario import ScenarioSet
from solver.domain.weights import Weights
from solver.params import SolveParams

MOVE_WEIGHTS: Final = ("utilisation", "transfer", "downtime", "disruption")
SHOWN: Final = (
    "weighted_shortfall_host_s",
    "proportional_shortfall_host_s",
    "migrations",
    "gib_moved",
    "planning_s_p50",
)

WHOLE: Final = "whole"
"""Name of the file that says that the futures of all intervals are there."""

Setting = dict[str, float]


class KeptForesight(Foresight):
    """Futures made once and kept on disk, for runs that differ in what they do with them."""

    def __init__(
        self, online: OnlineForecaster, *, num_scenarios: int, seed: int, folder: Path
    ) -> None:
        super().__init__(online, num_scenarios=num_scenarios, seed=seed)
        self._folder = folder

    def of(
        self, cluster: Cluster, history: History, *, at_bin: int
    ) -> tuple[QuantileForecast, ScenarioSet]:
        """Return what is kept, or make and keep it."""
        path = self._folder / f"{at_bin}.joblib"
        if path.exists():
            kept: tuple[QuantileForecast, ScenarioSet] = joblib.load(path)
            return kept[0], kept[1].for_vms(tuple(vm.id for vm in cluster.vms))
        made = super().of(cluster, history, at_bin=at_bin)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            joblib.dump(made, file, compress=1)  # a tenth of the size
        Path(file.name).replace(path)
        return made


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runner:
    """Runs one setting after the other on one stage."""

    stage: Stage
    online: OnlineForecaster
    folder: Path

    def run(self, setting: Setting) -> dict[str, Any]:
        """Return the figures of one setting."""
        stage = self.stage
        foresight = KeptForesight(
            self.online,
            num_scenarios=stage.num_scenarios,
            seed=stage.config.seed,
            folder=self.folder,
        )
        policy = PredictivePolicy(
            PredictivePlanner(foresight, solving(setting, stage.config.seed)), stage.history
        )
        figures = run_policy(
            policy,
            config=stage.config,
            start=stage.start,
            workload=stage.workload(stage.first_bin),
            params=LoopParams(weights=Weights(), cooldown=cooldown(setting), physics=PHYSICS),
        )
        return {
            "setting": setting,
            "figures": figures.document(),
            "config": stage.config.document(),
            "machine": machine(),
        }


def solving(setting: Setting, seed: int) -> SolveParams:
    """Return how to solve: the defaults, but for what the setting says."""
    default = Weights()
    varied: dict[str, Any] = {
        item.name: setting[item.name] for item in fields(Weights) if item.name in setting
    }
    for name in MOVE_WEIGHTS:
        varied[name] = varied.get(name, getattr(default, name)) * setting.get("moves", 1.0)
    params = SolveParams(
        weights=replace(default, **varied), work_limit=WORK_LIMIT, limit_s=PATIENCE_S, seed=seed
    )
    act = setting.get("act", params.act_threshold_host_s)
    stop = setting.get("stop", min(act, params.stop_threshold_host_s))
    return replace(params, act_threshold_host_s=act, stop_threshold_host_s=stop)


def cooldown(setting: Setting) -> CooldownParams:
    """Return the pause after moves: the default, but for what the setting says."""
    default = CooldownParams()
    return CooldownParams(
        first=timedelta(minutes=setting.get("cooldown", default.first / timedelta(minutes=1))),
        forget_after=timedelta(
            hours=setting.get("forget", default.forget_after / timedelta(hours=1))
        ),
    )


def settings(varied: list[str]) -> Iterator[Setting]:
    """Yield every combination of ``name=value,value…``.

    Raises
    ------
    ValueError
        If a name is none that can be varied, or a value no number.
    """
    known = {item.name for item in fields(Weights) if isinstance(item.default, float)}
    known |= {"moves", "act", "stop", "cooldown", "forget"}
    axes = []
    for text in varied:
        name, _, values = text.partition("=")
        if name not in known:
            raise ValueError(f"expected one of {', '.join(sorted(known))}, got {name!r}")
        axes.append([(name, float(value)) for value in values.split(",")])
    for chosen in itertools.product(*axes):
        yield dict(chosen)


def main() -> None:
    """Run every combination and print a line for each."""
    parser = replay_parser(__doc__, from_="2013-09-02", until="2013-09-04")
    parser.add_argument("--vary", action="append", default=[], metavar="NAME=VALUE,VALUE")
    parser.add_argument("--keep", type=Path, default=None, help="folder of futures, kept after")
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        wanted = list(settings(arguments.vary))
    except ValueError as error:
        parser.error(f"--vary: {error}")
    config = replay_config(arguments, ("predictive",))
    if arguments.json.exists():
        lines = map(json.loads, arguments.json.read_text(encoding="utf-8").splitlines())
        done = [line["setting"] for line in lines if line["config"] == config.document()]
        wanted = [setting for setting in wanted if setting not in done]
    if not wanted:
        return
    stage = set_stage(config)
    with tempfile.TemporaryDirectory(prefix="foreswap-futures-") as scratch:
        folder = (arguments.keep or Path(scratch)) / config.fingerprint()
        if not (folder / WHOLE).exists():
            # A forecaster that was not asked for the first futures makes others later.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        runner = Runner(stage=stage, online=trained_before_window(stage), folder=folder)
        _tell(runner.run(wanted[0]), arguments.json)
        (folder / WHOLE).touch()
        jobs = (joblib.delayed(runner.run)(setting) for setting in wanted[1:])
        for line in joblib.Parallel(n_jobs=2, return_as="generator_unordered")(jobs):
            _tell(line, arguments.json)


def _tell(line: dict[str, Any], out: Path) -> None:
    """Print a line and keep it."""
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    told = " ".join(f"{name}={value:g}" for name, value in line["setting"].items()) or "defaults"
    shown = "  ".join(f"{line['figures'][name]:10,.1f}" for name in SHOWN)
    print(f"{told:<40} {shown}", flush=True)


if __name__ == "__main__":
    main()
