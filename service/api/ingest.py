"""Telemetry of hosts, as their monitors deliver it; the contract stands in docs/monitor.md.

A record that will never be taken is told by ``refused_seq``, so that the monitor gives it up and
goes on. Whatever else is wrong tells nothing about records: they stay on the host and come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from executor.monitor.delivery import ENVELOPE_SCHEMA
from executor.monitor.sample import SCHEMA, MinuteRecord
from executor.monitor.wire import from_json
from service.api import problems
from service.api.answering import answer
from service.api.asking import Path, principal
from service.api.operations import operation
from service.api.services import Services
from service.errors import ForbiddenError, TooLargeError, UnsupportedMediaError
from service.inventory.clusters import get_cluster
from service.security.principal import Principal
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId
from solver.schema import Id, Strict

MAX_BODY_MIB: Final = 4
"""A monitor sends up to one, unless a single record is larger."""

MAX_RECORDS: Final = 1_000
"""In one batch; a monitor sends up to 120."""


class Lenient(Strict):
    """What may hold fields of a later version."""

    model_config = ConfigDict(extra="ignore")


class NumberedMinute(Lenient):
    """A record of a minute and its number in the stream."""

    seq: Annotated[int, Field(ge=1, le=2**53)]
    minute: dict[str, Any] = Field(description="see docs/monitor.md")


class TelemetryBatch(Lenient):
    """Records of one host, in rising order of their numbers."""

    schema_: Annotated[int, Field(ge=1)] = Field(alias="schema")
    host: Id
    stream: Annotated[str, Field(min_length=1, max_length=128, pattern="^[!-~]+$")]
    records: list[NumberedMinute]


class BatchAccepted(BaseModel):
    """Up to where records are kept."""

    accepted_through: int


class IngestPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the view that takes telemetry."""
    tag = Tag(name="ingest", description="telemetry, from the monitors of hosts")
    api = APIBlueprint("ingest", __name__, abp_tags=[tag])

    @api.post("/ingest/<cluster_id>", responses={200: BatchAccepted})
    @operation("ingest.post", max_body_mib=MAX_BODY_MIB)
    def post(path: IngestPath, body: TelemetryBatch) -> Response:
        """Take minutes of a host; what is taken is kept whatever happens next."""
        _require_host(principal(), body.host)
        _require_understood(body)
        with services.store.begin(read_only=True) as tx:
            get_cluster(tx, path.cluster_id)
        try:
            records = list(_records(body))
        except _RefusedError as error:
            return _refused(error.seq, error.path, str(error))
        received = services.store.telemetry.receive(
            path.cluster_id, HostId(body.host), stream=body.stream, records=records
        )
        if received.refused_seq is not None:
            return _refused(received.refused_seq, "", received.reason)
        return answer({"accepted_through": received.accepted_through})

    return api


class _RefusedError(Exception):
    """A record that will never be taken."""

    def __init__(self, seq: int, path: str, message: str) -> None:
        super().__init__(message)
        self.seq = seq
        self.path = path


def _require_host(asker: Principal, host: str) -> None:
    if asker.host_id not in ("", host):
        raise ForbiddenError(f"the token is of host {asker.host_id!r}, got records of {host!r}")


def _require_understood(body: TelemetryBatch) -> None:
    """Raise unless the batch can be read; its records then wait for a service that can."""
    if len(body.records) > MAX_RECORDS:
        raise TooLargeError(f"expected at most {MAX_RECORDS} records, got {len(body.records)}")
    if body.schema_ > ENVELOPE_SCHEMA + 1:
        raise UnsupportedMediaError(
            f"expected a batch of schema 1..{ENVELOPE_SCHEMA + 1}, got {body.schema_}"
        )
    for each in body.records:
        schema = each.minute.get("schema")
        if isinstance(schema, int) and schema > SCHEMA + 1:
            raise UnsupportedMediaError(
                f"record {each.seq}: expected a schema of 1..{SCHEMA + 1}, got {schema}"
            )


def _records(body: TelemetryBatch) -> Iterator[tuple[int, MinuteRecord]]:
    """Yield the records, or raise at the first that is wrong."""
    last = 0
    for i, each in enumerate(body.records):
        if each.seq <= last:
            raise InvalidInputError(
                f"expected numbers that rise, got {each.seq} behind {last}",
                path=f"records[{i}].seq",
            )
        last = each.seq
        try:
            record = from_json(each.minute)
        except InvalidInputError as error:
            inner = error.path.removeprefix("record").removeprefix(".")
            message = str(error).removeprefix(f"{error.path}: ")
            path = ".".join(filter(None, (f"records[{i}].minute", inner)))
            raise _RefusedError(each.seq, path, message) from error
        if record.host_id != body.host:
            raise _RefusedError(
                each.seq,
                f"records[{i}].minute.host_id",
                f"expected {body.host!r} as of the batch, got {record.host_id!r}",
            )
        yield each.seq, record


def _refused(seq: int, path: str, message: str) -> Response:
    return problems.problem(
        422,
        "record-refused",
        "Record refused",
        f"record {seq}: {message}",
        errors=((path, message),),
        more={"refused_seq": seq},
    )
