"""The settings that a sweep tries: a grid of γ, λ and n of one estimator, or estimators and presets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from gaecli.errors import UsageError
from gaecli.estimators.decays import with_one_lam
from gaecli.records import dataclass
from gaecli.settings import Settings

#: More settings than this are a mistake in the grid.
MOST_POINTS = 2000


@dataclass(frozen=True, eq=False)
class SweepPoints:
    """Those that are asked for, then those that they are compared with."""

    points: tuple[Settings, ...]
    num_shown: int
    #: Index of λ = 1 for every point, where there is a λ.
    bases: tuple[int | None, ...]
    #: Under which the stream is read; of a grid also what signs are compared with.
    reference: Settings
    gammas: Sequence[float] = ()
    lams: Sequence[float] = ()
    windows: Sequence[int] = ()

    @property
    def is_grid(self) -> bool:
        return bool(self.gammas)

    @property
    def shown(self) -> range:
        return range(self.num_shown)

    @property
    def columns(self) -> list[str]:
        return [self.column(index) for index in self.shown]

    def column(self, index: int) -> str:
        """`advantage_g0.99_l0.95`, `return_g0.99`, `advantage_g0.99_n5`; `advantage_trl_grpo` side by side."""
        point = self.points[index]
        name = point.output_columns[0]
        if not self.is_grid:
            return "_".join([name, *([point.preset] if point.preset != "exact" else []), point.estimator])
        parts = [("g", point.gamma)]
        parts += [("l", point.lam)] if point.uses("lam") else []
        parts += [("n", point.n_steps or 0)] if point.uses("n_steps") else []
        return "_".join([name, *(f"{letter}{_short(number)}" for letter, number in parts)])

    @property
    def order(self) -> list[int]:
        """The base of each before it."""
        order: list[int] = []
        for gamma in dict.fromkeys(point.gamma for point in self.points):
            same = [index for index, point in enumerate(self.points) if point.gamma == gamma]
            base = self.bases[same[0]]
            order += dict.fromkeys([*([] if base is None else [base]), *same])
        return order


def _short(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def grid_of(
    settings: Settings, gammas: Sequence[float], lams: Sequence[float], windows: Sequence[int] = ()
) -> SweepPoints:
    """Every γ with every λ and n, as far as the estimator uses them."""
    for name, flag, numbers in (("lam", "--lam", lams), ("n_steps", "--n-steps", windows)):
        if numbers and not settings.uses(name):
            raise UsageError(
                f"`{flag}` says nothing to `--estimator {settings.estimator}`", hint=f"drop `{flag}`"
            )
        if settings.uses(name) and not numbers:
            raise UsageError("the grid is empty", hint=f"pass `{flag}`, such as {_EXAMPLES[flag]}")
    if not gammas:
        raise UsageError("the grid is empty", hint=f"pass `--gamma`, such as {_EXAMPLES['--gamma']}")
    _check_range("--gamma", gammas)
    _check_range("--lam", lams)
    of_lam: Sequence[float | None] = lams or [None]
    of_n: Sequence[int | None] = windows or [None]
    shown = list(dict.fromkeys(product(gammas, of_lam, of_n)))
    if len(shown) > MOST_POINTS:
        raise UsageError(
            f"{len(shown):,} settings are more than {MOST_POINTS:,}", hint="take a wider step in the grid"
        )
    keys = list(dict.fromkeys([*shown, *((gamma, 1.0, n) for gamma, lam, n in shown if lam is not None)]))
    index = {key: position for position, key in enumerate(keys)}
    return SweepPoints(
        points=tuple(_point(settings, *key) for key in keys),
        num_shown=len(shown),
        bases=tuple(None if lam is None else index[gamma, 1.0, n] for gamma, lam, n in keys),
        reference=settings,
        gammas=gammas,
        lams=lams,
        windows=windows,
    )


_EXAMPLES = {"--gamma": "`--gamma 0.95,0.99`", "--lam": "`--lam 0:1:0.05`", "--n-steps": "`--n-steps 1,5,10`"}


def _point(base: Settings, gamma: float, lam: float | None, n_steps: int | None) -> Settings:
    made = base.replace(gamma=gamma, n_steps=n_steps)
    return made if lam is None else with_one_lam(made, lam)


def _check_range(flag: str, numbers: Sequence[float]) -> None:
    for number in numbers:
        if not 0.0 <= number <= 1.0:
            raise UsageError(f"`{flag}` holds {number}; it must lie in [0, 1]")


def side_by_side(settings: Sequence[Settings]) -> SweepPoints:
    """The first is what the others are compared with. Nothing but scores is normalised."""
    points = tuple(
        one if one.kind.is_scored else one.replace(normalize="none", normalize_by=None) for one in settings
    )
    if len({one.kind.outputs[0] for one in points}) > 1:
        raise UsageError(
            "advantages and returns are not compared with each other",
            hint="name estimators that write the same",
        )
    return SweepPoints(points, len(points), (None,) * len(points), points[0])
