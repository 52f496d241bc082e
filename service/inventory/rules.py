"""Rules put one by one: checked against the cluster, and against what they cannot be kept with.

Whether rules contradict each other takes a search of up to some seconds, during which nobody may be
kept from writing. So it has two steps: ``propose`` reads what the rule is to be judged by and
``contradiction`` judges it, without a transaction; ``put_rule`` then writes it, unless policies
changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from service.errors import UnavailableError
from service.inventory.effective import Inventory, look_up
from service.inventory.marks import changing, read_mark
from service.inventory.standing import StandingRule, stand
from service.security.auditing import entry, put_item
from service.security.principal import Principal
from service.store.base import Item, Kind, Store, Transaction
from service.store.errors import NotFoundError
from solver.domain.cluster import require_id
from solver.domain.contradiction import find_contradiction
from solver.domain.errors import InvalidInputError
from solver.domain.rules import PlacementRule
from solver.instances import rule_to_document
from solver.validate import find_contradictions

SEARCH_LIMIT_S: Final = 3.0
"""What cannot be decided within it is taken for no contradiction."""

MAX_TRIES: Final = 3
"""How often a rule is checked anew because others changed meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A rule and what it is judged by.

    Parameters
    ----------
    mark
        Of the policies and rules it was judged by.
    missing
        Path and message for each VM and host it names that is not there, nor was named by the
        rule of this id so far.
    """

    rule: PlacementRule
    inventory: Inventory
    mark: str
    missing: tuple[tuple[str, str], ...]


def propose(tx: Transaction, cluster_id: str, rule: PlacementRule) -> Proposal:
    """Return a rule with what it is judged by.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or nothing was seen of it yet.
    """
    mark = read_mark(tx, cluster_id)
    inventory = look_up(tx, cluster_id)
    return Proposal(
        rule=rule,
        inventory=inventory,
        mark=mark.policies,
        missing=tuple(_missing(rule, inventory)),
    )


def contradiction(proposal: Proposal, *, limit_s: float = SEARCH_LIMIT_S) -> str:
    """Return one sentence about the smallest set of hard rules the rule cannot be kept with.

    Empty if there is none; contradictions among other rules are not the rule's.
    """
    rule, cluster = proposal.rule, proposal.inventory.cluster
    proposed = _in_force(proposal)
    if proposed is None or not proposed.hard:
        return ""
    others = tuple(other for other in cluster.rules if other.id != rule.id and other.hard)
    related = _related(proposed, others)
    told = find_contradiction(related, [host.id for host in cluster.hosts])
    if told is not None:
        return told
    judged = replace(cluster, rules=related)
    found = find_contradictions(judged, group_limit_s=limit_s, limit_s=limit_s)
    own = (each for each in found.contradictions if rule.id in each.rule_ids)
    return next((each.message for each in own), "")


def require_sound(proposal: Proposal, *, limit_s: float = SEARCH_LIMIT_S) -> None:
    """Raise ``InvalidInputError`` if the rule names what is not there, or contradicts others."""
    if proposal.missing:
        path, message = proposal.missing[0]
        raise InvalidInputError(message, path=path)
    told = contradiction(proposal, limit_s=limit_s)
    if told:
        raise InvalidInputError(told)


def keep_rule(
    store: Store,
    principal: Principal,
    cluster_id: str,
    rule: PlacementRule,
    *,
    force: bool,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Check a rule and write it; checked anew where others changed meanwhile.

    Parameters
    ----------
    force
        Whatever it contradicts, and whatever it names that is missing.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or nothing was seen of it yet.
    InvalidInputError
        If it is not sound.
    ConflictError
        If it stands at another revision.
    UnavailableError
        If others change rules and policies all the time.
    """
    for left in reversed(range(MAX_TRIES)):
        with store.begin(read_only=True) as tx:
            proposal = propose(tx, cluster_id, rule)
        if not force:
            require_sound(proposal)
        try:
            with store.begin() as tx:
                return put_rule(
                    tx,
                    principal,
                    cluster_id,
                    rule,
                    proposal=None if force else proposal,
                    expected_revision=expected_revision,
                    now=now,
                )
        except UnavailableError:
            if not left:
                raise
    raise AssertionError("the last try returns or raises")


def put_rule(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    rule: PlacementRule,
    *,
    proposal: Proposal | None,
    expected_revision: int | None,
    now: datetime,
) -> Item:
    """Write a rule.

    Parameters
    ----------
    proposal
        What it was judged by; ``None`` when it is wanted whatever it contradicts.

    Raises
    ------
    NotFoundError
        If there is no such cluster, or no more.
    ConflictError
        If it stands at another revision.
    UnavailableError
        If rules or policies changed since it was judged: it has to be judged anew.
    """
    require_id(rule.id, "rule")
    tx.items.get(Kind.CLUSTER, "", cluster_id)
    mark = read_mark(tx, cluster_id)
    if proposal is not None and proposal.mark != mark.policies:
        raise UnavailableError(
            f"cluster {cluster_id!r}: rules or policies changed while rule {rule.id!r} was "
            "checked against them",
            retry_after_s=1,
        )
    with changing(tx, cluster_id, "policies", now, vm_ids=()):
        item = Item(
            kind=Kind.RULE,
            cluster_id=cluster_id,
            id=rule.id,
            document=rule_to_document(rule),
            changed_at=now,
        )
        subject = f"rules/{rule.id}"
        return put_item(
            tx, principal, "rules.put", subject, item, expected_revision=expected_revision
        )


def delete_rule(
    tx: Transaction,
    principal: Principal,
    cluster_id: str,
    rule_id: str,
    *,
    expected_revision: int | None,
    now: datetime,
) -> None:
    """Remove a rule.

    Raises
    ------
    NotFoundError
        If there is none that was put by itself.
    ConflictError
        If it stands at another revision.
    """
    with changing(tx, cluster_id, "policies", now, vm_ids=()):
        removed = tx.items.delete(
            Kind.RULE, cluster_id, rule_id, expected_revision=expected_revision
        )
        tx.audit.append(
            entry(
                principal,
                "rules.delete",
                cluster_id,
                f"rules/{rule_id}",
                now,
                before=removed.document,
                after=None,
            )
        )


def find_rule(inventory: Inventory, rule_id: str) -> StandingRule:
    """Return a rule with what of it is in force.

    Raises
    ------
    NotFoundError
        If there is none.
    """
    for standing in inventory.rules:
        if standing.rule.id == rule_id:
            return standing
    raise NotFoundError(f"there is no rule {rule_id!r} in cluster {inventory.cluster_id!r}")


def _missing(rule: PlacementRule, inventory: Inventory) -> Iterable[tuple[str, str]]:
    """Yield what the rule names in vain; names it had before are waiting for their return."""
    known_vms = {*inventory.vms, *inventory.vm_policies}
    known_hosts = {*inventory.hosts, *inventory.maintenance}
    for standing in inventory.rules:
        if standing.rule.id == rule.id:
            known_vms.update(standing.missing_vm_ids)
            known_hosts.update(standing.missing_host_ids)
    for what, fields, known in (
        ("VM", rule.named_vm_ids, known_vms),
        ("host", rule.named_host_ids, known_hosts),
    ):
        for field, ids in fields.items():
            for i, each in enumerate(ids):
                if each not in known:
                    message = f"expected a {what} of the cluster, got {each!r}"
                    yield f"{field}[{i}]", message


def _in_force(proposal: Proposal) -> PlacementRule | None:
    """Return the rule asked of what is there."""
    inventory = proposal.inventory
    return stand([(proposal.rule, "rule")], inventory.vms, inventory.hosts)[0].in_force


def _related(rule: PlacementRule, others: Iterable[PlacementRule]) -> tuple[PlacementRule, ...]:
    """Return the rule with those that share VMs with it, directly or through others."""
    left = {other.id: (other, _vm_ids(other)) for other in others}
    reached, related = set(_vm_ids(rule)), []
    while near := [rule_id for rule_id, (_, vm_ids) in left.items() if vm_ids & reached]:
        for rule_id in near:
            other, vm_ids = left.pop(rule_id)
            related.append(other)
            reached |= vm_ids
    return (*related, rule)


def _vm_ids(rule: PlacementRule) -> frozenset[str]:
    return frozenset().union(*rule.named_vm_ids.values())
