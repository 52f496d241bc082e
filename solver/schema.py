"""The documents foreswap reads and writes, as strict models, and the errors a wrong one gets.

Strict means: no unknown field, no field twice, no text for a number, no ``true`` for 1, no NaN.
The models are the source of the published JSON schemas. They are used at this door only;
``solver.instances`` turns them into domain objects, which check what spans several fields.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NoReturn, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from solver.domain.cluster import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY
from solver.domain.errors import InvalidInputError
from solver.domain.rules import Level
from solver.domain.units import MAX_AMOUNT

VERSION: Final = 1
"""Version of every document this release reads and writes."""

MAX_STEPS: Final = 10_000
"""Steps of a scenario beyond which a number is wrong rather than a horizon long."""

MAX_SHOWN_CHARACTERS: Final = 80
"""Longest value quoted in an error."""


def _parse_instant(value: object) -> datetime:
    """Return an ISO-8601 instant with a time zone as UTC."""
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            instant = None
        if instant is not None and instant.tzinfo is not None:
            try:
                return instant.astimezone(UTC)
            except OverflowError:
                pass  # Year 1 or 9999, pushed out of the calendar by the time zone.
    raise PydanticCustomError(
        "instant", "expected an ISO-8601 instant with a time zone such as 2026-03-02T12:00:00Z"
    )


Instant = Annotated[
    datetime,
    BeforeValidator(_parse_instant),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Id = Annotated[str, Field(min_length=1, max_length=255)]
Name = Annotated[str, Field(min_length=1)]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
PositiveAmount = Annotated[int, Field(ge=1, le=MAX_AMOUNT)]
Milliseconds = Annotated[int, Field(ge=0, le=2**53)]
CostUnits = Annotated[int, Field(ge=0, le=2**62)]


class Strict(BaseModel):
    """Base of all models: strict types and no unknown fields."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class AmountsModel(Strict):
    """A whole amount of each resource."""

    cpu_millicores: Amount = 0
    memory_mib: Amount = 0
    disk_io_kib_per_s: Amount = 0
    net_io_kib_per_s: Amount = 0


class LimitsModel(Strict):
    """A capacity per resource; null or absent is unlimited."""

    cpu_millicores: Amount | None = None
    memory_mib: Amount | None = None
    disk_io_kib_per_s: Amount | None = None
    net_io_kib_per_s: Amount | None = None


class OvercommitModel(Strict):
    """Allocation allowed per unit of capacity; a null ratio is no limit."""

    cpu: Annotated[float, Field(ge=1, le=1000)] | None = None
    memory: Annotated[float, Field(ge=1, le=1000)] = 1.0


class HostModel(Strict):
    """A hypervisor."""

    id: Id
    capacity: LimitsModel
    reserve: AmountsModel = AmountsModel()
    overcommit: OvercommitModel = OvercommitModel()
    zone: str = ""
    rack: str = ""
    labels: dict[str, str] = {}
    cpu_model: str = ""
    state: Literal["up", "maintenance", "unreachable"] = "up"
    migration_bandwidth_mib_per_s: PositiveAmount = 1_000
    max_vms: Amount | None = Field(default=None, description="null: as many as fit")
    provides: list[Name] = Field(default=[], description="what VMs may require, free names")


class VMModel(Strict):
    """A virtual machine."""

    id: Id
    allocation: AmountsModel
    host_id: Id | None = Field(default=None, description="null: runs nowhere, to be started")
    memory_footprint_mib: Amount | None = Field(
        default=None, description="what a migration copies; null: the allocation"
    )
    dirty_mib_per_s: Amount = 0
    priority: int = Field(default=DEFAULT_PRIORITY, ge=MIN_PRIORITY, le=MAX_PRIORITY)
    group: str = ""
    app_type: str = ""
    labels: dict[str, str] = {}
    not_migratable_reason: str = Field(default="", description="empty: it can be migrated")
    not_before_at: Instant | None = Field(default=None, description="cool-down, at most 24 h")
    requires: list[Name] = Field(default=[], description="what its host has to provide")


class LinkModel(Strict):
    """The way between two hosts."""

    latency_us: Amount = 200
    bandwidth_mib_per_s: PositiveAmount = 1_000
    distance: Amount = Field(default=0, description="zone borders crossed")


class PairLinkModel(LinkModel):
    """The way between two named hosts or zones, in either direction."""

    between: Annotated[list[str], Field(min_length=2, max_length=2)]


class NetworkModel(Strict):
    """Links, the most specific first: host pair, zone pair, same zone, other zone."""

    same_zone: LinkModel = LinkModel()
    other_zone: LinkModel = LinkModel(latency_us=1_000, distance=1)
    zones: list[PairLinkModel] = []
    hosts: list[PairLinkModel] = []


class RuleModel(Strict):
    """What every rule has."""

    id: Id
    vm_ids: list[Id]
    penalty_host_s: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="null: the rule is hard"
    )


class PinModel(RuleModel):
    """Each of the VMs runs on one of the hosts."""

    kind: Literal["pin"]
    host_ids: Annotated[list[Id], Field(min_length=1)]


class BanModel(RuleModel):
    """None of the VMs runs on any of the hosts."""

    kind: Literal["ban"]
    host_ids: Annotated[list[Id], Field(min_length=1)]


class AffinityModel(RuleModel):
    """All the VMs run on one host."""

    kind: Literal["affinity"]


class GroupRuleModel(RuleModel):
    """A rule about how VMs stand to one another."""

    continuous: bool = Field(default=True, description="false: binds placements at rest only")


class AntiAffinityModel(GroupRuleModel):
    """No two of the VMs share a host."""

    kind: Literal["anti_affinity"]


class AmongModel(GroupRuleModel):
    """All the VMs run in one of several parts of the cluster."""

    kind: Literal["among"]
    parts: list[Annotated[list[Id], Field(min_length=1)]] = Field(
        default=[], description="groups of hosts; empty: every zone is a part"
    )


class SpreadModel(GroupRuleModel):
    """The VMs run in at least so many different domains."""

    kind: Literal["spread"]
    min_domains: Annotated[int, Field(ge=2, le=MAX_AMOUNT)]
    level: Level = "zone"


class DependencyModel(GroupRuleModel):
    """Every domain that holds one of the VMs holds one of those they depend on as well."""

    kind: Literal["dependency"]
    on_vm_ids: Annotated[list[Id], Field(min_length=1)]
    level: Level = "zone"


class SplitModel(GroupRuleModel):
    """No host holds both one of the VMs and one of the others."""

    kind: Literal["split"]
    other_vm_ids: Annotated[list[Id], Field(min_length=1)]


class PerHostLimitModel(GroupRuleModel):
    """At most so many of the VMs run on any one of the hosts."""

    kind: Literal["per_host_limit"]
    max_vms: Amount
    host_ids: list[Id] = Field(default=[], description="empty: all hosts")


class LicenceLimitModel(GroupRuleModel):
    """The VMs occupy at most so many hosts."""

    kind: Literal["licence_limit"]
    max_hosts: PositiveAmount


AnyRuleModel = (
    PinModel
    | BanModel
    | AffinityModel
    | AntiAffinityModel
    | AmongModel
    | SpreadModel
    | DependencyModel
    | SplitModel
    | PerHostLimitModel
    | LicenceLimitModel
)
AnyRule = Annotated[AnyRuleModel, Field(discriminator="kind")]
_RULE: Final[TypeAdapter[AnyRuleModel]] = TypeAdapter(AnyRule)
RULE_KINDS: Final = frozenset(
    get_args(model.model_fields["kind"].annotation)[0] for model in get_args(AnyRuleModel)
)


class BudgetModel(Strict):
    """How many moves one plan may make, and how many at once; a null limit is none."""

    max_moves: Amount | None = None
    max_moves_per_host: Amount | None = None
    max_parallel: PositiveAmount = 8
    max_parallel_in_per_host: PositiveAmount = 2
    max_parallel_out_per_host: PositiveAmount = 2


class ClusterDocument(Strict):
    """One snapshot of a cluster: hosts, VMs, network, rules and the budget of moves."""

    foreswap: Literal["cluster"]
    version: Literal[1]
    observed_at: Instant
    hosts: Annotated[list[HostModel], Field(min_length=1)]
    vms: list[VMModel] = []
    network: NetworkModel = NetworkModel()
    rules: list[AnyRule] = []
    budget: BudgetModel = BudgetModel()


class MoveCostModel(Strict):
    """The four terms of a move's cost, in nano-host-seconds."""

    utilisation: CostUnits = 0
    transfer: CostUnits = 0
    downtime: CostUnits = 0
    latency: CostUnits = 0


class StepModel(Strict):
    """One timed action on one VM."""

    kind: Literal["migrate", "start"]
    vm_id: Id
    source_id: Id | None = None
    destination_id: Id
    start_ms: Milliseconds
    end_ms: Milliseconds
    bandwidth_mib_per_s: Amount = 0
    transferred_mib: Milliseconds = 0
    downtime_ms: Milliseconds = 0
    parking: bool = False
    cost: MoveCostModel = MoveCostModel()
    reason: str = ""


class PlanDocument(Strict):
    """Timed steps from one placement to another, in the order of their start."""

    foreswap: Literal["plan"]
    version: Literal[1]
    made_at: Instant
    steps: list[StepModel] = []


Paths = list[list[Amount]]


class DemandModel(Strict):
    """Demand of one VM per resource: one list per scenario, step 0 (the present) first.

    A resource left out is zero throughout.
    """

    cpu_millicores: Paths | None = None
    memory_mib: Paths | None = None
    disk_io_kib_per_s: Paths | None = None
    net_io_kib_per_s: Paths | None = None


class ScenariosDocument(Strict):
    """Weighted joint futures of the demand of every VM."""

    foreswap: Literal["scenarios"]
    version: Literal[1]
    start_at: Instant
    step_seconds: PositiveAmount
    num_steps: Amount
    probability_ppm: Annotated[list[PositiveAmount], Field(min_length=1)]
    demand: dict[Id, DemandModel]


Model = TypeVar("Model", bound=Strict)


def parse_json(text: str) -> object:
    """Return the value of a JSON text, strictly.

    Raises
    ------
    InvalidInputError
        If the text is no JSON, ends too early, has a name twice in one object, or holds NaN or
        Infinity, which JSON does not know.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        truncated = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        what = "the document ends too early" if truncated and text.strip() else error.msg
        if not text.strip():
            what = "the document is empty"
        raise InvalidInputError(
            f"expected a JSON document; line {error.lineno} column {error.colno}: {what}"
        ) from error
    except RecursionError as error:
        raise InvalidInputError("expected a JSON document, got one nested too deeply") from error
    except InvalidInputError:
        raise
    except ValueError as error:  # A number of thousands of digits.
        raise InvalidInputError(f"expected a JSON document: {error}") from error


def validate(model: type[Model], document: object, *, kind: str) -> Model:
    """Return the document as its model.

    Raises
    ------
    InvalidInputError
        One error for the first thing wrong, naming its path, the value seen and what was
        expected, and how many more there are.
    """
    require_kind(document, kind)
    return checked(model, document)


def checked(model: type[Model], document: object) -> Model:
    """Return a document that names no kind as its model; errors as of :func:`validate`."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise_first(error)


def validate_rule(document: object) -> AnyRuleModel:
    """Return the document of one rule as its model; raises like ``validate``."""
    try:
        return _RULE.validate_python(document)
    except ValidationError as error:
        raise_first(error)


def errors_of(error: ValidationError) -> list[tuple[str, str]]:
    """Return path and message of everything pydantic found wrong, in our words."""
    return [
        (_path(_place(details)), _sentence(details)) for details in error.errors(include_url=False)
    ]


def _place(details: ErrorDetails) -> tuple[int | str, ...]:
    """Return where the error is: a kind that is wrong or missing is the field that says it."""
    location = details["loc"]
    if details["type"].startswith("union_tag"):
        return (*location, details["ctx"]["discriminator"].strip("'"))
    return location


def require_kind(document: object, kind: str) -> None:
    """Raise ``InvalidInputError`` unless the document is of the kind and version expected."""
    if not isinstance(document, Mapping):
        raise InvalidInputError(
            f"expected a foreswap {kind} document (a JSON object), got {show(document)}"
        )
    seen = document.get("foreswap")
    if seen != kind:
        got = show(seen) if "foreswap" in document else "a document without this field"
        raise InvalidInputError(f"expected {show(kind)}, got {got}", path="foreswap")
    version = document.get("version")
    if version != VERSION or not isinstance(version, int) or isinstance(version, bool):
        got = show(version) if "version" in document else "a document without this field"
        raise InvalidInputError(f"expected version {VERSION}, got {got}", path="version")


def show(value: object) -> str:
    """Return a value as it would stand in JSON, shortened."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    if len(text) > MAX_SHOWN_CHARACTERS:
        return text[: MAX_SHOWN_CHARACTERS - 1] + "…"
    return text


def _unique(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInputError(
                f"name {show(name)} stands twice in one object, expected once "
                f"(values {show(found[name])} and {show(value)})"
            )
        found[name] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInputError(f"expected finite numbers, got {name}")


def raise_first(error: ValidationError) -> NoReturn:
    """Raise the first thing wrong as ``InvalidInputError``, saying how many more there are."""
    (path, message), *others = errors_of(error)
    more = f" (and {len(others)} more error{'s' if len(others) > 1 else ''})" if others else ""
    raise InvalidInputError(f"{message}{more}", path=path) from error


def _path(location: Sequence[int | str]) -> str:
    """Return a dotted path; the tag pydantic adds for the kind of a rule is left out."""
    path = ""
    for i, part in enumerate(location):
        if part in RULE_KINDS and _is_tag(location, i):
            continue
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier():
            path += f".{part}" if path else part
        else:
            path += f"[{show(part)}]"
    return path


def _is_tag(location: Sequence[int | str], i: int) -> bool:
    """Return whether a rule stands before: the document itself, or one of a list ``rules``."""
    return i == 0 or (i >= 2 and isinstance(location[i - 1], int) and location[i - 2] == "rules")


_EXPECTED: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text that is valid Unicode",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "enum": "{expected}",
    "string_too_short": "at least {min_length} character(s)",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
    "literal_error": "{expected}",
    "union_tag_invalid": "a kind of rule among {expected_tags}",
    "union_tag_not_found": "a rule with a kind",
    "finite_number": "a finite number",
}


def _sentence(detail: ErrorDetails) -> str:
    """Return what was expected and what was seen."""
    kind, seen = detail["type"], show(detail["input"])
    if kind == "missing":
        return "expected a value, got nothing"
    if kind == "extra_forbidden":
        name = str(detail["loc"][-1])
        near = difflib.get_close_matches(name, _field_names(), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"expected no such field{hint}, got {seen}"
    if kind in _EXPECTED:
        expected = _EXPECTED[kind].format(**detail.get("ctx", {}))
        return f"expected {expected}, got {seen}"
    if kind == "instant":
        return f"{detail['msg']}, got {seen}"
    return f"refused ({detail['msg']}), got {seen}"


def _field_names() -> list[str]:
    names: set[str] = set()
    models: list[type[Any]] = [Strict]
    while models:
        model = models.pop()
        models.extend(model.__subclasses__())
        names.update(model.model_fields)
    return sorted(names)
