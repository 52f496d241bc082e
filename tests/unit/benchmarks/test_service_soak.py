"""The soak counts what was not answered well apart, and telemetry is of the VMs that are read."""

from __future__ import annotations

import numpy as np

from benchmarks.ingest import made_up_minutes
from benchmarks.service_soak import cluster, figures


def test_failures_are_counted_and_not_timed() -> None:
    """Quantiles are of good answers alone."""
    told = figures([(1.0, 200), (1.0, 200), (0.0, 503)])
    assert told["statuses"] == {"200": 2, "503": 1}
    assert told["p50_s"] == told["p99_s"] == 1.0


def test_telemetry_is_of_the_cluster() -> None:
    """What hosts deliver names the hosts and VMs of the snapshot."""
    made = cluster(2, 3)
    record = made_up_minutes(1, 3, np.random.default_rng(0))[0]
    assert record.host_id == made.hosts[1].id
    assert [vm.vm_id for vm in record.vms] == [vm.id for vm in made.vms[3:]]
