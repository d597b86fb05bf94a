"""Pictures of a grid of γ and λ: one metric over the whole of it, each metric against λ, and a map of every input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gaecli.report.charts import format_setting
from gaecli.report.heatmap import short_number
from gaecli.report.plots.paper import Theme
from gaecli.report.text import shorten
from gaecli.results import Sweep, SweepPoint, SweptInput

_WORDS = {
    "explained_variance": "explained variance of the return target",
    "std": "standard deviation of A",
    "bias": "bias proxy: RMS of A(γ, λ) - A(γ, 1), over std of A(γ, 1)",
    "sign_agreement": "share of steps with the sign of the reference",
    "mean": "mean of A",
    "threshold": "threshold of positive labels",
    "positive_share": "share of positive labels",
    "label_agreement": "share of steps with the label of the reference",
}
_LINES = ("explained_variance", "std", "bias", "sign_agreement")
#: Numbers are written into cells up to so many of them in a row.
_MOST_NUMBERS = 24
_MOST_LINES = 8


#: Maps of single inputs on one page: so many in a row, and in all.
_MAPS_IN_A_ROW = 4
MOST_MAPS = 24


def sweep_size(sweep: Sweep) -> tuple[float, float]:
    return (11.0, 5.6 + min(0.35 * len(sweep.gammas), 5.0) + _num_rows_of_maps(sweep) * _map_height(sweep))


def draw_sweep(figure: Any, sweep: Sweep, metric: str, theme: Theme) -> None:
    """The map of all inputs, each metric against λ, and the map of each of several inputs."""
    top = 0.9 + min(0.35 * len(sweep.gammas), 5.0)
    num_rows = _num_rows_of_maps(sweep)
    heights = [top, 3.2, *[_map_height(sweep)] * num_rows]
    grid = figure.add_gridspec(2 + num_rows, len(_LINES), height_ratios=heights)
    _heat_map(figure, figure.add_subplot(grid[0, :]), sweep, metric, theme)
    for index, name in enumerate(_LINES):
        _lines(figure.add_subplot(grid[1, index]), sweep, name, theme, with_legend=index == 0)
    scale = _scale(sweep, metric)
    for index, one in enumerate(_drawn(sweep)):
        row, column = divmod(index, _MAPS_IN_A_ROW)
        axes = figure.add_subplot(grid[2 + row, column])
        _map_of(axes, one.points, sweep, metric, theme, scale)
        axes.set_title(shorten(one.input, 34), fontsize=8)


def _drawn(sweep: Sweep) -> Sequence[SweptInput]:
    return sweep.inputs[:MOST_MAPS]


def _num_rows_of_maps(sweep: Sweep) -> int:
    return -(-len(_drawn(sweep)) // _MAPS_IN_A_ROW)


def _map_height(sweep: Sweep) -> float:
    return 1.2 + min(0.2 * len(sweep.gammas), 2.5)


def _scale(sweep: Sweep, metric: str) -> tuple[float, float] | None:
    """One for all inputs, so that equal colours are equal numbers."""
    found = [getattr(point, metric) for one in _drawn(sweep) for point in one.points]
    known = [number for number in found if number is not None]
    return (min(known), max(known)) if known else None


def _rows(points: Sequence[SweepPoint], sweep: Sweep, metric: str) -> list[list[float | None]]:
    values = {(point.gamma, point.lam): getattr(point, metric) for point in points}
    return [[values[gamma, lam] for lam in sweep.lams] for gamma in sweep.gammas]


def _map_of(
    axes: Any,
    points: Sequence[SweepPoint],
    sweep: Sweep,
    metric: str,
    theme: Theme,
    scale: tuple[float, float] | None,
) -> Any:
    """The image, with γ down and λ across."""
    nan, rows = float("nan"), _rows(points, sweep, metric)
    numbers = [[nan if number is None else number for number in row] for row in rows]
    axes.grid(visible=False)
    limits = {} if scale is None else {"vmin": scale[0], "vmax": scale[1]}
    image = axes.imshow(numbers, aspect="auto", cmap=theme.map, interpolation="nearest", **limits)
    for numbers_of, ticks, most in ((sweep.lams, axes.set_xticks, 26), (sweep.gammas, axes.set_yticks, 26)):
        every = -(-len(numbers_of) // (most if scale is None else 6))
        positions = list(range(0, len(numbers_of), every))
        ticks(positions, [format_setting(numbers_of[index]) for index in positions])
    return image


def _heat_map(figure: Any, axes: Any, sweep: Sweep, metric: str, theme: Theme) -> None:
    axes.set_title(_WORDS[metric])
    image = _map_of(axes, sweep.points, sweep, metric, theme, None)
    figure.colorbar(image, ax=axes, pad=0.01)
    axes.set_xlabel("λ")
    axes.set_ylabel("γ")
    rows = _rows(sweep.points, sweep, metric)
    known = [number for row in rows for number in row if number is not None]
    if not known or len(sweep.lams) > _MOST_NUMBERS or len(sweep.gammas) > _MOST_NUMBERS:
        return
    middle = (min(known) + max(known)) / 2
    for y, row in enumerate(rows):
        for x, number in enumerate(row):
            if number is not None:
                weight = "bold" if (sweep.gammas[y], sweep.lams[x]) == sweep.reference else "normal"
                write_number(axes, (x, y), number, middle, weight)


def write_number(
    axes: Any, cell: tuple[int, int], number: float, middle: float, weight: str = "normal"
) -> None:
    """Into a cell of a map, in what stands out from its colour."""
    colour = "white" if number <= middle else "black"
    axes.text(*cell, short_number(number), ha="center", va="center", color=colour, fontsize=7, weight=weight)


def _lines(axes: Any, sweep: Sweep, name: str, theme: Theme, *, with_legend: bool) -> None:
    colours = (theme.main, theme.second, theme.third, theme.ink)
    styles = ("-", "--", "-.", ":")
    axes.set_title("bias proxy" if name == "bias" else name.replace("_", " "))
    axes.set_xlabel("λ")
    for index, gamma in enumerate(sweep.gammas[:_MOST_LINES]):
        points = sorted(
            (point for point in sweep.points if point.gamma == gamma), key=lambda point: point.lam or 0.0
        )
        shown = [(point.lam, getattr(point, name)) for point in points if getattr(point, name) is not None]
        axes.plot(
            [lam for lam, _ in shown],
            [number for _, number in shown],
            styles[index // len(colours) % len(styles)],
            marker="o" if len(shown) <= 12 else None,
            markersize=3,
            color=colours[index % len(colours)],
            label=f"γ {format_setting(gamma)}",
        )
    if sweep.reference is not None:
        axes.axvline(sweep.reference[1], color=theme.ink, linewidth=0.8, alpha=0.5, linestyle=":")
    if with_legend:
        axes.legend(loc="best")
