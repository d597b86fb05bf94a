"""The number of one step out of what it is made of.

An estimator has its own derivation by a row here. Without one its inputs are shown, and no equation. Units of
several steps, and several kinds of reward, are made of those.
"""

from __future__ import annotations

from collections.abc import Mapping

from gaecli.studies.derivations.base import Derive, Derived, Question
from gaecli.studies.derivations.baselines import group_baseline
from gaecli.studies.derivations.inputs import inputs
from gaecli.studies.derivations.lambda_returns import lambda_return
from gaecli.studies.derivations.off_policy import off_policy
from gaecli.studies.derivations.returns import monte_carlo, n_step
from gaecli.studies.derivations.streams import by_streams
from gaecli.studies.derivations.sums import sum_of_errors
from gaecli.studies.derivations.units import over_units

__all__ = ["Derived", "Question", "derive"]

#: By the name of the estimator. Every other one that compares groups has that of the group baselines.
DERIVATIONS: Mapping[str, Derive] = {
    "mc": monte_carlo,
    "n-step": n_step,
    "td-lambda": lambda_return,
    **dict.fromkeys(("gae", "td0"), sum_of_errors),
    **dict.fromkeys(("vtrace", "retrace", "q-lambda", "tree-backup", "upgo"), off_policy),
}


def derive(question: Question) -> Derived:
    settings = question.settings
    if settings.stream:
        return by_streams(question, derive)
    kind = settings.kind
    own = DERIVATIONS.get(kind.name, group_baseline if kind.is_grouped else None)
    if own is None:
        return inputs(question)
    found = over_units(question, own) if settings.is_over_units else own(question)
    return found or inputs(question)
