"""Pictures of rollouts: are the values any good, and what do the advantages look like?"""

from __future__ import annotations

from typing import Any

from gaecli.gallery import EpisodeStrip, Gallery
from gaecli.report.plots.paper import Theme

_BINS = 60
#: Below so many points each is drawn as a dot of its own.
_FEW = 2000
#: There are no bins, and no ticks on an axis, between numbers whose difference is beyond float64.
_MOST_DRAWN = 1e300


def gallery_size(gallery: Gallery) -> tuple[float, float]:
    return (11.0, 9.0) if gallery.strip is not None else (11.0, 6.2)


def draw_gallery(figure: Any, gallery: Gallery, theme: Theme) -> None:
    """Two rows of panels, and below them one episode."""
    has_strip = gallery.strip is not None
    grid = figure.add_gridspec(3 if has_strip else 2, 2, height_ratios=[1, 1, 1.1][: 3 if has_strip else 2])
    _histogram(figure.add_subplot(grid[0, 0]), gallery, "advantage", theme.main, theme)
    _histogram(figure.add_subplot(grid[0, 1]), gallery, "return", theme.second, theme)
    _values_against_returns(figure.add_subplot(grid[1, 0]), gallery, theme)
    _episodes(figure.add_subplot(grid[1, 1]), gallery, theme)
    if gallery.strip is not None:
        _strip(figure.add_subplot(grid[2, :]), gallery.strip, theme)


def _histogram(axes: Any, gallery: Gallery, name: str, colour: str, theme: Theme) -> None:
    numbers = [number for number in gallery.samples.get(name, ()) if abs(number) < _MOST_DRAWN]
    axes.set_title(_sampled(name, len(numbers), gallery.num_rows, "steps"))
    axes.set_xlabel(name)
    axes.set_ylabel("steps in the sample" if len(numbers) < gallery.num_rows else "steps")
    if not numbers:
        _nothing(axes)
        return
    axes.hist(numbers, bins=_BINS, color=colour, linewidth=0)
    mean = sum(numbers) / len(numbers)
    axes.axvline(0, color=theme.ink, linewidth=0.8, alpha=0.6)
    axes.axvline(mean, color=theme.ink, linewidth=1.2, linestyle="--", label=f"mean {mean:.4g}")
    axes.legend(loc="best")


def _values_against_returns(axes: Any, gallery: Gallery, theme: Theme) -> None:
    """On the line the value is the return; the vertical distance to it is the advantage."""
    values, returns = gallery.samples.get("value", ()), gallery.samples.get("return", ())
    axes.set_title("value against return")
    axes.set_xlabel("return A + V")
    axes.set_ylabel("value V")
    is_aligned = gallery.is_aligned and len(values) == len(returns)
    pairs = list(zip(returns, values, strict=True)) if is_aligned else []
    shown = [pair for pair in pairs if max(map(abs, pair)) < _MOST_DRAWN]
    if not shown:
        _nothing(axes)
        return
    returns, values = zip(*shown, strict=True)
    is_few = len(values) <= _FEW
    axes.scatter(
        returns,
        values,
        s=9 if is_few else 4,
        alpha=0.6 if is_few else 0.25,
        color=theme.main,
        linewidths=0,
        rasterized=not is_few,
    )
    low, high = min(*values, *returns), max(*values, *returns)
    axes.plot([low, high], [low, high], color=theme.second, label="value = return")
    axes.legend(loc="best")


def _episodes(axes: Any, gallery: Gallery, theme: Theme) -> None:
    rewards = [reward for reward in gallery.episode_rewards if abs(reward) < _MOST_DRAWN]
    axes.set_title(_sampled("reward per episode", len(rewards), gallery.num_episodes, "episodes"))
    axes.set_xlabel("episode, in the order of the files")
    axes.set_ylabel("sum of rewards")
    if not rewards:
        _nothing(axes)
        return
    stride = gallery.num_episodes / len(rewards)
    positions = [index * stride for index in range(len(rewards))]
    axes.plot(
        positions, rewards, ".", markersize=4, alpha=0.6, color=theme.main, rasterized=len(rewards) > _FEW
    )
    window = max(len(rewards) // 20, 1)
    if window > 1:
        axes.plot(
            positions,
            _moving_mean(rewards, window),
            color=theme.second,
            label=f"mean of {round(window * stride):,} episodes",
        )
        axes.legend(loc="best")


def _strip(axes: Any, strip: EpisodeStrip, theme: Theme) -> None:
    """Reward, value and return on one scale, the advantage as the area between the last two."""
    steps = range(len(strip.values))
    shown = "" if len(steps) == strip.length else f", the first {len(steps):,}"
    axes.set_title(f"an episode of {strip.length:,} steps from row {strip.row:,} ({strip.end}){shown}")
    axes.set_xlabel("step")
    if any(not abs(number) < _MOST_DRAWN for number in (*strip.returns, *strip.values, *strip.rewards)):
        _nothing(axes)
        return
    axes.plot(steps, strip.returns, color=theme.second, label="return A + V")
    axes.plot(steps, strip.values, color=theme.main, label="value V")
    axes.plot(steps, strip.rewards, color=theme.third, linestyle=":", label="reward r")
    axes.fill_between(
        steps, strip.values, strip.returns, color=theme.second, alpha=0.2, linewidth=0, label="advantage A"
    )
    axes.axhline(0, color=theme.ink, linewidth=0.8, alpha=0.6)
    axes.margins(x=0.01)
    axes.legend(loc="best", ncols=4)


def _moving_mean(numbers: Any, window: int) -> list[float]:
    means, total = [], 0.0
    for index, number in enumerate(numbers):
        total += number - (numbers[index - window] if index >= window else 0.0)
        means.append(total / min(index + 1, window))
    return means


def _sampled(what: str, count: int, total: int, unit: str) -> str:
    return f"{what} ({total:,} {unit})" if count >= total else f"{what} ({count:,} of {total:,} {unit})"


def _nothing(axes: Any) -> None:
    axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes)
