"""Pictures of a sweep: one metric over the whole grid, and each metric against λ."""

from __future__ import annotations

from typing import Any

from gaecli.report.charts import format_setting
from gaecli.report.heatmap import short_number
from gaecli.report.plots.paper import Theme
from gaecli.results import Sweep

_WORDS = {
    "explained_variance": "explained variance of the return target",
    "std": "standard deviation of A",
    "bias": "bias proxy: RMS of A(γ, λ) - A(γ, 1), over std of A(γ, 1)",
    "sign_agreement": "share of steps with the sign of the reference",
    "mean": "mean of A",
}
_LINES = ("explained_variance", "std", "bias", "sign_agreement")
#: Numbers are written into cells up to so many of them in a row.
_MOST_NUMBERS = 24
_MOST_LINES = 8


def sweep_size(sweep: Sweep) -> tuple[float, float]:
    return (11.0, 5.6 + min(0.35 * len(sweep.gammas), 5.0))


def draw_sweep(figure: Any, sweep: Sweep, metric: str, theme: Theme) -> None:
    top = 0.9 + min(0.35 * len(sweep.gammas), 5.0)
    grid = figure.add_gridspec(2, len(_LINES), height_ratios=[top, 3.2])
    _heat_map(figure, figure.add_subplot(grid[0, :]), sweep, metric, theme)
    for index, name in enumerate(_LINES):
        _lines(figure.add_subplot(grid[1, index]), sweep, name, theme, with_legend=index == 0)


def _heat_map(figure: Any, axes: Any, sweep: Sweep, metric: str, theme: Theme) -> None:
    values = {(point.gamma, point.lam): getattr(point, metric) for point in sweep.points}
    rows = [[values[gamma, lam] for lam in sweep.lams] for gamma in sweep.gammas]
    nan = float("nan")
    numbers = [[nan if number is None else number for number in row] for row in rows]
    axes.set_title(_WORDS[metric])
    axes.grid(visible=False)
    image = axes.imshow(numbers, aspect="auto", cmap=theme.map, interpolation="nearest")
    figure.colorbar(image, ax=axes, pad=0.01)
    axes.set_xlabel("λ")
    axes.set_ylabel("γ")
    every = -(-len(sweep.lams) // 26)
    positions = list(range(0, len(sweep.lams), every))
    axes.set_xticks(positions, [format_setting(sweep.lams[index]) for index in positions])
    axes.set_yticks(range(len(sweep.gammas)), [format_setting(gamma) for gamma in sweep.gammas])
    known = [number for row in rows for number in row if number is not None]
    if not known or len(sweep.lams) > _MOST_NUMBERS or len(sweep.gammas) > _MOST_NUMBERS:
        return
    middle = (min(known) + max(known)) / 2
    for y, row in enumerate(rows):
        for x, number in enumerate(row):
            if number is not None:
                colour = "white" if number < middle else "black"
                weight = "bold" if (sweep.gammas[y], sweep.lams[x]) == sweep.reference else "normal"
                axes.text(
                    x,
                    y,
                    short_number(number),
                    ha="center",
                    va="center",
                    color=colour,
                    fontsize=7,
                    weight=weight,
                )


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
