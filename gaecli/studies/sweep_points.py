"""The settings that a sweep tries: a grid of γ, λ and n of one estimator, or estimators and presets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from gaecli.decay_settings import FAMILIES, says_nothing
from gaecli.errors import UsageError
from gaecli.estimators.decays import with_lam
from gaecli.records import dataclass
from gaecli.reward_streams import NUMBERS
from gaecli.setting_fields import setting_flag
from gaecli.settings import Settings

#: More settings than this are a mistake in the grid.
MOST_POINTS = 2000
#: Beside their base: the rows of a tile are to be long.
_MOST_TOGETHER = 24


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
    is_grid: bool = True

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
        parts = [("g", point.gamma)] if self.gammas else []
        parts += [("l", point.lam)] if self.lams else []
        parts += [("n", point.n_steps or 0)] if self.windows else []
        return "_".join([name, *(f"{letter}{_short(number)}" for letter, number in parts)])

    @property
    def launches(self) -> list[PointsTogether]:
        """Every point once, with its base and others that have the same γ; as many of each of several γ."""
        found: list[PointsTogether] = []
        for launch in self._of_one_gamma():
            beside = launch.beside(found[-1]) if found else None
            if beside is None or len(beside.indices) > _MOST_TOGETHER + 1:
                found.append(launch)
            else:
                found[-1] = beside
        return found

    def _of_one_gamma(self) -> list[PointsTogether]:
        together: dict[tuple[float, int | None], list[int]] = {}
        for index, (point, base) in enumerate(zip(self.points, self.bases, strict=True)):
            own = together.setdefault((point.gamma, base), [])
            own += [index] if index != base else []
        found = []
        for (_, base), others in together.items():
            for first in range(0, max(len(others), 1), _MOST_TOGETHER):
                more = others[first : first + _MOST_TOGETHER]
                indices, num_bases = (more, 0) if base is None else ([base, *more], 1)
                found.append(PointsTogether(indices, 1, num_bases, is_repeated=first > 0))
        return found


#: Of grids that do not say.
_USUAL_GAMMAS = (0.99,)
_USUAL_LAMS = tuple(tenths / 10 for tenths in range(11))


class PointsTogether(NamedTuple):
    """Points that are looked at together: as many of one γ as of the next."""

    indices: list[int]
    num_gammas: int
    #: λ = 1, the first of each γ, where there is one; and whether another launch has it as its own.
    num_bases: int
    is_repeated: bool

    def beside(self, before: PointsTogether) -> PointsTogether | None:
        """Together with those of other γ; None where they are not as many."""
        is_alike = len(self.indices) * before.num_gammas == len(before.indices) * self.num_gammas
        is_alike &= self.num_bases * before.num_gammas == before.num_bases * self.num_gammas
        if not is_alike or self.is_repeated or before.is_repeated:
            return None
        return PointsTogether(
            [*before.indices, *self.indices],
            before.num_gammas + self.num_gammas,
            before.num_bases + self.num_bases,
            is_repeated=False,
        )


def _short(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def grid_of(
    settings: Settings, gammas: Sequence[float], lams: Sequence[float], windows: Sequence[int] = ()
) -> SweepPoints:
    """Every γ with every λ and n, as far as the estimator uses them and nothing else says what they are.

    Without any γ, or any λ, those that are usual.
    """
    for name, numbers in (("lam", lams), ("n_steps", windows), ("gamma", gammas)):
        flag = setting_flag(name)
        if numbers and not settings.uses(name):
            raise says_nothing(name, settings.kind)
        if numbers and (by := fixed_by(settings, name)) is not None:
            raise _changes_nothing(name, flag, by)
    gammas = gammas or (_USUAL_GAMMAS if is_swept(settings, "gamma") else ())
    lams = lams or (_USUAL_LAMS if is_swept(settings, "lam") else ())
    if not (gammas or lams or windows):
        fixed = [fixed_by(settings, name) for name in ("gamma", "lam") if settings.uses(name)]
        raise UsageError(
            f"nothing is left to sweep: {'; '.join(filter(None, fixed))}",
            hint="drop one of them, or let `gae compute` show the numbers of this one setting",
        )
    _check_range("--gamma", gammas)
    _check_range("--lam", lams)
    of_gamma: Sequence[float | None] = gammas or [None]
    of_lam: Sequence[float | None] = lams or [None]
    of_n: Sequence[int | None] = windows or [None]
    shown = list(dict.fromkeys(product(of_gamma, of_lam, of_n)))
    if len(shown) > MOST_POINTS:
        raise UsageError(
            f"{len(shown):,} settings are more than {MOST_POINTS:,}", hint="take a wider step in the grid"
        )
    has_base = settings.uses("lam") and not _is_of_streams(settings, "lam")
    bases = [(gamma, 1.0, n) for gamma, _, n in shown] if has_base else []
    keys = list(dict.fromkeys([*shown, *bases]))
    index = {key: position for position, key in enumerate(keys)}
    return SweepPoints(
        points=tuple(_point(settings, *key) for key in keys),
        num_shown=len(shown),
        bases=tuple(index[gamma, 1.0, n] if has_base else None for gamma, _, n in keys),
        reference=settings,
        gammas=gammas,
        lams=lams,
        windows=windows,
    )


def fixed_by(settings: Settings, name: str) -> str | None:
    """What says γ or λ beside the grid, in words; None: nothing does."""
    for other in FAMILIES.get(name, ()):
        given = getattr(settings, other)
        if given is None or given == getattr(settings.convention, other, None):
            continue  # λ of a preset gives way
        by = "of each step" if other.endswith("_column") else "by the length of the trajectory"
        return f"{_LETTERS[name]} is {by}, by `{setting_flag(other)} {given}`"
    if _is_of_streams(settings, name):
        return f"every `--stream` has a {_LETTERS[name]} of its own"
    return None


def is_swept(settings: Settings, name: str) -> bool:
    """Whether a grid has this axis."""
    return settings.uses(name) and fixed_by(settings, name) is None


_LETTERS = {"gamma": "γ", "lam": "λ"}


def _is_of_streams(settings: Settings, name: str) -> bool:
    return (
        bool(settings.stream)
        and name in NUMBERS
        and all(getattr(one, name) is not None for one in settings.stream)
    )


def _changes_nothing(name: str, flag: str, fixed: str) -> UsageError:
    other = (
        "drop either"
        if "--stream" not in fixed
        else f"leave {_LETTERS[name]} out of the streams that are to be swept"
    )
    return UsageError(f"`{flag}` would change nothing: {fixed}", hint=f"{other}, or sweep another setting")


def _point(base: Settings, gamma: float | None, lam: float | None, n_steps: int | None) -> Settings:
    made = base.replace(n_steps=n_steps, **({} if gamma is None else {"gamma": gamma}))
    return made if lam is None else with_lam(made, lam)


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
    return SweepPoints(points, len(points), (None,) * len(points), points[0], is_grid=False)
