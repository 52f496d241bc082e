"""Random numbers that kernels draw: the same for a seed, on any machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.search.native import inlined

Draws = npt.NDArray[np.uint64]
"""State of a generator, shape ``(1,)``; kernels change it."""


def draws_of(seed: int) -> Draws:
    """Return a generator for a seed."""
    return np.array([(2 * seed + 1) * 0x9E3779B97F4A7C15 % 2**64], dtype=np.uint64)


@inlined
def number(random: Draws) -> np.uint64:
    """Return 32 random bits (xorshift64*)."""
    x = random[0]
    x ^= x >> np.uint64(12)
    x ^= x << np.uint64(25)
    x ^= x >> np.uint64(27)
    random[0] = x
    return (x * np.uint64(0x2545F4914F6CDD1D)) >> np.uint64(32)


@inlined
def below(random: Draws, bound: int) -> int:
    """Return a random number below a bound."""
    return int(np.int64((number(random) * np.uint64(bound)) >> np.uint64(32)))


@inlined
def unit(random: Draws) -> float:
    """Return a random number between 0 and 1, neither included."""
    return (np.float64(number(random)) + 0.5) * 2.0**-32
