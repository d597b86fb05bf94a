"""What a file already has as the advantage or return of a step, if gaecli wrote it, beside what it should be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaecli.decay_settings import OPTIONAL
from gaecli.estimators.normalization import NormRule
from gaecli.explanation import NormalizedNumber, StoredAdvantage
from gaecli.formats.base import RolloutFile
from gaecli.formats.stored import own_entries
from gaecli.moments import Moments
from gaecli.settings import Settings
from gaecli.studies.locate import Place
from gaecli.studies.reading import SettledStream

_ROWS_AT_A_TIME = 1 << 18
#: Settings on which a raw advantage depends.
_DECISIVE = (
    "estimator",
    "n_steps",
    "group_column",
    "singleton",
    "gamma",
    "lam",
    "lam_alpha",
    "preset",
    "truncation",
    "bootstrap",
    "done_at",
    "reward_at",
    "layout",
    "mask_mode",
    "masked_reward",
    "columns",
    "precision",
    "on_nan",
    *OPTIONAL,
)
#: That say how it is normalised.
OF_NORMALIZATION = ("normalize", "normalize_by", "norm_ddof", "norm_eps", "norm_floor")
#: And one that is a normalisation over groups.
_OF_GROUPS = ("norm_ddof", "norm_eps", "norm_floor")


def stored_advantage(
    reading: SettledStream, place: Place, advantage: float, normalized: NormalizedNumber | None
) -> StoredAdvantage | None:
    """`advantage` is that of this command before normalisation, `normalized` what becomes of it here, if so."""
    opened = reading.stream.files[place.file]
    settings = reading.stream.settings
    name = settings.output_columns[0]
    entry = next(
        (entry for entry in own_entries(opened.file.provenance) if name in entry.get("columns", ())), None
    )
    if entry is None or name not in opened.file.columns:
        return None
    given = entry.get("settings")
    theirs: Mapping[str, Any] = given if isinstance(given, dict) else {}
    differing = differing_settings(theirs, settings)
    value = _cell(opened.file, name, place)
    expected = None if differing else _normalized(advantage, theirs, entry)
    if expected is None and not differing and normalized is not None:
        ours = settings.to_dict()
        as_theirs = all(theirs.get(name) == ours[name] for name in OF_NORMALIZATION)
        expected = _by_group(advantage, normalized, entry) if as_theirs else None
    return StoredAdvantage(name, value, expected, differing)


def differing_settings(
    theirs: Mapping[str, Any], settings: Settings, more: Sequence[str] = ()
) -> dict[str, Any]:
    """Of those that a raw advantage depends on, and `more`, what an earlier run had that `settings` have not."""
    ours = settings.to_dict()
    decisive = (*_DECISIVE, *(_OF_GROUPS if settings.kind.is_grouped else ()), *more)
    decisive = tuple(key for key in decisive if key in ours and settings.uses(key))
    return {key: theirs.get(key) for key in decisive if theirs.get(key, ours[key]) != ours[key]}


def _by_group(advantage: float, normalized: NormalizedNumber, entry: Mapping[str, Any]) -> float | None:
    """As that run normalised the group of the row, which may have had rows of other inputs."""
    if normalized.column is None:
        return normalized.written
    rule = NormRule(normalized.ddof, normalized.eps, normalized.floor)
    return next(
        (
            _with_constants(advantage, rule, group)
            for group in entry.get("normalization") or ()
            if group.get("group") == normalized.label
        ),
        None,
    )


def _normalized(advantage: float, theirs: Mapping[str, Any], entry: Mapping[str, Any]) -> float | None:
    """The advantage as that run normalised it; None where that was by groups."""
    if theirs.get("normalize", "none") == "none" and theirs.get("normalize_by") is None:
        return advantage
    groups = entry.get("normalization")
    if entry.get("num_groups") != 1 or not isinstance(groups, list) or not groups:
        return None
    rule = NormRule(int(theirs["norm_ddof"]), float(theirs["norm_eps"]), theirs["norm_floor"])
    return _with_constants(advantage, rule, groups[0])


def _with_constants(advantage: float, rule: NormRule, group: Mapping[str, Any]) -> float:
    count, mean, std = int(group["count"]), float(group["mean"]), float(group["std"])
    constants = rule.constants(Moments(count, mean, std * std * (count - rule.ddof)))
    return (advantage - constants.mean) * constants.scale


def _cell(file: RolloutFile, name: str, place: Place) -> float | None:
    for unit in file.units(_ROWS_AT_A_TIME, name):
        for start, stop, columns in file.blocks(unit, [name], _ROWS_AT_A_TIME):
            column = columns[name]
            slot = place.row - start
            if column.offsets is not None and start <= place.row < stop:
                slot = int(column.offsets[slot]) + place.item
            values = column.values.reshape(-1)
            if not 0 <= slot < len(values) or (column.is_null is not None and column.is_null[slot]):
                continue
            number = float(values[slot])
            return number if np.isfinite(number) else None
    return None
