"""Requests made up from the OpenAPI document, by all roles, each answer judged by the document.

Half of them keep to the document and half break it somewhere. Names in paths are now and then of
things that exist, so that requests get further than "not found".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
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
    restore: Callable[[], None] = lambda: None,
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
    restore
        Puts back what is known and was removed; called before each operation.
    """
    asked = Asked()
    for name, operation in _operations(app):
        restore()
        names = _names(operation, known)
        some: st.SearchStrategy[dict[str, str]] = st.one_of(st.just({}), names, names)
        for mode in GenerationMode:
            cases = operation.as_strategy(generation_mode=mode)
            _ask(name, cases, some, credentials, asked, examples=examples, seed=seed)
    return asked


def fuzz_bodies(
    app: Flask,
    credentials: Mapping[str, str],
    known: Mapping[str, Sequence[str]],
    bodies: Mapping[str, st.SearchStrategy[Any]],
    *,
    examples: int,
    seed: int = 0,
) -> Asked:
    """Ask for some operations with bodies that are given.

    Parameters
    ----------
    bodies
        By operation. The other parameters are as for ``fuzz``.
    """
    asked = Asked()
    for name, operation in _operations(app):
        if name in bodies:
            cases = bodies[name].map(partial(_case, operation))
            names = _names(operation, known)
            _ask(name, cases, names, credentials, asked, examples=examples, seed=seed)
    return asked


def _operations(app: Flask) -> Iterator[tuple[str, Any]]:
    for found in schemathesis.openapi.from_wsgi(DOCUMENT, app).get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        yield operation.definition.raw["operationId"], operation


def _case(operation: Any, body: Any) -> Any:
    return operation.Case(path_parameters={}, headers={}, body=body, media_type="application/json")


def _ask(
    name: str,
    cases: st.SearchStrategy[Any],
    some: st.SearchStrategy[dict[str, str]],
    credentials: Mapping[str, str],
    asked: Asked,
    *,
    examples: int,
    seed: int,
) -> None:
    counted = asked.statuses.setdefault(name, Counter())
    anybody = st.sampled_from(sorted(credentials))
    # Half of the requests by whoever may ask for most: the others are often sent away at the door.
    strongest = st.just("admin") if "admin" in credentials else anybody

    @seeded(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=cases,
        who=st.one_of(strongest, anybody),
        names=some,
    )
    def ask(case: Any, who: str, names: dict[str, str]) -> None:
        case.path_parameters.update(names)
        # The client of schemathesis does not unpack answers.
        headers = {"Authorization": credentials[who], "Accept-Encoding": "identity"}
        answer = case.call(headers=headers)
        counted[answer.status_code] += 1
        case.validate_response(answer, checks=list(CHECKS))

    try:
        ask()
    except FailureGroup as error:
        asked.wrong[name] = _told(error)


def _names(operation: Any, known: Mapping[str, Sequence[str]]) -> Any:
    names = [parameter.name for parameter in operation.path_parameters]
    return st.fixed_dictionaries(
        {name: st.sampled_from(known[name]) for name in names if name in known}
    )


def _told(error: FailureGroup) -> str:
    return "\n".join([str(error), *map(str, error.exceptions)])[:3000]
