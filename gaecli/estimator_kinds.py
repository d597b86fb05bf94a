"""Which estimators there are, and what each needs and writes. One row here, and one module, make one.

Plain data below everything that computes: settings are checked against it, and nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

from gaecli.records import dataclass

#: Roles that some estimators alone have a use for; whoever has none does not read their columns.
ESTIMATOR_ROLES = ("log_prob", "behaviour_log_prob", "ratio", "prob", "q")

#: Settings that some estimators alone look at.
ESTIMATOR_OPTIONS = ("rho_bar", "c_bar", "pg_bar")

#: Other names: Aₜ⁽ᵏ⁾ = Σ_{l<k} γˡ δₜ₊ₗ is the n-step advantage with n = k.
ESTIMATOR_ALIASES: Mapping[str, str] = {"k-step": "n-step"}

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
    #: Further roles that it needs, in ways: the file has to have all of one of them.
    ways: tuple[tuple[str, ...], ...] = ()
    #: Of `ESTIMATOR_OPTIONS`, those that it looks at.
    options: tuple[str, ...] = ()
    #: What holds in place of the preset's where nothing is said.
    defaults: Mapping[str, Any] = field(default_factory=dict)
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

    @property
    def own_roles(self) -> tuple[str, ...]:
        """Of `ESTIMATOR_ROLES`, those whose columns it reads."""
        known = {*self.roles, *(role for way in self.ways for role in way)}
        return tuple(role for role in ESTIMATOR_ROLES if role in known)


#: What says nothing to the score of a trajectory as a whole.
_OF_STEPS = ("gamma", "lam", "lam_alpha", "n_steps", "recursion", "returns", "truncation")


#: Decays of off-policy estimators are their own; so is what they make of a return.
_OF_GAE = ("n_steps", "recursion", "returns")
_RATIO = (("ratio",), ("log_prob", "behaviour_log_prob"))


def _off_policy(name: str, summary: str, source: str, **more: Any) -> EstimatorKind:
    """A recursion whose weights are of the policies; λ is 1 where nothing is said."""
    return EstimatorKind(
        name=name,
        summary=summary,
        source=source,
        module="gaecli.estimators.off_policy",
        outputs=("advantage", "return"),
        **{
            "roles": ("reward", "value", "q"),
            "unused": _OF_GAE,
            "by_column": ("gamma", "lam"),
            "defaults": {"lam": 1.0, "lam_alpha": None},
            **more,
        },
    )


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
    _off_policy(
        "vtrace",
        "V-trace: TD errors weighted by min(ρ, ρ̄), decayed by λ min(ρ, c̄): targets R = vs, and A for the policy",
        "Espeholt et al. 2018, sec. 4.1, https://arxiv.org/abs/1802.01561",
        roles=("reward", "value"),
        ways=_RATIO,
        options=("rho_bar", "c_bar", "pg_bar"),
    ),
    _off_policy(
        "retrace",
        "Retrace: targets R of Q with traces c = λ min(1, ρ), and A = R - V",
        "Munos et al. 2016, eq. 3-4, https://arxiv.org/abs/1606.02647",
        ways=_RATIO,
    ),
    _off_policy(
        "q-lambda",
        "Q(λ): targets R of Q with traces c = λ, whatever the policies, and A = R - V",
        "Harutyunyan et al. 2016, https://arxiv.org/abs/1602.04951",
        defaults={"lam_alpha": None},
    ),
    _off_policy(
        "tree-backup",
        "tree backup: targets R of Q with traces c = λ π(a|s), and A = R - V",
        "Precup et al. 2000, https://scholarworks.umass.edu/cs_faculty_pubs/80",
        ways=(("prob",), ("log_prob",)),
    ),
    _off_policy(
        "upgo",
        "upgoing policy update: the return goes on while the next step does at least as well as its V, and A = R - V",
        "Vinyals et al. 2019, https://doi.org/10.1038/s41586-019-1724-z",
        roles=("reward", "value"),
        unused=(*_OF_GAE, "lam", "lam_alpha"),
        by_column=("gamma",),
        defaults={"lam_alpha": None},
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
