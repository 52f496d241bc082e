"""Rules as fields of a form, each at the path of what it says in a rule's document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, get_args

from service.errors import InvalidRequestError
from service.web.fields import validated, without_empty
from solver.domain.cluster import VM
from solver.domain.errors import InvalidInputError
from solver.domain.rules import PlacementRule
from solver.instances import rule_from_document
from solver.schema import AnyRuleModel, RuleModel

MODELS: Final[Mapping[str, type[RuleModel]]] = {
    get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(AnyRuleModel)
}
"""Kind → what its document may hold."""

VM_LISTS: Final = ("vm_ids", "on_vm_ids", "other_vm_ids")
"""Fields that hold the ids of VMs as text."""

_AT_REST: Final = {"moving": True, "at rest": False}


def paths_of(kind: str) -> tuple[str, ...]:
    """Return the fields of a kind of rule, in the order of its document."""
    return tuple(name for name in MODELS[kind].model_fields if name not in ("kind", "id"))


def fields_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what stands in each field of the form of a rule's document."""
    return {path: _shown(path, value) for path, value in document.items()}


def document_of(kind: str, by_path: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document that was typed; what the kind does not know is left out."""
    wanted = {path: by_path.get(path) for path in ("id", *paths_of(kind))}
    said = {path: _said(path, value) for path, value in without_empty(wanted).items()}
    lists: dict[str, Any] = {path: said.get(path, []) for path in VM_LISTS if path in wanted}
    return {"kind": kind, **said, **lists}


def rule_of(kind: str, by_path: Mapping[str, Any]) -> PlacementRule:
    """Return the rule that was typed.

    Raises
    ------
    InvalidInputError
        With everything that is wrong in single fields, or the first thing that spans several.
    """
    if kind not in MODELS:
        raise InvalidInputError(f"expected a kind of rule, got {kind!r}", path="kind")
    document = document_of(kind, by_path)
    try:
        validated(MODELS[kind], document)
    except InvalidRequestError as error:
        raise InvalidRequestError([_in_words(*each) for each in error.errors]) from error
    return rule_from_document(document)


def selected(vms: Iterable[VM], *, group: str, pattern: str) -> list[str]:
    """Return the VMs of a group whose id fits a pattern such as ``web-*``.

    Raises
    ------
    InvalidInputError
        If neither is given, or nothing fits.
    """
    if not (group or pattern):
        raise InvalidInputError("expected a group or a pattern", path="pattern")
    found = [
        str(vm.id)
        for vm in vms
        if (not group or vm.group == group) and fnmatchcase(vm.id, pattern or "*")
    ]
    if not found:
        raise InvalidInputError("no VM fits", path="pattern")
    return found


def with_more(text: str | None, ids: Iterable[str]) -> str:
    """Return a list of VMs with more of them, each once."""
    return "\n".join(dict.fromkeys((*_ids(text or ""), *ids)))


def _shown(path: str, value: Any) -> Any:
    if path in VM_LISTS:
        return "\n".join(value)
    if path == "parts":
        return "\n".join(", ".join(part) for part in value)
    if path == "continuous":
        return next(name for name, binds in _AT_REST.items() if binds is value)
    return value


def _said(path: str, value: Any) -> Any:
    if path in VM_LISTS:
        return _ids(value)
    if path == "parts":
        return [_ids(line.replace(",", "\n")) for line in _ids(value)]
    if path == "continuous":
        return _AT_REST.get(value, value)
    if path == "penalty_host_s" and isinstance(value, int):
        return float(value)
    return value


def _ids(text: str) -> list[str]:
    """Return what stands on the lines of a text: names may hold anything but a line's end."""
    return [each for line in text.splitlines() if (each := line.strip())]


def _in_words(path: str, message: str) -> tuple[str, str]:
    """Return an error; a field left empty is no matter of programs."""
    return path, "expected a value" if message.endswith("got nothing") else message
