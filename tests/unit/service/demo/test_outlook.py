"""What the next hour may bring, recomputed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from service.demo.outlook import expect, look_ahead
from solver.domain.plan import Plan
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm


def test_quantiles_and_overload_of_a_host() -> None:
    """Two paths, one of which overloads the host of both VMs for one step."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2"), make_vm("v3", "h2")]
    )
    paths = make_scenarios(
        cluster, {"v1": [[4, 4, 4, 4], [4, 8, 4, 4]], "v2": [[3] * 4, [4] * 4], "v3": 1}
    )
    outlook = look_ahead(cluster, paths)
    assert outlook.overload.tolist() == [0.5, 0.0]
    assert outlook.p50[:, 0] == pytest.approx([np.quantile([0.7, 1.2], 0.5), 0.1])
    assert outlook.p95[0, 0] == pytest.approx(np.quantile([0.7, 1.2], 0.95))
    assert outlook.p50[0, 2] == pytest.approx(0.0)


def test_a_plan_without_moves_spares_nothing() -> None:
    """Without moves both expectations are the same: 2 of 10 cores short for a quarter of a step."""
    cluster = make_cluster([make_host("h1")], [make_vm("v1", cores=16)])
    paths = make_scenarios(cluster, {"v1": [[12, 8, 8, 8]]})
    expected = expect(cluster, paths, Plan(made_at=NOW))
    assert expected.without_plan == expected.with_plan == pytest.approx(0.2 * 900)
