"""What tests in a browser need, installed by ``.ci/browser``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

AXE_VERSION: Final = "4.14.1"


def chromium() -> Path:
    """Return Debian's browser; raises ``FileNotFoundError`` if it is not installed."""
    found = shutil.which("chromium")
    if found is None:
        raise FileNotFoundError("chromium is not installed: run make browser")
    return Path(found)


def axe() -> Path:
    """Return the script of axe-core; raises ``FileNotFoundError`` if it was not fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    script = cache / "foreswap" / f"axe-core-{AXE_VERSION}" / "axe.min.js"
    if not script.exists():
        raise FileNotFoundError(f"{script} is not there: run make browser")
    return script
