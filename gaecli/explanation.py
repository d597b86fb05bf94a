"""What `gae explain` reports: one number as what it is made of. Plain numbers, as in `summary`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from gaecli.choices import NormFloor
from gaecli.records import dataclass
from gaecli.shown import Shown, plural
from gaecli.summary import WarningNote

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
    #: Number of the last step, counted from t, and its row.
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
