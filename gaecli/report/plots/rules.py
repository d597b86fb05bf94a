"""Pictures of settings without a λ: a bar for each under every metric, and a map of it over several inputs."""

from __future__ import annotations

from typing import Any

from gaecli.report.plots.paper import Theme
from gaecli.report.plots.sweeps import MOST_MAPS, write_number
from gaecli.report.sweep_table import METRICS, is_reference, rule_of, shown_setting
from gaecli.report.text import shorten
from gaecli.results import Sweep, SweepPoint

_METRICS = (
    "mean",
    "std",
    "explained_variance",
    "zero_share",
    "sign_agreement",
    "positive_share",
    "label_agreement",
)
#: Bars of so many settings are told apart; the table has all.
_MOST_BARS = 24
#: Numbers are written into cells up to so many of them in a row.
_MOST_NUMBERS = 5


def rules_size(sweep: Sweep) -> tuple[float, float]:
    bars, inputs = min(len(sweep.points), _MOST_BARS), min(len(sweep.inputs), MOST_MAPS)
    return (11.0, 1.6 + 0.3 * bars + (1.4 + 0.3 * inputs if inputs else 0.0))


def draw_rules(figure: Any, sweep: Sweep, theme: Theme) -> None:
    names = [name for name in _METRICS if _is_told(sweep, name)]
    bars, inputs = min(len(sweep.points), _MOST_BARS), min(len(sweep.inputs), MOST_MAPS)
    heights = [1.0 + 0.3 * bars, *([1.2 + 0.3 * inputs] if inputs else [])]
    grid = figure.add_gridspec(len(heights), len(names), height_ratios=heights)
    labels = [_label(sweep, point) for point in sweep.points[:bars]]
    for index, name in enumerate(names):
        axes = figure.add_subplot(grid[0, index])
        _bars(axes, sweep, name, bars, theme)
        axes.set_yticks(range(bars), labels if index == 0 else [""] * bars)
        if inputs:
            below = figure.add_subplot(grid[1, index])
            _map(below, sweep, name, bars, theme)
            shown = [shorten(one.input, 30) for one in sweep.inputs[:inputs]]
            below.set_yticks(range(inputs), shown if index == 0 else [""] * inputs)
            below.set_xticks(range(bars), labels, rotation=90)


def _is_told(sweep: Sweep, name: str) -> bool:
    """Of sums hardly any step has 0."""
    found = [getattr(point, name) for point in sweep.points]
    return any(found) if name == "zero_share" else any(number is not None for number in found)


def _label(sweep: Sweep, point: SweepPoint) -> str:
    return shown_setting(point) if sweep.is_grid else rule_of(point)


def _bars(axes: Any, sweep: Sweep, name: str, num_points: int, theme: Theme) -> None:
    """That with which signs are compared stands out."""
    points = sweep.points[:num_points]
    numbers = [getattr(point, name) or 0.0 for point in points]
    colours = [theme.second if is_reference(sweep, point) else theme.main for point in points]
    axes.barh(range(len(points)), numbers, color=colours)
    axes.invert_yaxis()
    axes.set_title(METRICS[name][0])


def _map(axes: Any, sweep: Sweep, name: str, num_points: int, theme: Theme) -> None:
    """Inputs down, settings across."""
    nan, inputs = float("nan"), sweep.inputs[:MOST_MAPS]
    rows = [[getattr(point, name) for point in one.points[:num_points]] for one in inputs]
    axes.grid(visible=False)
    numbers = [[nan if number is None else number for number in row] for row in rows]
    axes.imshow(numbers, aspect="auto", cmap=theme.map, interpolation="nearest")
    known = [number for row in rows for number in row if number is not None]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    for y, row in enumerate(rows):
        for x, number in enumerate(row):
            if number is not None and num_points <= _MOST_NUMBERS:
                write_number(axes, (x, y), number, middle)
