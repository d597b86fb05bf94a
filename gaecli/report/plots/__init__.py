"""Pictures: PNG, SVG, or one HTML page that needs nothing else. Drawn with matplotlib, the extra `plot`."""

from __future__ import annotations

from importlib.util import find_spec

from gaecli.errors import MissingExtraError
from gaecli.gallery import Gallery
from gaecli.report.charts import format_setting
from gaecli.results import Sweep
from gaecli.summary import Summary

__all__ = ["check_available", "plot_gallery", "plot_summary", "plot_sweep"]


def check_available() -> None:
    """Raise if there is nothing to draw with."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError(
            "`--plot` draws with matplotlib, which the extra `plot` brings",
            hint="pip install 'gaecli[plot]'",
        )


def plot_summary(summary: Summary, path: str) -> None:
    """What `gae compute` saw; nothing if nothing was computed."""
    if summary.gallery is None:
        return
    steps = f"{summary.totals.steps:,} steps, {summary.totals.episodes:,} episodes"
    decays = [
        f"{letter} {format_setting(summary.settings[name])}"
        for letter, name in (("γ", "gamma"), ("λ", "lam"))
        if name in summary.settings
    ]
    names = [file.input for file in summary.files]
    name = names[0] if len(names) == 1 else f"{len(names):,} files"
    plot_gallery(summary.gallery, path, f"{name}: {', '.join([steps, *decays])}")


def plot_gallery(gallery: Gallery, path: str, title: str) -> None:
    """Histograms, value against return, episode rewards, and one episode. `title`: what it is of."""
    check_available()
    from gaecli.report.plots.paper import draw
    from gaecli.report.plots.rollouts import draw_gallery, gallery_size

    draw(path, title, gallery_size(gallery), lambda figure, theme: draw_gallery(figure, gallery, theme))


def plot_sweep(sweep: Sweep, path: str, metric: str) -> None:
    """The metric as a map, and all metrics against λ; a bar for each setting where one of the axes is missing."""
    check_available()
    from gaecli.report.plots.paper import draw
    from gaecli.report.plots.rules import draw_rules, rules_size
    from gaecli.report.plots.sweeps import MOST_MAPS, draw_sweep, sweep_size

    size = f"{len(sweep.points)} settings over {sweep.counts.steps:,} steps"
    if len(sweep.inputs) > MOST_MAPS:
        size += f", and each of the first {MOST_MAPS} inputs"
    if not (sweep.gammas and sweep.lams) or sweep.reference is None or sweep.reference[0] is None:
        title = f"sweep of {size}"
        draw(path, title, rules_size(sweep), lambda figure, theme: draw_rules(figure, sweep, theme))
        return
    gamma, lam = format_setting(sweep.reference[0]), format_setting(sweep.reference[1])
    title = f"sweep of {size}; reference γ {gamma}, λ {lam} (bold, dotted)"
    draw(path, title, sweep_size(sweep), lambda figure, theme: draw_sweep(figure, sweep, metric, theme))
