"""Elements written as HTML."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
import pytest
from dash import html

from service.web.markup import written


def test_elements_are_written_with_what_is_in_them() -> None:
    """Lists, nothing, text and numbers among them."""
    link = html.A("h1", href="/h1")
    cell = html.Div([link, None, " · ", 3], className="cell")
    assert written([[cell], ""]) == '<div class="cell"><a href="/h1">h1</a> · 3</div>'


def test_names_cannot_become_elements() -> None:
    """What a hypervisor or a user called something is text, in attributes as well."""
    name = """<img src=x onerror="alert('1')">"""
    label: dict[str, Any] = {"aria-label": name}
    sent = written(html.Div(name, title=name, **label))
    assert "<img" not in sent
    assert sent.count('"') == 4


def test_styles_and_labels() -> None:
    """Styles are written as in a style sheet; what is not given is left out."""
    meter = html.Div(role="img", title=None, style={"--now": "40%", "--p95": "90%"})
    assert written(meter) == '<div role="img" style="--now:40%;--p95:90%"></div>'


def test_other_components_are_refused() -> None:
    """They would not work: nothing of theirs runs."""
    with pytest.raises(TypeError, match=r"got dash_mantine_components\.Button"):
        written([html.Div(), dmc.Button("Drain")])
