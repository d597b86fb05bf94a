"""What the studies report: `gae explain`, `gae sweep`, `gae verify`. Plain numbers, as in `summary`.

`gaecli.report` shows them; numbers that do not exist (an infinite horizon, the mean of nothing) are None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from gaecli.choices import NormFloor
from gaecli.label_summary import LabelGroup, SuccessSummary
from gaecli.records import dataclass
from gaecli.shown import Shown, listed, plural
from gaecli.summary import EpisodeCounts, Failure, WarningNote

#: How a trajectory ends.
End = Literal["terminated", "truncated", "open"]
#: What stands for V(s') after the last step. `none`: s' is terminal, or the convention takes it to be.
BootstrapSource = Literal["none", "next value", "current", "zero"]


@dataclass(frozen=True)
class ExplainedStep:
    """Step t + l of the trajectory, seen from step t; with k = l + 1, all that has k in it."""

    lag: int
    #: Row of the input; None for the steps of lists, which have none of their own.
    row: int | None
    reward: float
    value: float
    #: V(s') as it enters δ: 0 where s' is terminal.
    next_value: float
    delta: float
    #: (γλ)ˡ, (γλ)ˡ δ, and the sum of these up to here.
    weight: float
    contribution: float
    running_sum: float
    #: A⁽ᵏ⁾, G⁽ᵏ⁾ = A⁽ᵏ⁾ + V, the weight of A⁽ᵏ⁾, and the sum of weight · A⁽ᵏ⁾ up to here.
    k_step_advantage: float
    k_step_return: float
    k_step_weight: float
    k_step_sum: float


@dataclass(frozen=True)
class NormalizedNumber:
    """What `--normalize` makes of an advantage: (raw - mean) · scale, with what its rows have in common."""

    #: "all", "file", "episode", or "column": the rows that are one group.
    scope: str
    #: The column, and what it says in these rows.
    column: str | None
    label: str | None
    #: How many of what entered mean and std: "steps", "trajectories", "rollouts".
    count: int
    unit: str
    mean: float
    std: float
    ddof: int
    eps: float
    floor: NormFloor
    #: 1 over the std with ε; 0 where there is no variance.
    scale: float
    raw: float
    #: What the column has, but for the rounding of its type.
    written: float
    #: What was read for it.
    num_rows: int
    num_files: int


@dataclass(frozen=True)
class StoredAdvantage:
    """What the file has as the advantage of the step, if gaecli wrote it."""

    column: str
    value: float | None
    #: The advantage as that run would have written it, from its settings; None if they are other settings.
    expected: float | None
    #: Settings of that run that differ from those of this one, as it had them.
    differing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def difference(self) -> float | None:
        return None if self.value is None or self.expected is None else self.value - self.expected


@dataclass(frozen=True)
class RowsSeen:
    """From the first to the last, of so many."""

    first: int
    last: int
    num_rows: int


@dataclass(frozen=True)
class Explanation(Shown):
    """One advantage taken apart."""

    path: str
    row: int
    #: What the file calls the step, by role ("env", "episode", "step").
    key: Mapping[str, Any]
    settings: Mapping[str, Any]
    gamma: float
    lam: float
    reward: float
    value: float
    #: Steps from t to the end of the trajectory, t included: the sum has so many terms.
    num_steps: int
    end: End
    #: Number of the last step, plural from t, and its row.
    end_row: int | None
    bootstrap: BootstrapSource
    bootstrap_value: float
    #: The three forms. `recursion` is what `gae compute` computes.
    mixture: float
    delta_sum: float
    recursion: float
    #: All steps, or the `top` ones by |(γλ)ˡ δ|, in order of time.
    steps: Sequence[ExplainedStep]
    #: None where A is written as it is.
    normalized: NormalizedNumber | None = None
    stored: StoredAdvantage | None = None
    #: What was read beside ids, where that is not all: of other rows nothing is checked.
    rows_seen: RowsSeen | None = None
    warnings: Sequence[WarningNote] = ()

    @property
    def written(self) -> float:
        """What `gae compute` writes as the advantage."""
        return self.recursion if self.normalized is None else self.normalized.written

    @property
    def decay(self) -> float:
        return self.gamma * self.lam

    @property
    def effective_horizon(self) -> float | None:
        """1 / (1 - γλ): Σ (γλ)ˡ over all l; None where it is infinite."""
        return effective_horizon(self.gamma, self.lam)

    @property
    def is_complete(self) -> bool:
        return len(self.steps) == self.num_steps

    @property
    def brief(self) -> str:
        return f"row {self.row:,} of {self.path!r}, advantage {self.written:.6g} of {plural(self.num_steps, 'step')}"


#: A cell of a line of a derivation.
Cell = float | int | str | bool | None


@dataclass(frozen=True)
class DerivationTable:
    """Lines that add up to something, or that stand beside each other."""

    title: str
    #: In order; of each what it is made of, by name ("lag", "row", "reward", "weight", "contribution", …).
    lines: Sequence[Mapping[str, Cell]]
    #: Lines in all; `lines` may be the largest of them.
    num_lines: int
    #: What the lines add up to, or the mean that they have; None where they do neither.
    total: float | None = None


@dataclass(frozen=True)
class Derivation(Shown):
    """One number of another estimator than GAE and its kin, out of what it is made of."""

    path: str
    row: int
    #: What the file calls the step, by role ("env", "episode", "step").
    key: Mapping[str, Any]
    settings: Mapping[str, Any]
    estimator: str
    #: What is derived: "advantage" or "return".
    output: str
    #: None where the estimator has no derivation, and the tables show what it is made from only.
    equation: str | None
    #: What stands in the equation beside the lines of the tables, by its letter.
    numbers: Mapping[str, float | int | None]
    tables: Sequence[DerivationTable]
    #: What the equation gives with these numbers; None without one.
    derived: float | None
    #: What `gae compute` computes, whatever column it goes to, before any normalisation.
    computed: float
    #: Everything that it writes at this step, by output.
    outputs: Mapping[str, float]
    #: Steps from this one to the end of the trajectory, itself included; how that ends, and at which row.
    num_steps: int
    end: End
    end_row: int | None
    #: None where no value beyond the end enters.
    bootstrap: BootstrapSource | None = None
    bootstrap_value: float | None = None
    remarks: Sequence[str] = ()
    #: None where the number is written as it is.
    normalized: NormalizedNumber | None = None
    stored: StoredAdvantage | None = None
    warnings: Sequence[WarningNote] = ()

    @property
    def written(self) -> float:
        """What `gae compute` writes."""
        return self.computed if self.normalized is None else self.normalized.written

    @property
    def difference(self) -> float | None:
        return None if self.derived is None else self.derived - self.computed

    @property
    def brief(self) -> str:
        return f"row {self.row:,} of {self.path!r}, {self.output} {self.written:.6g} by {self.estimator}"


def effective_horizon(gamma: float, lam: float) -> float | None:
    decay = gamma * lam
    return 1.0 / (1.0 - decay) if decay < 1.0 else None


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
