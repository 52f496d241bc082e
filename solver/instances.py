"""Cluster, plan, scenario and result documents: files and JSON values to domain objects and back.

The one owner of these documents, used by the command line and the API alike. What a document may
hold is in ``solver.schema``; what it means is in ``solver.domain``. Reading a wrong document gives
one precise ``InvalidInputError`` and has no other effect; writing is atomic.

``python -m solver.instances --write-schema docs/schema`` writes the published JSON schemas.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from solver.domain.check import Violation
from solver.domain.cluster import VM, Cluster, Host, HostState, Link, Network, Overcommit
from solver.domain.errors import InvalidInputError
from solver.domain.plan import MoveCost, Plan, Step, StepKind
from solver.domain.result import Result
from solver.domain.rules import RULES, MoveBudget, PlacementRule
from solver.domain.scenario import ScenarioSet
from solver.domain.score import HostContention, Score
from solver.domain.units import FIELDS, NUM_RESOURCES, Amounts, HostId, Limits, VmId
from solver.domain.weights import UNITS_PER_HOST_S, to_host_s
from solver.schema import (
    MAX_STEPS,
    VERSION,
    AnyRuleModel,
    ClusterDocument,
    HostModel,
    LinkModel,
    PairLinkModel,
    PlanDocument,
    ScenariosDocument,
    StepModel,
    Strict,
    VMModel,
    checked,
    parse_json,
    show,
    validate,
    validate_rule,
)

Document = dict[str, Any]
"""A JSON object as Python values."""

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""How far after the present an observation may be dated: clocks differ, but not by more."""

MAX_COOL_DOWN: Final = timedelta(hours=24)
"""Longest cool-down of a VM."""

SCHEMAS: Final[Mapping[str, type[Strict]]] = {
    "cluster-v1.json": ClusterDocument,
    "plan-v1.json": PlanDocument,
    "scenarios-v1.json": ScenariosDocument,
}
"""Published schemas by file name."""

TERMS: Final = (
    "contention",
    "imbalance",
    "stranded",
    "utilisation",
    "transfer",
    "downtime",
    "latency",
    "disruption",
    "soft_rules",
    "repair",
)
"""Terms of the objective that carry a cost."""

RULE_OF_KIND: Final[Mapping[str, type[PlacementRule]]] = {rule.kind: rule for rule in RULES}

Domain = TypeVar("Domain")


def read_cluster(path: Path, *, now: datetime | None = None) -> Cluster:
    """Return the cluster of a JSON file.

    Parameters
    ----------
    now
        The present (aware UTC), from which dates in the future are told; the system's clock when
        not given.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, is of another kind or version, or is wrong anywhere.
    """
    return _read(path, "cluster", lambda document: cluster_from_document(document, now=now))


def write_cluster(path: Path, cluster: Cluster) -> None:
    """Write the cluster as a JSON file, whole or not at all.

    Raises
    ------
    InvalidInputError
        If the file cannot be written; what stood there before still does.
    """
    write_document(path, cluster_to_document(cluster))


def read_plan(path: Path) -> Plan:
    """Return the plan of a JSON file; raises like ``read_cluster``."""
    return _read(path, "plan", plan_from_document)


def read_scenarios(path: Path) -> ScenarioSet:
    """Return the scenarios of a JSON file; raises like ``read_cluster``."""
    return _read(path, "scenarios", scenarios_from_document)


def write_document(path: Path, document: Document) -> None:
    """Write a document as a JSON file, whole or not at all; raises like ``write_cluster``."""
    _write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def cluster_from_document(document: object, *, now: datetime | None = None) -> Cluster:
    """Return the cluster of a parsed document; parameters and errors as of ``read_cluster``."""
    return cluster_from_model(validate(ClusterDocument, document, kind="cluster"), now=now)


def cluster_from_later(document: Document, known: Sequence[VM | None]) -> Cluster:
    """Return the cluster of a document, taking over VMs that stand as in an earlier one.

    For documents of our own making, of which most VMs are as they were and reading all of them
    anew is what takes long. Places in errors count the VMs of the document.

    Parameters
    ----------
    known
        All VMs in their order; ``None`` for those of the document, which stand in theirs.

    Raises
    ------
    InvalidInputError
        If the document is wrong anywhere, or has another number of VMs than are not known.
    """
    items = document["vms"]
    if len(items) != known.count(None):
        raise InvalidInputError(
            f"expected the {known.count(None):,} VMs that are not known, got {len(items):,}",
            path="vms",
        )
    model = validate(ClusterDocument, {**document, "vms": []}, kind="cluster")
    # One by one: while a document is validated, no other thread has its turn.
    anew = iter([_at(f"vms[{i}]", _checked_vm, item) for i, item in enumerate(items)])
    return _cluster(model, tuple(next(anew) if vm is None else vm for vm in known))


def cluster_from_model(model: ClusterDocument, *, now: datetime | None = None) -> Cluster:
    """Return the cluster of a document whose form was judged already; errors as above."""
    _require_past(model, datetime.now(UTC) if now is None else now)
    return _cluster(model, tuple(_at(f"vms[{i}]", _vm, vm) for i, vm in enumerate(model.vms)))


def _cluster(model: ClusterDocument, vms: tuple[VM, ...]) -> Cluster:
    """Return the cluster of a document, with VMs that were read already."""
    hosts = tuple(_at(f"hosts[{i}]", host_from_model, item) for i, item in enumerate(model.hosts))
    rules = rules_from_models(model.rules)
    zones = _pairs("network.zones", model.network.zones)
    host_pairs = _pairs("network.hosts", model.network.hosts)
    return Cluster(
        observed_at=model.observed_at,
        hosts=hosts,
        vms=vms,
        network=Network(
            same_zone=_link(model.network.same_zone),
            other_zone=_link(model.network.other_zone),
            zones=zones,
            hosts={(HostId(a), HostId(b)): link for (a, b), link in host_pairs.items()},
        ),
        rules=rules,
        budget=MoveBudget(**model.budget.model_dump()),
    )


def rules_from_models(models: Sequence[AnyRuleModel]) -> tuple[PlacementRule, ...]:
    """Return the rules of a document whose form was judged already.

    Raises
    ------
    InvalidInputError
        If a rule makes no sense; its path begins with ``rules``.
    """
    return tuple(_at(f"rules[{i}]", _rule, item) for i, item in enumerate(models))


def cluster_to_document(cluster: Cluster) -> Document:
    """Return the cluster as a document, every field spelled out."""
    network = cluster.network
    return {
        "foreswap": "cluster",
        "version": VERSION,
        "observed_at": _instant(cluster.observed_at),
        "hosts": [_host_document(host) for host in cluster.hosts],
        "vms": [_vm_document(vm) for vm in cluster.vms],
        "network": {
            "same_zone": dataclasses.asdict(network.same_zone),
            "other_zone": dataclasses.asdict(network.other_zone),
            "zones": [
                {"between": list(pair), **dataclasses.asdict(link)}
                for pair, link in network.zones.items()
            ],
            "hosts": [
                {"between": list(pair), **dataclasses.asdict(link)}
                for pair, link in network.hosts.items()
            ],
        },
        "rules": [_rule_document(rule) for rule in cluster.rules],
        "budget": dataclasses.asdict(cluster.budget),
    }


def rule_from_document(document: object) -> PlacementRule:
    """Return the rule of a parsed document, as it stands in a cluster's ``rules``.

    Raises
    ------
    InvalidInputError
        If the document is wrong anywhere; its path begins within the rule.
    """
    return _at("", _rule, validate_rule(document))


def rule_to_document(rule: PlacementRule) -> Document:
    """Return the rule as a document, every field spelled out."""
    return _rule_document(rule)


def plan_from_document(document: object) -> Plan:
    """Return the plan of a parsed document.

    Raises
    ------
    InvalidInputError
        If the document is wrong anywhere.
    """
    model = validate(PlanDocument, document, kind="plan")
    steps = tuple(_at(f"steps[{i}]", _step, item) for i, item in enumerate(model.steps))
    return Plan(made_at=model.made_at, steps=steps)


def plan_to_document(plan: Plan) -> Document:
    """Return the plan as a document, every field spelled out."""
    return {
        "foreswap": "plan",
        "version": VERSION,
        "made_at": _instant(plan.made_at),
        "steps": [dataclasses.asdict(step) | {"kind": step.kind.value} for step in plan.steps],
    }


def scenarios_from_document(document: object) -> ScenarioSet:
    """Return the scenarios of a parsed document.

    Raises
    ------
    InvalidInputError
        If the document is wrong anywhere.
    """
    return scenarios_from_model(validate(ScenariosDocument, document, kind="scenarios"))


def scenarios_from_model(model: ScenariosDocument) -> ScenarioSet:
    """Return the scenarios of a document whose form was judged already; errors as above."""
    shape = (len(model.probability_ppm), 1 + model.num_steps)
    # All lengths first: a wrong number of steps must not be what decides how much is allocated.
    for vm_id, item in model.demand.items():
        for field in FIELDS:
            paths = getattr(item, field)
            seen = set() if paths is None else {len(path) for path in paths}
            if paths is not None and (len(paths) != shape[0] or seen != {shape[1]}):
                raise InvalidInputError(
                    f"expected {shape[0]} scenarios of {shape[1]} steps (the present and "
                    f"{model.num_steps} more), got {len(paths)} of {sorted(seen)}",
                    path=f"demand[{show(vm_id)}].{field}",
                )
    if model.num_steps > MAX_STEPS:
        raise InvalidInputError(
            f"expected at most {MAX_STEPS} steps, got {model.num_steps}", path="num_steps"
        )
    demand = np.zeros((shape[0], len(model.demand), NUM_RESOURCES, shape[1]), dtype=np.int64)
    for v, item in enumerate(model.demand.values()):
        for r, field in enumerate(FIELDS):
            paths = getattr(item, field)
            if paths is not None:
                demand[:, v, r, :] = paths
    return ScenarioSet(
        vm_ids=tuple(VmId(vm_id) for vm_id in model.demand),
        start_at=model.start_at,
        step_seconds=model.step_seconds,
        probability_ppm=tuple(model.probability_ppm),
        demand=demand,
    )


def scenarios_to_document(scenarios: ScenarioSet) -> Document:
    """Return the scenarios as a document; resources that are zero throughout are left out."""
    used = np.any(scenarios.demand, axis=(0, 3)).tolist()
    return {
        "foreswap": "scenarios",
        "version": VERSION,
        "start_at": _instant(scenarios.start_at),
        "step_seconds": scenarios.step_seconds,
        "num_steps": scenarios.num_steps,
        "probability_ppm": list(scenarios.probability_ppm),
        "demand": {
            vm_id: {
                field: scenarios.demand[:, v, r, :].tolist()
                for r, field in enumerate(FIELDS)
                if used[v][r]
            }
            for v, vm_id in enumerate(scenarios.vm_ids)
        },
    }


def result_to_document(result: Result) -> Document:
    """Return the result of a solve as a document; costs are whole nano-host-seconds."""
    return {
        "foreswap": "result",
        "version": VERSION,
        "status": result.status.value,
        "engine": result.engine,
        "runtime_s": result.runtime_s,
        "cost_units_per_host_s": UNITS_PER_HOST_S,
        "bound": result.bound,
        "gap": result.gap,
        "before": _score_document(result.before),
        "after": _score_document(result.after),
        "plan": plan_to_document(result.plan),
        "placement": dict(result.placement),
        "contention_before": [_contention_document(item) for item in result.contention_before],
        "contention_after": [_contention_document(item) for item in result.contention_after],
        "explanations": [dataclasses.asdict(item) for item in result.explanations],
        "refusals": [dataclasses.asdict(item) for item in result.refusals],
        "remaining": [_violation_document(item) for item in result.remaining],
        "failures": list(result.failures),
    }


def schema_text(model: type[Strict], name: str) -> str:
    """Return the published JSON schema of a document, as its file holds it."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:foreswap:schema:{name.removesuffix('.json')}",
        **model.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every published schema into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in SCHEMAS.items():
        _write_text(folder / name, schema_text(model, name))


def _require_past(model: ClusterDocument, now: datetime) -> None:
    """Refuse dates that only a wrong clock or a wrong unit can have produced."""
    latest = now + MAX_CLOCK_SKEW
    if model.observed_at > latest:
        raise InvalidInputError(
            f"expected an instant no later than {_instant(latest)}, "
            f"got {_instant(model.observed_at)}",
            path="observed_at",
        )
    for i, vm in enumerate(model.vms):
        if vm.not_before_at is not None and vm.not_before_at > latest + MAX_COOL_DOWN:
            raise InvalidInputError(
                f"expected a cool-down that ends no later than {_instant(latest + MAX_COOL_DOWN)}, "
                f"got {_instant(vm.not_before_at)}",
                path=f"vms[{i}].not_before_at",
            )


Item = TypeVar("Item")


def _at(path: str, make: Callable[[Item], Domain], item: Item) -> Domain:
    """Make a domain object, putting where the item stands before the path of an error."""
    try:
        return make(item)
    except InvalidInputError as error:
        message = str(error).removeprefix(f"{error.path}: ")
        # Rules know themselves as ``rules.…``; here the position says more.
        inner = error.path.removeprefix("rules.")
        raise InvalidInputError(message, path=".".join(filter(None, (path, inner)))) from error


def host_from_model(item: HostModel) -> Host:
    """Return the host of a document whose form was judged already."""
    return Host(
        id=HostId(item.id),
        capacity=Limits(**item.capacity.model_dump()),
        reserve=Amounts(**item.reserve.model_dump()),
        overcommit=Overcommit(**item.overcommit.model_dump()),
        zone=item.zone,
        rack=item.rack,
        labels=dict(item.labels),
        cpu_model=item.cpu_model,
        state=HostState(item.state),
        migration_bandwidth_mib_per_s=item.migration_bandwidth_mib_per_s,
        max_vms=item.max_vms,
        provides=tuple(item.provides),
    )


def _host_document(host: Host) -> Document:
    changed = {"state": host.state.value, "provides": list(host.provides)}
    given = {item.name for item in dataclasses.fields(host) if item.init}
    return {k: v for k, v in dataclasses.asdict(host).items() if k in given} | changed


def _checked_vm(item: Document) -> VM:
    return _vm(checked(VMModel, item))


def _vm(item: VMModel) -> VM:
    footprint = item.memory_footprint_mib
    return VM(
        id=VmId(item.id),
        allocation=Amounts(**item.allocation.model_dump()),
        host_id=None if item.host_id is None else HostId(item.host_id),
        memory_footprint_mib=item.allocation.memory_mib if footprint is None else footprint,
        dirty_mib_per_s=item.dirty_mib_per_s,
        priority=item.priority,
        group=item.group,
        app_type=item.app_type,
        labels=dict(item.labels),
        not_migratable_reason=item.not_migratable_reason,
        not_before_at=item.not_before_at,
        requires=tuple(item.requires),
    )


def _vm_document(vm: VM) -> Document:
    # There may be ten thousand of them twice a minute; ``asdict`` takes ten times as long.
    return {name: getattr(vm, name) for name in _VM_FIELDS} | {
        "allocation": dict(zip(FIELDS, vm.allocation.as_tuple(), strict=True)),
        "labels": dict(vm.labels),
        "not_before_at": None if vm.not_before_at is None else _instant(vm.not_before_at),
        "requires": list(vm.requires),
    }


_VM_FIELDS: Final = tuple(item.name for item in dataclasses.fields(VM))


def _link(item: LinkModel) -> Link:
    return Link(
        latency_us=item.latency_us,
        bandwidth_mib_per_s=item.bandwidth_mib_per_s,
        distance=item.distance,
    )


def _pairs(path: str, items: list[PairLinkModel]) -> dict[tuple[str, str], Link]:
    """Return links by sorted pair."""
    found: dict[tuple[str, str], Link] = {}
    for i, item in enumerate(items):
        a, b = sorted(item.between)
        if (a, b) in found:
            raise InvalidInputError(
                f"expected each pair once, got {show(item.between)} again", path=f"{path}[{i}]"
            )
        found[a, b] = _link(item)
    return found


def _rule(item: AnyRuleModel) -> PlacementRule:
    """Return the rule: its fields are those of its class, lists of ids becoming tuples."""
    fields = {name: _frozen(value) for name, value in item.model_dump(exclude={"kind"}).items()}
    return RULE_OF_KIND[item.kind](**fields)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _rule_document(rule: PlacementRule) -> Document:
    fields = dataclasses.asdict(rule)
    return {"kind": rule.kind} | {name: _thawed(value) for name, value in fields.items()}


def _thawed(value: Any) -> Any:
    return [_thawed(item) for item in value] if isinstance(value, tuple) else value


def _step(item: StepModel) -> Step:
    return Step(
        kind=StepKind(item.kind),
        vm_id=VmId(item.vm_id),
        source_id=None if item.source_id is None else HostId(item.source_id),
        destination_id=HostId(item.destination_id),
        start_ms=item.start_ms,
        end_ms=item.end_ms,
        bandwidth_mib_per_s=item.bandwidth_mib_per_s,
        transferred_mib=item.transferred_mib,
        downtime_ms=item.downtime_ms,
        parking=item.parking,
        cost=MoveCost(**item.cost.model_dump()),
        reason=item.reason,
    )


def _score_document(score: Score) -> Document:
    sums = {"migration": score.migration, "total": score.total}
    terms = {name: getattr(score, name) for name in TERMS} | sums
    in_host_s = {name: to_host_s(units) for name, units in terms.items()}
    return dataclasses.asdict(score) | sums | {"host_s": in_host_s}


def _contention_document(contention: HostContention) -> Document:
    return dataclasses.asdict(contention) | {"total": contention.total}


def _violation_document(violation: Violation) -> Document:
    return dataclasses.asdict(violation)


def _instant(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _read(path: Path, kind: str, convert: Callable[[object], Domain]) -> Domain:
    """Read, parse and convert a file, naming it in every error."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"file {str(path)!r}: expected a readable {kind} document, got: {error.strerror}"
        ) from error
    if raw[:4] == b"PAR1":
        raise InvalidInputError(
            f"file {str(path)!r}: expected a JSON {kind} document, got a Parquet file"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"file {str(path)!r}: expected a JSON {kind} document, got a file that is not UTF-8 "
            f"text (byte {error.start})"
        ) from error
    with naming_file(path):
        return convert(parse_json(text))


@contextmanager
def naming_file(path: Path) -> Iterator[None]:
    """Let every error about what a file says name the file as well."""
    try:
        yield
    except InvalidInputError as error:
        message = str(error).removeprefix(f"{error.path}: ")
        raise InvalidInputError(f"{message} (in file {str(path)!r})", path=error.path) from error


def _write_text(path: Path, text: str) -> None:
    try:
        with _replacing(path) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
    except OSError as error:
        raise InvalidInputError(
            f"file {str(path)!r}: expected a place to write to, got: {error.strerror}"
        ) from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a file beside ``path`` that takes its place if all goes well."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # A temporary file is private; a document is as readable as any new file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def main() -> None:
    """Write the published schemas."""
    parser = argparse.ArgumentParser(prog="python -m solver.instances", description=main.__doc__)
    parser.add_argument("--write-schema", type=Path, metavar="FOLDER", required=True)
    arguments = parser.parse_args()
    try:
        write_schemas(arguments.write_schema)
    except InvalidInputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
