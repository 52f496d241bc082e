"""Requests made up from the OpenAPI document, by all roles, each answer judged by the document.

Half of them keep to the document and half break it somewhere. Names in paths are now and then of
things that exist, so that requests get further than "not found".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

DOCUMENT: Final = "/api/v1/openapi.json"

CHECKS: Final[Sequence[Any]] = (
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
)
"""That right requests are accepted and wrong ones refused is for tests that know what is right."""


@dataclass(kw_only=True)
class Asked:
    """What was asked and answered.

    Parameters
    ----------
    statuses
        How often each status was answered, by operation.
    wrong
        What was not as the document says, by operation.
    """

    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)

    @property
    def num_requests(self) -> int:
        """Return how many requests there were."""
        return sum(counted.total() for counted in self.statuses.values())


def fuzz(
    app: Flask,
    credentials: Mapping[str, str],
    known: Mapping[str, Sequence[str]],
    *,
    examples: int,
    seed: int = 0,
    leave_out: Callable[[str], bool] = lambda operation: False,
) -> Asked:
    """Ask for every operation.

    Parameters
    ----------
    credentials
        ``Authorization`` by who asks; empty for nobody.
    known
        Names of things that exist, by the parameter of paths that names them.
    examples
        Requests of each operation that keep to the document, and as many that break it.
    """
    asked = Asked()
    document = schemathesis.openapi.from_wsgi(DOCUMENT, app)
    for found in document.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        name = operation.definition.raw["operationId"]
        if leave_out(name):
            continue
        for mode in GenerationMode:
            try:
                _ask(operation, mode, credentials, known, asked, examples=examples, seed=seed)
            except FailureGroup as error:
                asked.wrong[f"{name} {mode}"] = _told(error)
    return asked


def _ask(
    operation: Any,
    mode: GenerationMode,
    credentials: Mapping[str, str],
    known: Mapping[str, Sequence[str]],
    asked: Asked,
    *,
    examples: int,
    seed: int,
) -> None:
    counted = asked.statuses.setdefault(operation.definition.raw["operationId"], Counter())
    names = {name: st.sampled_from(known[name]) for name in _parameters(operation) if name in known}

    @seeded(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        who=st.sampled_from(sorted(credentials)),
        names=st.one_of(st.just({}), st.fixed_dictionaries(names), st.fixed_dictionaries(names)),
    )
    def ask(case: Any, who: str, names: dict[str, str]) -> None:
        case.path_parameters.update(names)
        # The client of schemathesis does not unpack answers.
        headers = {"Authorization": credentials[who], "Accept-Encoding": "identity"}
        answer = case.call(headers=headers)
        counted[answer.status_code] += 1
        case.validate_response(answer, checks=list(CHECKS))

    ask()


def _parameters(operation: Any) -> list[str]:
    return [parameter.name for parameter in operation.path_parameters]


def _told(error: FailureGroup) -> str:
    return "\n".join([str(error), *map(str, error.exceptions)])[:3000]
