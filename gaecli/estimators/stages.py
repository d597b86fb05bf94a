"""What becomes of scores once they are known: sums of (x - centre) · scale over groups, and once more.

A stage is a weighted sum of components. Each moves a score x by its mean over the group that its row is in, and
scales it by what a rule makes of the moments of that group, or of a wider one. What a stage gives is the score of
the next: first the baseline of the estimator, if it has one, then the normalisation that the settings ask for.
All moments of a stage are measured over all rows before the first of them changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from gaecli.choices import MeasuredOver, NormalizeScope
from gaecli.estimators.normalization import NormRule
from gaecli.records import dataclass
from gaecli.settings import Settings

#: The name of what the stage before gave; of the first one, the advantages of the estimator.
BEFORE = "advantage"


#: Where `baseline_of(settings)` gives the components of a baseline, which most runs have none of.
_BASELINES = "gaecli.estimators.baselines"


@dataclass(frozen=True)
class GroupScope:
    """Rows that are compared with one another: those with equal values in all of the columns."""

    columns: tuple[str, ...] = ()
    within: NormalizeScope = "all"

    @property
    def spans_streams(self) -> bool:
        return bool(self.columns) or self.within == "all"


@dataclass(frozen=True)
class Statistic:
    """Count, mean and spread of a score within a scope."""

    score: str
    scope: GroupScope
    #: What enters once: every step, or every trajectory, at its last step.
    unit: MeasuredOver
    #: The score whose numbers say how often each enters.
    weight: str | None = None
    #: Rows with equal values in these columns too are one, which enters once.
    one_by: tuple[str, ...] = ()
    #: The two largest numbers are asked for, too.
    with_largest: bool = False
    #: The last so many columns of the scope order the others' groups: what is asked for is a running mean, of which
    #: `decay` stays when a score comes in.
    ordered_by: int = 0
    decay: float = 0.0


@dataclass(frozen=True)
class Scaling:
    """A statistic, and what is made of it."""

    statistic: Statistic
    rule: NormRule


@dataclass(frozen=True)
class Component:
    """weight · (x - centre) · scale, both those of `centre`, and times the scale of `spread` where there is one."""

    centre: Scaling
    spread: Scaling | None = None
    weight: float = 1.0

    @property
    def score(self) -> str:
        return self.centre.statistic.score

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        return (self.centre,) if self.spread is None else (self.centre, self.spread)


@dataclass(frozen=True)
class ScoreStage:
    components: Sequence[Component]
    #: What nobody compared: a masked row, whose number is 0, stays so.
    is_baseline: bool = False

    @property
    def scalings(self) -> tuple[Scaling, ...]:
        found = [scaling for component in self.components for scaling in component.scalings]
        return tuple(dict.fromkeys(found))

    @property
    def spans_streams(self) -> bool:
        return any(scaling.statistic.scope.spans_streams for scaling in self.scalings)


def scores_of(settings: Settings) -> frozenset[str]:
    """The scores that its stages compare, and those that weigh others."""
    statistics = [scaling.statistic for stage in stages_of(settings) for scaling in stage.scalings]
    return frozenset(name for one in statistics for name in (one.score, one.weight) if name is not None)


def stages_of(settings: Settings) -> tuple[ScoreStage, ...]:
    """In the order in which they come about."""
    first: tuple[ScoreStage, ...] = ()
    if settings.kind.is_grouped:
        first = (ScoreStage(import_module(_BASELINES).baseline_of(settings), is_baseline=True),)
    if settings.normalize == "none" and settings.normalize_by is None:
        return first
    columns = () if settings.normalize_by is None else (settings.normalize_by,)
    within = "all" if settings.normalize == "none" else settings.normalize
    rule = NormRule(settings.norm_ddof, settings.norm_eps, settings.norm_floor)
    # An episode is one sample at most: no other has to be told from it.
    one_by = () if within == "episode" else settings.sample_columns
    statistic = Statistic(BEFORE, GroupScope(columns, within), settings.measured_over, one_by=one_by)
    return (*first, ScoreStage([Component(Scaling(statistic, rule))]))
