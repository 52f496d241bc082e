"""Bans without number that together leave a VM no host are told of at once."""

from __future__ import annotations

import random

import pytest

from solver.domain import contradiction
from solver.domain.contradiction import find_contradiction
from solver.domain.rules import Ban
from solver.domain.units import HostId, VmId

HOSTS = [HostId(f"h{i}") for i in range(60)]


def _bans(num_bans: int, hosts_each: int, seed: int) -> list[Ban]:
    rng = random.Random(seed)
    return [
        Ban(
            id=f"r{i}",
            vm_ids=(VmId("v1"),),
            host_ids=tuple(sorted(rng.sample(HOSTS, hosts_each))),
        )
        for i in range(num_bans)
    ]


def _named(rules: list[Ban], sentence: str) -> list[Ban]:
    return [rule for rule in rules if f"{rule.id!r}" in sentence]


def _closed(rules: list[Ban]) -> set[HostId]:
    return {host_id for rule in rules for host_id in rule.host_ids}


def test_looking_for_the_fewest_ends() -> None:
    """Of 120 bans of 6 hosts each, no rule that is named could be left out.

    The fewest were looked for through all sets, without an end: whoever put the rule waited.
    """
    rules = _bans(120, 6, seed=1)
    assert _closed(rules) == set(HOSTS)
    sentence = find_contradiction(rules, HOSTS)
    assert sentence is not None
    named = _named(rules, sentence)
    assert _closed(named) == set(HOSTS)
    assert all(_closed([r for r in named if r is not rule]) != set(HOSTS) for rule in named)


def test_the_fewest_are_named_where_they_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rules that do it are found among many; without a search more are named."""
    some = [
        Ban(id=f"third{i}", vm_ids=(VmId("v1"),), host_ids=tuple(HOSTS[i::3])) for i in range(3)
    ]
    rules = [*_bans(60, 12, seed=2), *some]
    assert _closed(rules[:60]) == set(HOSTS)
    sentence = find_contradiction(rules, HOSTS)
    assert sentence is not None
    assert [rule.id for rule in _named(rules, sentence)] == ["third0", "third1", "third2"]
    monkeypatch.setattr(contradiction, "MOST_LOOKED_AT", 0)
    without = find_contradiction(rules, HOSTS)
    assert without is not None
    assert len(_named(rules, without)) > 3
