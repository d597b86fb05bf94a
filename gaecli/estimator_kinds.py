"""Which estimators there are, and what each needs and writes. One row here, and one module, make one.

Plain data below everything that computes: settings are checked against it, and nothing is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, Literal

from gaecli.choices import MeasuredOver
from gaecli.records import dataclass

#: Roles that some estimators alone have a use for; whoever has none does not read their columns.
ESTIMATOR_ROLES = ("log_prob", "behaviour_log_prob", "ratio", "prob", "q")

#: Where ratios of policies are cut off.
CLIPS = ("rho_bar", "c_bar", "pg_bar")

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
    #: `needs_whole_trajectories(settings)` says whether more of a trajectory than its `Borders` crosses
    #: the border of a block.
    module: str
    #: Roles that a file has to have. Others are used where they are there.
    roles: tuple[str, ...]
    #: Further roles that it needs, in ways: the file has to have all of one of them.
    ways: tuple[tuple[str, ...], ...] = ()
    #: What it writes, in this order. The first is what is scanned, measured and normalised.
    outputs: tuple[OutputRole, ...]
    #: What enters mean and standard deviation once, unless the settings say it: every step, or every trajectory.
    measured_over: MeasuredOver = "steps"
    #: It scores trajectories: one may be a row, whose reward is its score, and nothing lies beyond its end.
    is_scored: bool = False
    #: A score is compared with those of other trajectories (`gaecli.estimators.baselines`).
    is_grouped: bool = False
    #: Of the settings that few look at (`FEW`), those that this one does.
    takes: tuple[str, ...] = ()
    #: What holds where neither the settings nor the preset say anything else.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    #: Settings, and rules of presets, that it does not look at.
    unused: tuple[str, ...] = ()
    #: Rewards may be of several kinds, whose advantages are added up.
    has_streams: bool = False
    #: A step may be a unit of several rows.
    has_units: bool = False
    #: It is defined with one V of each state: that of the next row is what a next value inside a trajectory says too.
    has_one_value: bool = False
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

    def uses(self, name: str) -> bool:
        """Whether a setting, or a rule of a preset, says anything to it."""
        return name in self.takes if name in FEW else name not in self.unused


#: Settings that every kind looks at that takes them, and no other does: of scores and groups, and of policies.
FEW = (
    "group_column",
    "singleton",
    "scale_rewards",
    "sample_of",
    "batch_column",
    "state_column",
    "step_weight",
    "baseline_column",
    "length_column",
    "order_column",
    "ema_decay",
    "rewards",
    "unscored",
    "norm_over",
    "group_ddof",
    "group_eps",
    "group_floor",
    *CLIPS,
)

#: What says nothing to the score of a trajectory as a whole.
_OF_STEPS = (
    "gamma",
    "lam",
    "lam_alpha",
    "n_steps",
    "recursion",
    "returns",
    "truncation",
    "early_ends",
    "reward_at",
)
_SCORES = ("rewards", "unscored", "norm_over")
_GROUPS = (*_SCORES, "group_column", "singleton", "sample_of")
_SPREADS = ("group_ddof", "group_eps", "group_floor")
_SCALED = (*_SPREADS, "scale_rewards", "batch_column")


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
            "has_units": True,
            "has_streams": True,
            **more,
        },
    )


def _baseline(name: str, summary: str, source: str, *takes: str, **more: Any) -> EstimatorKind:
    """The score of a trajectory beside those of its group."""
    fields: dict[str, Any] = {
        "module": "gaecli.estimators.score",
        "measured_over": "trajectories",
        "is_grouped": True,
        "takes": (*_GROUPS, *takes),
        "unused": _OF_STEPS,
        "extras": score_columns,
    }
    return EstimatorKind(
        name=name,
        summary=summary,
        source=source,
        roles=("reward",),
        outputs=("advantage",),
        is_scored=True,
        **{**fields, **more},
    )


def _to_go(name: str, summary: str, source: str, *takes: str, **more: Any) -> EstimatorKind:
    """The rewards from each step on."""
    fields: dict[str, Any] = {
        "module": "gaecli.estimators.to_go",
        "outputs": ("advantage",),
        "takes": (*_SCORES, *takes),
        "unused": _OF_STEPS[1:],
        "defaults": {"gamma": 1.0},
    }
    return EstimatorKind(
        name=name, summary=summary, source=source, roles=("reward",), is_scored=True, **{**fields, **more}
    )


def score_columns(settings: Any) -> tuple[str, ...]:
    """Columns of numbers that scores are made of, but for the rewards where they are summed."""
    return () if settings.length_column is None else (settings.length_column,)


_ROWS = (
    EstimatorKind(
        name="gae",
        summary="generalized advantage estimation: A as a sum of discounted TD errors, and R = A + V",
        source="Schulman et al. 2016, https://arxiv.org/abs/1506.02438",
        module="gaecli.estimators.gae_variants",
        has_units=True,
        has_streams=True,
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
        has_units=True,
        has_streams=True,
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
        has_units=True,
        has_streams=True,
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
        has_units=True,
        has_streams=True,
        roles=("reward", "value"),
        outputs=("advantage", "return"),
        by_column=("gamma",),
        unused=("lam", "lam_alpha", "recursion", "returns"),
    ),
    EstimatorKind(
        name="mc",
        summary="Monte-Carlo return: discounted rewards to the end, and the bootstrap value where there is one",
        source="Sutton and Barto 2018, eq. 3.8, http://incompleteideas.net/book/the-book-2nd.html",
        module="gaecli.estimators.monte_carlo",
        has_units=True,
        has_streams=True,
        roles=("reward",),
        outputs=("return",),
        by_column=("gamma",),
        unused=("lam", "lam_alpha", "recursion", "returns", "n_steps", "early_ends"),
    ),
    _off_policy(
        "vtrace",
        "V-trace: TD errors weighted by min(ρ, ρ̄), decayed by λ min(ρ, c̄): targets R = vs, and A for the policy",
        "Espeholt et al. 2018, sec. 4.1, https://arxiv.org/abs/1802.01561",
        has_one_value=True,
        roles=("reward", "value"),
        ways=_RATIO,
        takes=CLIPS,
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
        has_one_value=True,
        roles=("reward", "value"),
        unused=(*_OF_GAE, "lam", "lam_alpha"),
        by_column=("gamma",),
        defaults={"lam_alpha": None},
    ),
    _baseline(
        "grpo",
        "group-relative: A = (s - mean) / (std + ε) over the group, s the sum of rewards of the trajectory",
        "Shao et al. 2024, sec. 4.1.2, https://arxiv.org/abs/2402.03300",
        *_SCALED,
    ),
    _baseline(
        "grpo-batch",
        "group-relative, by the spread of the batch: A = (s - mean over the group) / (std over the batch + ε)",
        'TRL, `scale_rewards="batch"`; https://arxiv.org/abs/2508.08221',
        *_SPREADS,
        "batch_column",
    ),
    _baseline(
        "grpo-loo",
        "group-relative, mean and std of the others: A = (s - mean) / (std + ε), undivided where they have no spread",
        "NeMo-RL, `use_leave_one_out_baseline` with `normalize_rewards`",
        *_SPREADS,
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
        *_SCALED,
    ),
    _baseline(
        "max-rl",
        "A = (s - mean) / mean over the group, and 0 where the mean is not positive",
        "https://arxiv.org/abs/2602.02710",
        "group_eps",
    ),
    _baseline(
        "passk",
        "pass@k: the best of the group gets (s - the next best) / (std + ε), the others 0",
        "Tang et al. 2025, https://arxiv.org/abs/2503.19595",
        *_SCALED,
        defaults={"singleton": "error"},
    ),
    _baseline(
        "opo",
        "A = s - mean over the group, weighed by the lengths of the responses",
        "Hao et al. 2025, https://arxiv.org/abs/2505.23585",
        "length_column",
    ),
    _baseline(
        "gpg",
        "A = (s - mean over the group), times the responses of the batch for each whose score is not 0",
        "Chu et al. 2025, https://arxiv.org/abs/2504.02546",
        "batch_column",
    ),
    _baseline(
        "gdpo",
        "several rewards: each (r - mean) / (std + ε) over the group, their weighted sum normalised over all",
        "Liu et al. 2026, https://arxiv.org/abs/2601.05242",
        *_SPREADS,
        extras=lambda settings: tuple(settings.rewards),
        defaults={"normalize": "all"},
    ),
    _baseline(
        "gigpo",
        "grpo of trajectories, and of the reward-to-go over equal states in the group",
        "Feng et al. 2025, https://arxiv.org/abs/2505.10978",
        *_SPREADS,
        "state_column",
        "step_weight",
        module="gaecli.estimators.to_go",
        unused=_OF_STEPS[1:],
        defaults={"gamma": 1.0},
    ),
    _baseline(
        "rf++-baseline",
        "REINFORCE++ with a baseline: A = s - mean over the group, normalised over all steps",
        "Hu et al. 2025, https://arxiv.org/abs/2501.03262",
        measured_over="steps",
        defaults={"normalize": "all"},
    ),
    _baseline(
        "rae",
        "role-conditioned: A = s - the running mean of the scores of the role before it; in the order of a column",
        "Liu et al. 2025, https://arxiv.org/abs/2506.24119",
        takes=(*_SCORES, "group_column", "order_column", "ema_decay"),
    ),
    _baseline(
        "flash-reinforce",
        "A = s - mean over the batch; no group",
        "OpenRLHF 0.11.2, `flash_reinforce`",
        "batch_column",
        takes=(*_SCORES, "batch_column"),
    ),
    _to_go(
        "rf++",
        "REINFORCE++: the discounted rewards to go, normalised over all steps; no group",
        "Hu et al. 2025, https://arxiv.org/abs/2501.03262",
        outputs=("advantage", "return"),
        defaults={"gamma": 1.0, "normalize": "all"},
    ),
    _to_go(
        "remax",
        "A = the rewards to go - the reward of a greedy response, which a column has",
        "Li et al. 2023, https://arxiv.org/abs/2310.10505",
        "baseline_column",
        extras=lambda settings: (settings.baseline_column,),
    ),
)


def estimator_name(given: Any) -> Any:
    """The one of the table, of whatever name; what is no name comes back."""
    return ESTIMATOR_ALIASES.get(given, given) if isinstance(given, str) else given


#: By name.
ESTIMATORS: Mapping[str, EstimatorKind] = {row.name: row for row in _ROWS}
