"""The number of one step out of what it is made of, for estimators that are no sum of (γλ)ˡ δ.

An estimator has its own derivation by a row here. Without one its inputs are shown, and no equation.
"""

from __future__ import annotations

from collections.abc import Mapping

from gaecli.studies.derivations.base import Derive, Derived, Question
from gaecli.studies.derivations.baselines import group_baseline
from gaecli.studies.derivations.inputs import inputs
from gaecli.studies.derivations.off_policy import off_policy
from gaecli.studies.derivations.returns import monte_carlo, n_step

__all__ = ["Derived", "Question", "derive"]

#: By the name of the estimator. Every other one that compares groups has that of the group baselines.
DERIVATIONS: Mapping[str, Derive] = {
    "mc": monte_carlo,
    "n-step": n_step,
    **dict.fromkeys(("vtrace", "retrace", "q-lambda", "tree-backup", "upgo"), off_policy),
}


def derive(question: Question) -> Derived:
    kind = question.settings.kind
    own = DERIVATIONS.get(kind.name, group_baseline if kind.is_grouped else None)
    return (own(question) if own is not None else None) or inputs(question)
