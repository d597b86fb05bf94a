"""Which estimators there are, and what each needs and writes. One row here, and one module, make one.

Plain data below everything that computes: settings are checked against it, and nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from gaecli.records import dataclass

#: What an estimator writes; `Settings` has the name of the column of each.
OutputRole = Literal["advantage", "return"]


@dataclass(frozen=True, kw_only=True)
class EstimatorKind:
    """One row of the table."""

    name: str
    #: One line for lists.
    summary: str
    source: str
    #: Where `make(settings, device)` gives an `Estimator` of `gaecli.estimators.base`, and
    #: `needs_whole_stream(settings)` says whether more than its `Borders` crosses the border of a block.
    module: str
    #: Roles that a file has to have. Others are used where they are there.
    roles: tuple[str, ...]
    #: What it writes, in this order. The first is what is scanned, measured and normalised.
    outputs: tuple[OutputRole, ...]
    #: What enters mean and standard deviation once: every step, or every trajectory, at its last step.
    moments: Literal["steps", "trajectories"] = "steps"
    #: Its advantage is the score of a trajectory beside those of its group (`Settings.group_column`).
    is_grouped: bool = False
    #: Settings, and rules of presets, that it does not look at.
    unused: tuple[str, ...] = ()
    #: Of `gamma` and `lam`, those that a column may hold for each step.
    by_column: tuple[str, ...] = ()
    #: Columns of numbers beside those of the roles, by the `Settings`, which stand above this table: blocks
    #: carry them as `Block.extras`.
    extras: Callable[[Any], tuple[str, ...]] = lambda settings: ()


#: What says nothing to the score of a trajectory as a whole.
_OF_STEPS = ("gamma", "lam", "lam_alpha", "n_steps", "recursion", "returns", "truncation")


def _baseline(name: str, summary: str, source: str) -> EstimatorKind:
    """The score of a trajectory beside those of its group."""
    return EstimatorKind(
        name=name,
        summary=summary,
        source=source,
        module="gaecli.estimators.score",
        roles=("reward",),
        outputs=("advantage",),
        moments="trajectories",
        is_grouped=True,
        unused=_OF_STEPS,
    )


_ROWS = (
    EstimatorKind(
        name="gae",
        summary="generalized advantage estimation: A as a sum of discounted TD errors, and R = A + V",
        source="Schulman et al. 2016, https://arxiv.org/abs/1506.02438",
        module="gaecli.estimators.whole_stream",
        roles=("reward", "value"),
        outputs=("advantage", "return"),
        unused=("n_steps",),
        by_column=("gamma", "lam"),
    ),
    EstimatorKind(
        name="td0",
        summary="TD error: A = r + γ V' - V, and the one-step target R = r + γ V'",
        source="Sutton and Barto 2018, eq. 6.2 and 6.5, http://incompleteideas.net/book/the-book-2nd.html",
        module="gaecli.estimators.one_step",
        roles=("reward", "value"),
        outputs=("advantage", "return"),
        by_column=("gamma",),
        unused=("lam", "lam_alpha", "recursion", "returns", "n_steps"),
    ),
    EstimatorKind(
        name="td-lambda",
        summary="λ-return: the mixture of all n-step returns, R, and A = R - V",
        source="Sutton and Barto 2018, eq. 12.2-12.3, http://incompleteideas.net/book/the-book-2nd.html",
        module="gaecli.estimators.td_lambda",
        roles=("reward", "value"),
        outputs=("advantage", "return"),
        by_column=("gamma", "lam"),
        unused=("recursion", "returns", "n_steps"),
    ),
    EstimatorKind(
        name="n-step",
        summary="n-step return: n rewards and V after them, R, and A = R - V; clipped at the end of the trajectory",
        source="Sutton and Barto 2018, eq. 7.1, http://incompleteideas.net/book/the-book-2nd.html",
        module="gaecli.estimators.n_step",
        roles=("reward", "value"),
        outputs=("advantage", "return"),
        unused=("lam", "lam_alpha", "recursion", "returns"),
    ),
    EstimatorKind(
        name="mc",
        summary="Monte-Carlo return: discounted rewards to the end, and the bootstrap value where there is one",
        source="Sutton and Barto 2018, eq. 3.8, http://incompleteideas.net/book/the-book-2nd.html",
        module="gaecli.estimators.monte_carlo",
        roles=("reward",),
        outputs=("return",),
        by_column=("gamma",),
        unused=("lam", "lam_alpha", "recursion", "returns", "n_steps"),
    ),
    _baseline(
        "grpo",
        "group-relative: A = (s - mean) / (std + ε) over the group, s the sum of rewards of the trajectory",
        "Shao et al. 2024, sec. 4.1.2, https://arxiv.org/abs/2402.03300",
    ),
    _baseline(
        "dr-grpo",
        "group-relative without the division: A = s - mean over the group",
        "Liu et al. 2025, https://arxiv.org/abs/2503.20783",
    ),
    _baseline(
        "rloo",
        "leave-one-out: A = s - mean of the others in the group",
        "Ahmadian et al. 2024, eq. 8, https://arxiv.org/abs/2402.14740",
    ),
    _baseline(
        "max-rl",
        "A = (s - mean) / mean over the group, and 0 where the mean is not positive",
        "https://arxiv.org/abs/2602.02710",
    ),
)

#: By name.
ESTIMATORS: Mapping[str, EstimatorKind] = {row.name: row for row in _ROWS}
