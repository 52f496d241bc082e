"""What a worker process does: one piece of work in, one JSON text out.

Work is pickled to the worker, so it is plain data that finds its libraries when it runs. Its answer
is text already, so that the server's threads neither build nor write large documents.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from service.solving.demand import Demand
from solver.domain.cluster import Cluster

if TYPE_CHECKING:
    from solver.params import SolveParams
    from solver.portfolio import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a search is.

    Parameters
    ----------
    best, bound
        Lowest total so far and what no placement goes below, in nano-host-seconds.
    engine
        Which found it.
    """

    best: int
    bound: int
    engine: str


Told = Callable[[Progress], None]


class Work(Protocol):
    """Anything a worker can do."""

    @property
    def limit_s(self) -> float:
        """About how long it takes at most; far beyond, its worker is taken for hung."""

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Return the answer as JSON.

        :param told: to be called with progress, from the calling thread
        :param cancel: once set, the answer is what was found until then
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveWork:
    """One solve, from the demand as it was given to the result document.

    Parameters
    ----------
    num_scenarios
        Futures to draw where they are not given; ``None`` for as many as the size affords.
    """

    cluster: Cluster
    demand: Demand
    params: SolveParams
    num_scenarios: int | None = None

    @property
    def limit_s(self) -> float:
        """Return the wall limit of the search."""
        return self.params.limit_s

    def run(self, told: Told, cancel: threading.Event) -> bytes:
        """Return the result document of ``solver.instances``."""
        from solver.instances import result_to_document
        from solver.solve import solve

        scenarios = self.demand.scenarios(
            self.cluster, seed=self.params.seed, num_scenarios=self.num_scenarios
        )
        result = solve(
            self.cluster,
            scenarios,
            self.params,
            cancel=cancel,
            on_progress=lambda answer: told(progress_of(answer)),
        )
        return as_json(result_to_document(result) | {"num_scenarios": scenarios.num_scenarios})


def progress_of(answer: Answer) -> Progress:
    """Return what the search has reached, as plain numbers."""
    return Progress(best=int(answer.total), bound=int(answer.bound), engine=answer.engine)


def as_json(document: dict[str, Any]) -> bytes:
    """Return a document as compact JSON."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")
