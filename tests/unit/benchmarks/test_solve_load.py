"""The load on solving is measured from when requests were due, and failures are no figures."""

from __future__ import annotations

import json

from benchmarks.solve_load import Answered, body, figures
from service.solving.schema import SolveRequest


def test_a_request_is_one_that_the_service_reads() -> None:
    """Of the size asked for, and another cluster for another seed."""
    request = SolveRequest.model_validate(json.loads(body(10, 100, 0.1, 1)))
    assert (len(request.cluster.hosts), len(request.cluster.vms)) == (10, 100)
    assert body(10, 100, 0.1, 1) != body(10, 100, 0.1, 2)


def test_what_was_refused_is_counted_and_not_timed() -> None:
    """A refusal comes quickly, and would make the figures look better than they are."""
    told = figures([Answered(seconds=1.0, status=200)] * 3 + [Answered(seconds=0.0, status=503)])
    assert told["statuses"] == {"200": 3, "503": 1}
    assert told["p50_s"] == told["max_s"] == 1.0
    assert figures([Answered(seconds=0.0, status=503)])["p99_s"] is None
