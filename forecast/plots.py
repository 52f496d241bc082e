"""Pictures of a backtest, drawn from its report: coverage, reliability, and fans of forecasts.

The only module that imports Matplotlib, which comes with the extra ``plots``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from forecast.classes import CLASSES
from forecast.extras import require_extra
from solver.domain.errors import InvalidInputError

_SHOWN_MINUTES: Final = ("15", "30", "60")
_BANDS: Final = (("0.05", "0.95", 0.2), ("0.25", "0.75", 0.35))
_FEWEST: Final = 200
"""Readings below which a share says nothing."""


def make_folder(folder: Path) -> None:
    """Make the folder of the pictures.

    Raises
    ------
    InvalidInputError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"expected a folder that can be made and written, got {str(folder)!r}: "
            f"{error.strerror}",
            path="--plots",
        ) from error


def draw_plots(report: Mapping[str, Any], folder: Path) -> tuple[Path, ...]:
    """Draw ``coverage.png``, ``reliability.png`` and ``fans.png`` and return their paths.

    Parameters
    ----------
    report
        A backtest's JSON document.
    folder
        Made if it does not exist; files of these names are replaced.

    Raises
    ------
    InvalidInputError
        If Matplotlib is not installed, or the folder cannot be written.
    """
    require_extra("matplotlib", extra="plots", path="--plots")
    from matplotlib.figure import Figure

    drawings = {
        "coverage.png": _draw_coverage,
        "reliability.png": _draw_reliability,
        "fans.png": _draw_fans,
    }
    make_folder(folder)
    paths = []
    for name, draw in drawings.items():
        figure = Figure(layout="constrained")
        draw(figure, report)
        figure.savefig(folder / name, dpi=110)
        paths.append(folder / name)
    return tuple(paths)


def _draw_coverage(figure: Any, report: Mapping[str, Any]) -> None:
    """Draw by how many points the share at or below each quantile is off, class by class."""
    results = report["results"]
    axes = _panels(figure, list(results), _SHOWN_MINUTES)
    for resource, row in zip(results, axes, strict=False):
        for minutes, panel in zip(_SHOWN_MINUTES, row, strict=True):
            for name, cell in _classes(results[resource].get(minutes, {})):
                nominal = np.array([float(q) for q in cell["coverage"]])
                off = 100.0 * (np.array(list(cell["coverage"].values())) - nominal)
                panel.plot(range(len(nominal)), off, marker="o", markersize=3, label=name)
                panel.set_xticks(range(len(nominal)), [f"{q:g}" for q in nominal], fontsize=7)
            panel.axhspan(-1.5, 1.5, color="0.9", zorder=0)
            panel.axhline(0.0, color="0.5", linewidth=0.8)
            panel.set_title(f"{resource}, {minutes} min", fontsize=9)
        row[0].set_ylabel("observed − nominal, points", fontsize=8)
    _legend(figure, axes)
    figure.suptitle("Coverage of each quantile; grey: within 1.5 points")


def _draw_reliability(figure: Any, report: Mapping[str, Any]) -> None:
    """Draw the observed share at or below each quantile against its name."""
    results = report["results"]
    axes = _panels(figure, list(results), _SHOWN_MINUTES)
    for resource, row in zip(results, axes, strict=False):
        for minutes, panel in zip(_SHOWN_MINUTES, row, strict=True):
            panel.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
            for name, cell in _classes(results[resource].get(minutes, {})):
                nominal = [float(q) for q in cell["coverage"]]
                panel.plot(
                    nominal, list(cell["coverage"].values()), marker="o", markersize=3, label=name
                )
            panel.set_aspect("equal")
            panel.set_title(f"{resource}, {minutes} min", fontsize=9)
            panel.set_xlabel("nominal", fontsize=8)
        row[0].set_ylabel("observed", fontsize=8)
    _legend(figure, axes)
    figure.suptitle("Reliability: on the diagonal a quantile holds what its name says")


def _draw_fans(figure: Any, report: Mapping[str, Any]) -> None:
    """Draw the bands forecast half an hour ahead with what was measured."""
    fans = report["fans"]
    figure.set_size_inches(11.0, 0.6 + 2.1 * max(1, len(fans)))
    axes = figure.subplots(max(1, len(fans)), 1, sharex=True, squeeze=False)[:, 0]
    for fan, panel in zip(fans, axes, strict=False):
        at = [datetime.fromisoformat(text) for text in fan["at"]]
        cores = {q: np.array(values) / 1000.0 for q, values in fan["quantiles"].items()}
        for low, high, alpha in _BANDS:
            panel.fill_between(
                at, cores[low], cores[high], alpha=alpha, color="C0", linewidth=0,
                label=f"{float(low):.0%} to {float(high):.0%}",
            )  # fmt: skip
        panel.plot(at, cores["0.5"], color="C0", linewidth=0.8, label="median")
        actual = np.array([np.nan if v is None else v for v in fan["actual"]]) / 1000.0
        panel.plot(at, actual, ".", color="C3", markersize=2.5, label="measured")
        panel.set_title(f"{fan['class']}: VM {fan['vm']}", fontsize=9)
        panel.set_ylabel("cores", fontsize=8)
        panel.tick_params(labelsize=7)
    _legend(figure, axes[:, None])
    figure.suptitle(f"CPU, forecast {fans[0]['horizon_minutes'] if fans else 0} minutes before")


def _panels(figure: Any, rows: list[str], columns: tuple[str, ...]) -> Any:
    figure.set_size_inches(3.6 * len(columns), 0.8 + 2.6 * max(1, len(rows)))
    return figure.subplots(max(1, len(rows)), len(columns), squeeze=False)


def _classes(groups: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the cells of classes that have readings enough."""
    return [(name, groups[name]) for name in CLASSES if groups.get(name, {}).get("n", 0) >= _FEWEST]


def _legend(figure: Any, axes: Any) -> None:
    """Name every line once, whichever panels show it."""
    named: dict[str, Any] = {}
    for panel in axes.flat:
        handles, labels = panel.get_legend_handles_labels()
        named |= {label: handle for handle, label in zip(handles, labels, strict=True)}
    if named:
        figure.legend(
            list(named.values()), list(named), loc="outside lower center", ncols=6, fontsize=8
        )
