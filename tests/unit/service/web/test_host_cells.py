"""Cells of hosts."""

from __future__ import annotations

import json
from collections.abc import Sequence

import plotly.io.json as plotly_json

from service.inventory.effective import Inventory
from service.web.host_cells import zones
from service.web.host_loads import ClusterLoad, HostLoad, Meter
from solver.domain.units import Resource
from tests.builders import make_cluster, make_host


def shown(hosts: Sequence[HostLoad], *, acts: bool) -> str:
    """Return what is sent to the browser of hosts in one zone."""
    cluster = make_cluster([each.host for each in hosts], [])
    inventory = Inventory(
        cluster_id="c1", cluster=cluster, vm_policies={}, maintenance={}, rules=()
    )
    load = ClusterLoad(inventory=inventory, zones={"a": tuple(hosts)})
    sent: str = plotly_json.to_json_plotly(zones(load, acts=acts))
    return json.dumps(json.loads(sent), ensure_ascii=False)


def host_load(name: str, *, p95: int = 50, probability: float = 0.0) -> HostLoad:
    """Return the load of a host."""
    meter = Meter(resource=Resource.CPU, promised=150, most_promised=120, now=40, p50=45, p95=p95)
    return HostLoad(
        host=make_host(name),
        num_vms=1,
        kept_empty=False,
        meters=(meter,),
        score_host_s=1.0,
        overload_probability=probability,
    )


def test_only_who_may_act_has_something_to_act_with() -> None:
    """The button is not there for others."""
    assert "Drain h1" in shown([host_load("h1")], acts=True)
    assert "Drain" not in shown([host_load("h1")], acts=False)


def test_hosts_lead_to_their_pages() -> None:
    """Whatever their names are made of."""
    assert '"/clusters/c1/hosts/a%2Fb%3F"' in shown([host_load("a/b?")], acts=False)


def test_what_is_short_stands_out_in_words_and_colour() -> None:
    """A likely shortage colours the cell; more than all of a host is told as it is."""
    hot = shown([host_load("h1", p95=130, probability=0.8)], acts=False)
    assert "host-cell hot" in hot
    assert "1 likely to be short" in hot
    assert "80 % likely to be short" in hot
    assert "40 · 45 · 130 %" in hot
    assert '"--p95": "100%"' in hot
    calm = shown([host_load("h1")], acts=False)
    assert "hot" not in calm
    assert "likely" not in calm
