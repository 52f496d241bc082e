"""A what-if as work for a worker process, and its answer as a document."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from service.solving.demand import Demand, PresentLoad, Readings
from service.solving.work import Told, as_json, progress_of
from service.whatif.futures import Foreseen, KeptFutures, name_of_forecaster
from service.whatif.measure import Measure
from service.whatif.question import Question
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan, StepKind

if TYPE_CHECKING:
    from service.whatif.answer import WhatIf
    from solver.capacity.question import HostsNeeded, Room, Survival
    from solver.domain.scenario import ScenarioSet
    from solver.params import SolveParams


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIfWork:
    """One question about one cluster."""

    cluster: Cluster
    question: Question
    demand: Demand
    params: SolveParams
    num_scenarios: int | None = None

    @property
    def limit_s(self) -> float:
        """Return the time of all its parts together."""
        parts = 2 + sum(
            item is not None for item in (self.question.room, self.question.hosts_needed)
        )
        return parts * self.params.limit_s

    @property
    def num_vms(self) -> int:
        """Return how many VMs there are to place after the change."""
        return len(self.cluster.vms) + sum(item.count for item in self.question.added_vms)

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Return the answer as JSON."""
        from service.whatif.answer import answer

        foreseen = self._foreseen()
        found = answer(
            self.cluster,
            self.question,
            foreseen.scenarios,
            self.params,
            cancel=cancel,
            on_progress=lambda reached: told(progress_of(reached)),
        )
        return as_json(whatif_document(found, foreseen))

    def _foreseen(self) -> Foreseen:
        """Return the demand to come, with where it is from."""
        seed, number = self.params.seed, self.num_scenarios
        if isinstance(self.demand, KeptFutures):
            return self.demand.foresee(self.cluster, seed=seed, num_scenarios=number)
        scenarios = self.demand.scenarios(self.cluster, seed=seed, num_scenarios=number)
        if isinstance(self.demand, Readings):
            name = name_of_forecaster(self.demand.model_path)
            return Foreseen(scenarios=scenarios, forecaster=name, source=_READINGS)
        source = _LOAD if isinstance(self.demand, PresentLoad) else _GIVEN
        return Foreseen(scenarios=scenarios, forecaster="", source=source)


_READINGS: Final = "forecast from the readings that were given with the question"
_LOAD: Final = "a load that stays as it is; VMs of which none was given need all they were promised"
_GIVEN: Final = "what was given with the question"


def whatif_document(found: WhatIf, foreseen: Foreseen) -> dict[str, Any]:
    """Return the answer as JSON values."""
    from solver.instances import plan_to_document, result_to_document

    scenarios = found.changed.scenarios
    result = result_to_document(found.result) | {"num_scenarios": scenarios.num_scenarios}
    return {
        "feasible": found.feasible,
        "blocked_by": list(found.blocked_by),
        "horizon": _horizon(scenarios),
        "forecaster": foreseen.forecaster,
        "demand_source": foreseen.source,
        "before": measure_document(found.before),
        "unmoved": measure_document(found.unmoved),
        "after": measure_document(found.after),
        "moves": _moves(found.result.plan),
        "plan": plan_to_document(found.result.plan),
        "headroom": {name: asdict(item) for name, item in found.headroom.items()},
        "survival": survival_document(found.survival),
        "room": None if found.room is None else room_document(found.room),
        "hosts_needed": None if found.needed is None else hosts_document(found.needed),
        "result": result,
    }


def measure_document(measure: Measure) -> dict[str, Any]:
    """Return a judged placement as JSON values."""
    return {
        "contention_host_s": measure.contention_host_s,
        "shortfall": measure.shortfall,
        "overload_ppm": measure.overload_ppm,
        "total_host_s": measure.total_host_s,
        "hosts": [asdict(host) | {"total": host.total} for host in measure.hosts],
        "violations": [asdict(violation) for violation in measure.violations],
    }


def survival_document(lost: Survival) -> dict[str, Any]:
    """Return what each loss does as JSON values."""
    return {
        "survives": lost.survives,
        "worst_host_id": None if lost.worst is None else lost.worst.host_id,
        "losses": [
            {
                "host_id": loss.host_id,
                "survived": loss.survived,
                "placement": dict(loss.placement),
                "left_out": list(loss.left_out),
                "lacks": loss.lacks,
            }
            for loss in lost.losses
        ],
    }


def room_document(room: Room) -> dict[str, Any]:
    """Return how many more fit as JSON values."""
    return {
        "status": room.status.value,
        "number": room.number,
        "bound": room.bound,
        "by_host": dict(room.by_host),
        "overload_ppm": room.overload_ppm,
        "survives_loss": room.survives_loss,
        "limits": room.limits,
    }


def hosts_document(needed: HostsNeeded) -> dict[str, Any]:
    """Return the hosts that are needed as JSON values."""
    return {
        "status": needed.status.value,
        "counts": needed.counts,
        "price": needed.price,
        "bound": needed.bound,
        "gap": needed.gap,
        "placement": dict(needed.placement),
        "target_ppm": needed.target_ppm,
        "margin": needed.margin,
        "overload_ppm": needed.overload_ppm,
        "fresh_overload_ppm": needed.fresh_overload_ppm,
        "meets_target": needed.meets_target,
        "survives_loss": needed.survives_loss,
        "limits": needed.limits,
    }


def _horizon(scenarios: ScenarioSet) -> dict[str, Any]:
    return {
        "start_at": scenarios.start_at.isoformat(),
        "seconds": scenarios.horizon_seconds,
        "num_scenarios": scenarios.num_scenarios,
    }


def _moves(plan: Plan) -> dict[str, Any]:
    kinds = [step.kind for step in plan.steps]
    return {
        "migrations": kinds.count(StepKind.MIGRATE),
        "starts": kinds.count(StepKind.START),
        "seconds": plan.makespan_ms / 1000,
        "transferred_mib": sum(step.transferred_mib for step in plan.steps),
    }
