"""The document that a browser is given first, and what it loads beside it.

What the page asks for as soon as its scripts run is fetched while they load. Styles stand in the
document, since no script runs before those that are fetched are there.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import dash_ag_grid
from dash import Dash
from dash.fingerprint import build_fingerprint
from flask import has_request_context, request

from service.web import router

_ASSETS: Final = Path(__file__).parent / "assets"
STYLES_OF_THEIR_OWN: Final = r".*\.css"
"""Files among the assets that are no links of the document."""

_GRID: Final = "async-community.js"
"""What the tables' library fetches when a page shows the first one."""
_AHEAD: Final = ("/_dash-layout", "/_dash-dependencies")


class Document(Dash):
    """Dash, with a document that loads faster."""

    def interpolate_index(self, **parts: Any) -> str:  # type: ignore[override]
        """Return the document of the address that was asked for."""
        found = router.find(unquote(request.path)) if has_request_context() else None
        if found is not None and found[0].has_grid:
            parts["scripts"] = f'<script src="{_grid()}"></script>{parts["scripts"]}'
        parts["css"] = f"{_fetched_ahead()}{parts['css']}<style>{_styles()}</style>"
        return str(super().interpolate_index(**parts))  # type: ignore[no-untyped-call]


def _fetched_ahead() -> str:
    return "".join(f'<link rel="preload" href="{path}" as="fetch" crossorigin>' for path in _AHEAD)


def _grid() -> str:
    """Return an address that changes when the file does, so that browsers keep it."""
    file = Path(dash_ag_grid.__file__).parent / _GRID
    changed_at = int(file.stat().st_mtime)
    named = build_fingerprint(  # type: ignore[no-untyped-call]
        _GRID, version("dash-ag-grid"), changed_at
    )
    return f"/_dash-component-suites/dash_ag_grid/{named}"


@cache
def _styles() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in sorted(_ASSETS.glob("*.css")))
