"""Placement rules in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

KINDS: Final[Mapping[str, tuple[str, str]]] = {
    "pin": ("Pin", "Each of the VMs runs on one of the hosts."),
    "ban": ("Ban", "None of the VMs runs on any of the hosts."),
    "affinity": ("Together", "All the VMs run on one host."),
    "anti_affinity": ("Apart", "No two of the VMs share a host."),
    "among": ("Among", "All the VMs run in one of several parts of the cluster."),
    "spread": ("Spread", "The VMs run in at least so many domains."),
    "dependency": (
        "Dependency",
        "Every domain that holds one of the VMs holds one of those they depend on.",
    ),
    "split": ("Split", "No host holds both one of the VMs and one of the others."),
    "per_host_limit": ("Limit per host", "At most so many of the VMs run on any one host."),
    "licence_limit": ("Licence limit", "The VMs occupy at most so many hosts."),
}
"""Kind → its name and what it says."""

MOST_NAMED: Final = 4
"""Names in a sentence; more are counted."""

_DOMAINS: Final = {"host": "hosts", "rack": "racks", "zone": "zones"}


def says(rule: Mapping[str, Any]) -> str:
    """Return in a sentence what a rule, as a document, asks for."""
    vms = some(rule["vm_ids"])
    hosts = some(rule.get("host_ids") or (), "or")
    domains = _DOMAINS.get(rule.get("level", ""), "")
    sentences = {
        "pin": f"{vms} must run on {hosts}.",
        "ban": f"{vms} must not run on {some(rule.get('host_ids') or (), 'nor')}.",
        "affinity": f"{vms} must share one host.",
        "anti_affinity": f"No two of {vms} may share a host.",
        "among": f"{vms} must run in {_parts(rule)}.",
        "spread": f"{vms} must run in at least {rule.get('min_domains')} {domains}.",
        "dependency": (
            f"Where {vms} run, in the same {domains[:-1]} must run one of "
            f"{some(rule.get('on_vm_ids') or ())}."
        ),
        "split": f"{vms} must share no host with {some(rule.get('other_vm_ids') or (), 'nor')}.",
        "per_host_limit": f"At most {rule.get('max_vms')} of {vms} may run on {_each_of(rule)}.",
        "licence_limit": f"{vms} may occupy at most {rule.get('max_hosts')} hosts.",
    }
    at_rest = " It binds at rest only." if rule.get("continuous") is False else ""
    return sentences[rule["kind"]] + at_rest


def strength(rule: Mapping[str, Any]) -> str:
    """Return how much a rule, as a document, binds."""
    penalty = rule.get("penalty_host_s")
    return "hard" if penalty is None else f"soft, {penalty:g} host-s"


def some(names: Sequence[str], joint: str = "and") -> str:
    """Return names in a sentence, the many counted."""
    if len(names) > MOST_NAMED:
        left = len(names) - MOST_NAMED + 1
        return f"{', '.join(names[: MOST_NAMED - 1])} {joint} {left:,} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {joint} {names[-1]}"


def _parts(rule: Mapping[str, Any]) -> str:
    parts = rule.get("parts") or ()
    if not parts:
        return "one zone together"
    return "one part together: " + ", or ".join(some(part) for part in parts)


def _each_of(rule: Mapping[str, Any]) -> str:
    hosts = rule.get("host_ids") or ()
    return f"each of {some(hosts)}" if hosts else "any one host"
