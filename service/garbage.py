"""How often long-lived processes look for garbage in cycles.

Most of what a process holds (modules, schemas, compiled kernels) is there for good. Python looks
through all of it now and then, for a third of a second in which nobody is answered.
"""

from __future__ import annotations

import gc
from typing import Final

YOUNG: Final = 20_000
"""New objects after which the youngest are looked through; reading one document makes thousands."""


def spare_what_is_loaded() -> None:
    """Leave out of every later search what is held now: called once, when all is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
