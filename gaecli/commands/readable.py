"""How a file can be looked at all the same that `gae compute` would ask about."""

from __future__ import annotations

from gaecli.decay_settings import FAMILIES
from gaecli.estimator_kinds import ESTIMATORS
from gaecli.response_logs import ResponseLog
from gaecli.settings import Settings


def readable_settings(log: ResponseLog | None, settings: Settings, *, has_values: bool) -> Settings | None:
    """Of a log of responses, those of its command; where no column has values, the returns that episodes hold.

    None where neither is so, or the user said more.
    """
    if log is not None:
        is_open = log.can_be_computed and not settings.kind.is_scored and not settings.columns
        return log.settings(settings) if is_open else None
    if has_values or "value" not in settings.kind.roles:
        return None
    silent = [name for of, names in FAMILIES.items() if of in ESTIMATORS["mc"].unused for name in names]
    return settings.replace(
        estimator="mc", n_steps=None, normalize="none", normalize_by=None, **dict.fromkeys(silent)
    )
