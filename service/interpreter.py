"""How the interpreter is set in processes that answer for days."""

from __future__ import annotations

import gc
import sys
from typing import Final

YOUNG: Final = 20_000
"""New objects after which the youngest are looked through; reading one document makes thousands."""

TURN_S: Final = 0.0005
"""How long a thread that computes keeps others waiting. A small answer asks the database some ten
times, and waits for its turn after each; with Python's 5 ms it takes as long as whatever is read
beside it."""


def spare_what_is_loaded() -> None:
    """Leave out of every later search for garbage what is held now.

    Called once, when all is loaded: modules, schemas and kernels are there for good, and Python
    looks through all of them now and then, for a third of a second in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])


def take_short_turns() -> None:
    """Let threads that answer small requests come between those that read large ones."""
    sys.setswitchinterval(TURN_S)
