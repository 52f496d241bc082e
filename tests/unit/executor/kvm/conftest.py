"""Where libvirt's binding is not installed these tests are left out; with CI=true it has to be."""

from __future__ import annotations

import os
from importlib.util import find_spec

collect_ignore_glob: list[str] = []
if find_spec("libvirt") is None and os.environ.get("CI") != "true":
    collect_ignore_glob.append("test_*.py")
