"""Parts of a problem: what they change and forbid is what the whole says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from solver.parts import cut_out
from solver.problem import NOWHERE, IntArray, Problem
from solver.search.deltas import FORBIDDEN
from solver.search.greedy import descend
from solver.search.state import State
from tests.compiled_problems import compiled_problems


def _moved_about(problem: Problem, rng: np.random.Generator) -> State:
    """Return a state after a few allowed relocations at random."""
    state = State(problem, problem.start)
    for v in rng.permutation(problem.num_vms).tolist():
        deltas = state.relocations(np.array([v]))[0]
        allowed = np.flatnonzero(deltas < FORBIDDEN)
        if allowed.size:
            state.apply(v, int(rng.choice(allowed)))
    return state


@given(problem=compiled_problems(max_hosts=6, max_vms=9), seed=st.integers(0, 2**32))
def test_every_relocation_in_a_part_changes_the_whole_alike(problem: Problem, seed: int) -> None:
    """A part's delta of each move that it allows is the whole's, one after the other."""
    rng = np.random.default_rng(seed)
    whole = _moved_about(problem, rng)
    size = int(rng.integers(1, problem.num_hosts + 1))
    inside = np.sort(rng.permutation(problem.num_hosts)[:size])
    part = cut_out(whole, inside)
    state = State(part.problem, part.hosts)
    own = np.flatnonzero(part.hosts < size)
    for _ in range(3):
        for i in own.tolist():
            here = state.relocations(np.array([i]))[0][:size]
            v = int(part.vms[i])
            there = whole.relocations(np.array([v]))[0][inside]
            allowed = here < FORBIDDEN
            assert (here[allowed] == there[allowed]).all()
            h = int(rng.choice(np.flatnonzero(allowed)))
            state.apply(i, h)
            whole.apply(v, int(inside[h]))


@given(problem=compiled_problems(max_hosts=6, max_vms=9), seed=st.integers(0, 2**32))
def test_the_whole_as_a_part_allows_the_same(problem: Problem, seed: int) -> None:
    """A part of all hosts is the problem without the VMs that run nowhere."""
    whole = _moved_about(problem, np.random.default_rng(seed))
    part = cut_out(whole, np.arange(problem.num_hosts))
    state = State(part.problem, part.hosts)
    waiting = {v for v, h in enumerate(whole.hosts.tolist()) if h == NOWHERE}
    stuck = {
        v
        for rule in problem.group_rules
        for v in (*rule.vms.tolist(), *rule.others.tolist())
        if waiting & {*rule.vms.tolist(), *rule.others.tolist()}
    }
    for i, v in enumerate(part.vms.tolist()):
        if v not in stuck:
            assert _same(state.relocations(np.array([i]))[0], whole.relocations(np.array([v]))[0])


@given(problem=compiled_problems(max_hosts=6, max_vms=9), seed=st.integers(0, 2**32))
def test_what_greedy_finds_in_a_part_is_a_gain_of_the_whole(problem: Problem, seed: int) -> None:
    """Moves of a part's descent are allowed together, and save what the part says."""
    rng = np.random.default_rng(seed)
    whole = _moved_about(problem, rng)
    size = int(rng.integers(1, problem.num_hosts + 1))
    part = cut_out(whole, np.sort(rng.permutation(problem.num_hosts)[:size]))
    state = State(part.problem, part.hosts)
    before = state.total
    descend(state)
    moves = part.moves(state.hosts)
    assert whole.what_if(moves) == state.total - before


def _same(ours: IntArray, theirs: IntArray) -> bool:
    return bool((ours == theirs).all())
