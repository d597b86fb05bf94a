"""What a run found out about a file, as its provenance keeps it: a second run tells it again.

Counts and moments come back exactly. Median and histogram of one file do as well; those of several files are put
together from their histograms, as the numbers themselves are not kept.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from gaecli.moments import Moments
from gaecli.pipeline.apply import COUNTERS, Totals
from gaecli.pipeline.column_statistics import Tally
from gaecli.pipeline.group_facts import GroupFacts, StageFacts
from gaecli.records import shallow
from gaecli.summary import BootstrapCounts, ColumnStatistics, EpisodeCounts, NormalizationGroup

K = TypeVar("K")

#: Stored always.
_COUNTS = ("dropped_episodes", "dropped_steps", "unestimated_steps", "local_groups", "degenerate_groups")
#: Stored where there are any.
_OPTIONAL = tuple(name for name in COUNTERS if name not in _COUNTS)

#: What there are numbers of, of one stream of rewards or of each.
_TALLIED = ("reward", "value", "advantage", "return", "weight")


def kept_report(totals: Totals) -> dict[str, Any]:
    """As JSON: no number that is not finite is in it."""
    return {
        "columns": {
            name: _finite_only({**shallow(tally.statistics()), "m2": tally.moments.m2})
            for name, tally in totals.tallies.items()
            if tally.moments.count
        },
        "value_errors": _moments_document(totals.value_errors),
        "returns": _moments_document(totals.returns),
        **{name: getattr(totals, name) for name in _COUNTS},
        **{name: count for name in _OPTIONAL if (count := getattr(totals, name))},
    }


def report_of(entry: Mapping[str, Any]) -> Totals:
    """The report in an entry of the provenance of a file, which anybody may have edited."""
    totals = Totals(
        _kept(EpisodeCounts, entry.get("counts")), _kept(BootstrapCounts, entry.get("bootstrapped"))
    )
    kept = entry.get("report")
    if not isinstance(kept, dict):
        return totals
    columns = kept.get("columns")
    for name, column in columns.items() if isinstance(columns, dict) else ():
        tally = _tally_of(column) if str(name).partition(" ")[0] in _TALLIED else None
        if tally is not None:
            totals.tallies[name] = tally
    totals.value_errors, totals.returns = (
        _moments_of(kept.get("value_errors")),
        _moments_of(kept.get("returns")),
    )
    for name in COUNTERS:
        setattr(totals, name, _count(kept.get(name)))
    return totals


def facts_of_entry(entry: Mapping[str, Any]) -> StageFacts:
    """Groups by their names, as far as they were stored."""
    stored = entry.get("baseline")
    baseline = stored if isinstance(stored, dict) else {}
    groups = _kept_groups(baseline.get("groups"))
    normalization = _kept_groups(entry.get("normalization"))
    return StageFacts(
        GroupFacts(
            max(_count(baseline.get("num_groups")), len(groups)),
            _count(baseline.get("num_degenerate")),
            _count(baseline.get("num_alone")),
            groups,
            _count(baseline.get("num_weightless")),
        ),
        GroupFacts(
            max(_count(entry.get("num_groups")), len(normalization)),
            sum(not group.std for group in normalization),
            sum(group.count == 1 for group in normalization),
            normalization,
        ),
    )


def _kept_groups(document: object) -> tuple[NormalizationGroup, ...]:
    return tuple(
        NormalizationGroup(str(group.get("group")), int(group["count"]), group["mean"], group["std"])
        for group in (document if isinstance(document, list) else ())
        if isinstance(group, dict) and _are_numbers(group, "count", "mean", "std")
    )


def thresholds_of(entry: Mapping[str, Any]) -> tuple[dict[Hashable, float], int]:
    """(of labels by the names of their groups, as far as they were stored; how many groups there were)."""
    found: dict[Hashable, float] = {}
    document = entry.get("labels")
    groups = document.get("groups") if isinstance(document, dict) else None
    for group in groups if isinstance(groups, list) else ():
        if isinstance(group, dict) and isinstance(group.get("group"), str):
            label: Hashable = group["group"] or ()
            found[label] = group["threshold"] if _are_numbers(group, "threshold") else math.nan
    number = _count(document.get("num_groups")) if isinstance(document, dict) else 0
    return found, max(number, len(found))


def _tally_of(document: object) -> Tally | None:
    if not isinstance(document, dict) or not _are_numbers(document, "count", "mean", "min", "max", "m2"):
        return None
    if not _count(document["count"]) or document["m2"] < 0:
        return None
    bins, ends = document.get("histogram"), document.get("histogram_range")
    if not (isinstance(bins, list) and bins and all(isinstance(count, int) and count >= 0 for count in bins)):
        return None
    if not (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends))) or sum(bins) > 1 << 24:
        return None
    low, high = ends
    middles = low + (np.arange(len(bins)) + 0.5) / len(bins) * (high - low)
    statistics: dict[str, Any] = {name: document.get(name) for name in _names_of(ColumnStatistics)}
    statistics.update(histogram=tuple(bins), histogram_range=(low, high))
    if not _are_numbers(statistics, "median", "sample_count"):
        return None
    return Tally(
        Moments(document["count"], document["mean"], document["m2"]),
        document["min"],
        document["max"],
        # Every other one of the rows that there were: a sample, whatever else is added to it.
        (np.repeat(middles, bins)[::2],),
        stride=2 * _stride(document["count"], sum(bins)),
        kept=ColumnStatistics(**statistics),
    )


def _stride(count: int, num_sampled: int) -> int:
    """Every so many rows were sampled, a power of two."""
    stride = 1
    while num_sampled * stride < count and stride < count:
        stride *= 2
    return stride


def _moments_document(moments: Moments) -> list[float | None]:
    return [moments.count, _finite(moments.mean), _finite(moments.m2)]


def _moments_of(document: object) -> Moments:
    if not (isinstance(document, list) and len(document) == 3 and all(map(_is_number, document))):
        return Moments()
    count, mean, m2 = document
    return Moments(count, mean, m2) if _count(count) and m2 >= 0 else Moments()


def _kept(kind: type[K], document: object) -> K:
    if not isinstance(document, dict):
        return kind()
    return kind(**{name: _count(number) for name, number in document.items() if name in _names_of(kind)})


def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _count(number: object) -> int:
    return number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else 0


def _are_numbers(document: Mapping[str, Any], *names: str) -> bool:
    return all(_is_number(document.get(name)) for name in names)


def _is_number(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)


def _finite_only(document: Mapping[str, Any]) -> dict[str, Any]:
    """Advantages beyond float32 are infinite, and so are the ends of their histogram."""
    return {name: _plain(value) for name, value in document.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        # Counts of a histogram, of which a float among them would make the sum one.
        return [_plain(one) for one in value] if isinstance(sum(value), float) else list(value)
    return _finite(value) if isinstance(value, float) else value


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
