"""What `gae sweep` and `gae verify` report. Plain numbers, as in `summary`.

`gaecli.report` shows them; numbers that do not exist (an infinite horizon, the mean of nothing) are None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from gaecli.label_summary import LabelGroup, SuccessSummary
from gaecli.records import dataclass
from gaecli.shown import Shown, listed, plural
from gaecli.summary import EpisodeCounts, Failure, WarningNote


@dataclass(frozen=True)
class SweepPoint:
    """One setting of a sweep, over all steps of all inputs. None where the estimator has no such thing."""

    gamma: float | None
    lam: float | None
    mean: float | None
    #: Of A, or of the return of an estimator that writes no advantage, with ddof 1.
    std: float | None
    variance: float | None
    #: 1 - Var(R - V) / Var(R), R = A + V.
    explained_variance: float | None
    #: RMS of A(γ, λ) - A(γ, 1), over the standard deviation of A(γ, 1): 0 at λ = 1.
    bias: float | None
    #: Share of steps at which A has the sign that it has under the reference setting.
    sign_agreement: float | None
    effective_horizon: float | None
    column: str
    #: Share of steps at which A is 0.
    zero_share: float | None = None
    estimator: str = "gae"
    preset: str = "exact"
    n_steps: int | None = None
    #: Where rows are labelled: the threshold, of all rows or of the first groups of them; the share of positive
    #: ones, and of those that have the label that they have under the reference.
    threshold: float | None = None
    label_groups: Sequence[LabelGroup] = ()
    positive_share: float | None = None
    label_agreement: float | None = None


@dataclass(frozen=True)
class SweepFile:
    input: str
    output: str | None
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    #: The file of the same stream that has the error.
    follows: str | None = None
    layout: str | None = None

    @classmethod
    def of(cls, failure: Failure) -> SweepFile:
        return cls(failure.input, None, failure.error, failure.hint, failure.exit_code, failure.follows)


@dataclass(frozen=True)
class SweptInput:
    """The points of one of several inputs."""

    #: The file, or the first of those that are one stream.
    input: str
    num_files: int
    counts: EpisodeCounts
    points: Sequence[SweepPoint]


@dataclass(frozen=True)
class Sweep(Shown):
    """The result of one `gae sweep`. `points` run through λ and n for every γ, or presets for every estimator."""

    settings: Mapping[str, Any]
    gammas: Sequence[float]
    lams: Sequence[float]
    #: (γ, λ) that signs are compared with, without a γ where that is not swept. None: where no λ is swept they are γ
    #: and n of the settings, and side by side the first of the points.
    reference: tuple[float | None, float] | None
    points: Sequence[SweepPoint]
    files: Sequence[SweepFile]
    counts: EpisodeCounts
    #: Each by itself where there are several; the first ones of very many.
    inputs: Sequence[SweptInput] = ()
    #: Which rows are positive, in words; None where none are labelled.
    labels: str | None = None
    #: n of a grid of windows.
    windows: Sequence[int] = ()
    #: Of γ, λ and n. Else estimators and presets are side by side.
    is_grid: bool = True
    streams: str = ""
    warnings: Sequence[WarningNote] = ()
    seconds: float = 0.0
    #: Where success makes the rewards.
    success: SuccessSummary | None = None

    @property
    def exit_code(self) -> int:
        return max((file.exit_code for file in self.files), default=0)

    @property
    def brief(self) -> str:
        points, files = plural(len(self.points), "setting"), plural(len(self.files), "file")
        return f"{points} over {plural(self.counts.steps, 'step')} of {files}"


@dataclass(frozen=True)
class Deviation:
    """Rows of one kind that a convention does not explain."""

    #: "truncated ends", "terminated ends", "open ends", "inside trajectories", "no number".
    where: str
    count: int
    #: Rows of this kind in all.
    total: int
    first_row: int
    found: float | None
    expected: float | None
    #: What these rows do instead, in a few words; None if nothing that is known.
    reading: str | None = None


@dataclass(frozen=True)
class Attempt:
    """One convention with the γ and λ that fit best."""

    #: Presets that are this convention on this file, in the order of the table.
    presets: Sequence[str]
    #: Flags beside `--preset`, e.g. {"bootstrap": "current"}.
    flags: Mapping[str, Any]
    #: None of an estimator that has none.
    gamma: float | None
    lam: float | None
    #: A = scale · column + shift; 1 and 0 for a raw column.
    scale: float
    shift: float
    num_rows: int
    num_deviating: int
    #: In units of the column.
    max_error: float | None
    rms_error: float | None
    #: False where the rows leave γ (or λ) open; then it is the preset's default.
    is_gamma_determined: bool = True
    is_lam_determined: bool = True
    estimator: str = "gae"
    #: Of `n-step`.
    n_steps: int | None = None
    #: Of a group baseline, its equation with the numbers of the rule, and what tells groups and rewards.
    rule: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    #: It was held against a part of the trajectories alone.
    is_sampled: bool = False

    @property
    def name(self) -> str:
        """`sb3`, `trl grpo`, or the estimator alone where no library's rules are meant."""
        preset = self.presets[0]
        if self.estimator == "gae":
            return preset
        return self.estimator if preset == "exact" else f"{preset} {self.estimator}"

    @property
    def is_reproduced(self) -> bool:
        return self.num_deviating == 0 and self.num_rows > 0

    @property
    def is_affine(self) -> bool:
        return (self.scale, self.shift) != (1.0, 0.0)

    @property
    def row_word(self) -> str:
        """What its rows are called."""
        return "sampled row" if self.is_sampled else "row"


@dataclass(frozen=True)
class Verification(Shown):
    """Which convention reproduces a column of one file; the best attempt first."""

    path: str
    column: str
    column_path: str
    attempts: Sequence[Attempt]
    #: What the scale and shift of the best attempt are, e.g. "normalised over the file (ddof 1)".
    normalization: str | None
    deviations: Sequence[Deviation]
    tolerance: float
    #: What a command would have to say to compute the column; empty where none makes it.
    flags: Sequence[str] = ()
    #: Presets that reproduce the column too, by themselves or with the flags of the best; of group baselines with the
    #: estimator, `trl grpo`.
    equivalent: Sequence[str] = ()
    #: Conventions that cannot read this file, by preset.
    unreadable: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[WarningNote] = ()
    #: "advantage", or "return": A + V.
    holds: str = "advantage"
    #: The one number that all but a few rows hold, and of how many it is, where no convention makes it of them.
    constant: float | None = None
    num_constant: int = 0
    #: Conventions were compared on so many of the steps, and those that reproduce them, or come near, held against
    #: all; None: all were held against all.
    num_searched: int | None = None
    #: Other estimators that make the same column of the same γ and λ.
    estimators: Sequence[str] = ()
    #: Columns that were tried as those that tell groups apart.
    groups_tried: Sequence[str] = ()
    #: What was fitted beside γ and λ, and what the column leaves open of it.
    remarks: Sequence[str] = ()
    #: Where success makes the rewards.
    success: SuccessSummary | None = None

    @property
    def best(self) -> Attempt:
        return self.attempts[0]

    @property
    def is_reproduced(self) -> bool:
        return self.best.is_reproduced

    @property
    def share_deviating(self) -> float:
        return self.best.num_deviating / max(self.best.num_rows, 1)

    @property
    def exit_code(self) -> int:
        return 0 if self.is_reproduced else 3

    @property
    def brief(self) -> str:
        best = self.best
        decays = listed(
            best.name,
            None if best.gamma is None else f"γ {best.gamma:.6g}",
            None if best.lam is None else f"λ {best.lam:.6g}",
        )
        rows = f"{best.num_deviating:,} of {plural(best.num_rows, best.row_word)} deviate"
        return f"{self.column!r} of {self.path!r} by {decays}: {rows}"


@dataclass(frozen=True)
class Verifications(Shown):
    """Several inputs, each verified by itself, and the rule that most of them follow."""

    inputs: Sequence[Verification]
    #: Of `inputs`, those that follow one rule; none: no rule reproduces any.
    following: Sequence[int] = ()
    #: As what follows it leaves it: what cannot be told from it in any of them.
    rule: Verification | None = None
    failures: Sequence[Failure] = ()
    streams: str = ""
    warnings: Sequence[WarningNote] = ()

    @classmethod
    def of_one(cls, found: Verification) -> Verifications:
        following = [0] if found.is_reproduced else []
        return cls([found], following, found if following else None, warnings=found.warnings)

    @property
    def differing(self) -> Sequence[Verification]:
        """Not reproduced, or by another rule."""
        return [one for index, one in enumerate(self.inputs) if index not in self.following]

    @property
    def exit_code(self) -> int:
        """0 if one rule reproduces all."""
        codes = [failure.exit_code for failure in self.failures]
        return max([*codes, 3 if self.differing or not self.following else 0])

    @property
    def brief(self) -> str:
        rule = "no rule" if self.rule is None else self.rule.best.name
        return f"{len(self.following):,} of {plural(len(self.inputs), 'input')} follow {rule}"
