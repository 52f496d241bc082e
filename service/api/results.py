"""What a solve and a what-if answer, as models of the published API."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from solver.schema import MoveCostModel, PlanDocument

Placement = dict[str, str | None]


class TermsBody(BaseModel):
    """Terms of the objective in host-seconds."""

    contention: float
    imbalance: float
    stranded: float
    utilisation: float
    transfer: float
    downtime: float
    latency: float
    disruption: float
    soft_rules: float
    repair: float
    migration: float = Field(description="the four terms of all moves together")
    total: float


class ScoreBody(BaseModel):
    """The objective of one placement, in whole nano-host-seconds."""

    contention: int
    imbalance: int
    stranded: int
    utilisation: int
    transfer: int
    downtime: int
    latency: int
    disruption: int
    soft_rules: int
    repair: int
    moves: int = Field(description="VMs that change host or are started")
    contention_by_host: dict[str, int]
    move_costs: dict[str, MoveCostModel]
    migration: int
    total: int
    host_s: TermsBody


class ContentionBody(BaseModel):
    """How contended one host is, in nano-host-seconds."""

    host_id: str
    current: int
    predicted: int
    overload_ppm: int = Field(description="probability of any overload over the horizon")
    total: int


class ExplanationBody(BaseModel):
    """Why one VM moves."""

    vm_id: str
    source_id: str | None
    destination_id: str
    saved: int
    relieved: int
    cost: int
    repairs: str
    alternative_id: str | None
    alternative_loss: int | None
    alternative_load: int | None
    alternative_move: int | None
    sentence: str


class ObstacleBody(BaseModel):
    """What closes places to VMs that would help by moving there."""

    hindrance: str
    name: str
    vm_ids: list[str]
    num_hosts: int
    of_hosts: int


class SingleMoveBody(BaseModel):
    """The best single move that nothing blocks."""

    vm_id: str
    destination_id: str
    saved: int
    cost: int


class RefusalBody(BaseModel):
    """What stays as it is, and why."""

    unmet: str
    subject: str
    sentence: str
    obstacles: list[ObstacleBody]
    best: SingleMoveBody | None
    contradiction: str


class ViolationBody(BaseModel):
    """What is broken."""

    key: list[str]
    amount: int
    severity_ppm: int
    message: str
    penalty_host_s: float | None
    vm_ids: list[str]
    host_ids: list[str]


class ResultBody(BaseModel):
    """The answer of a solve; costs are whole nano-host-seconds."""

    foreswap: Literal["result"]
    version: Literal[1]
    status: Literal["optimal", "feasible", "no_beneficial_move", "below_threshold"]
    engine: str
    runtime_s: float
    cost_units_per_host_s: int
    num_scenarios: int = Field(description="futures that were solved")
    bound: int | None = Field(description="no placement costs less; null: not known")
    gap: float | None
    before: ScoreBody
    after: ScoreBody
    plan: PlanDocument
    placement: Placement
    contention_before: list[ContentionBody]
    contention_after: list[ContentionBody]
    explanations: list[ExplanationBody]
    refusals: list[RefusalBody]
    remaining: list[ViolationBody]
    failures: list[str] = Field(
        description="a sentence for each engine that failed; the answer is what others found"
    )


class MeasureBody(BaseModel):
    """One placement, judged."""

    contention_host_s: float = Field(description="priority-weighted shortfall of what runs")
    shortfall: dict[str, float] = Field(
        description="per resource, the expected mean of what VMs want and do not get"
    )
    overload_ppm: int = Field(description="probability that any host is short of anything")
    total_host_s: float
    hosts: list[ContentionBody]
    violations: list[ViolationBody]


class HorizonBody(BaseModel):
    """The futures a what-if was judged by."""

    start_at: datetime
    seconds: int
    num_scenarios: int


class MovesBody(BaseModel):
    """What it would take."""

    migrations: int
    starts: int
    seconds: float
    transferred_mib: int


class HeadroomBody(BaseModel):
    """What would be left of one resource on all hosts that are up."""

    capacity: int | None = Field(description="null: some host has no limit")
    promised: int
    expected: float
    peak: int


class LossBody(BaseModel):
    """What the loss of one host more would do."""

    host_id: str
    survived: bool | None = Field(description="null: not known in the time given")
    placement: dict[str, str]
    left_out: list[str]
    lacks: str


class SurvivalBody(BaseModel):
    """N+1 status."""

    survives: bool | None
    worst_host_id: str | None
    losses: list[LossBody]


class RoomBody(BaseModel):
    """How many more VMs of a kind would fit."""

    status: str
    number: int
    bound: int
    by_host: dict[str, int]
    overload_ppm: int
    survives_loss: bool | None
    limits: str


class HostsNeededBody(BaseModel):
    """Hosts that would carry all VMs."""

    status: str
    counts: dict[str, int]
    price: int
    bound: int
    gap: float
    placement: Placement
    target_ppm: int
    margin: float
    overload_ppm: int
    fresh_overload_ppm: int | None
    meets_target: bool | None
    survives_loss: bool | None
    limits: str


class WhatIfBody(BaseModel):
    """A cluster as it would be, what it would take, and what would be left."""

    feasible: bool = Field(description="every VM runs, and nothing hard is newly broken")
    blocked_by: list[str]
    horizon: HorizonBody
    forecaster: str = Field(description="who forecast the demand; empty where nothing was forecast")
    demand_source: str = Field(
        description="where the demand is from, and if it is not the forecast that the cluster is "
        "planned on, why"
    )
    before: MeasureBody = Field(description="as things are")
    unmoved: MeasureBody = Field(description="after the change, if nothing were moved")
    after: MeasureBody = Field(description="after the change and the moves")
    moves: MovesBody
    plan: PlanDocument
    headroom: dict[str, HeadroomBody]
    survival: SurvivalBody
    room: RoomBody | None
    hosts_needed: HostsNeededBody | None
    result: ResultBody
